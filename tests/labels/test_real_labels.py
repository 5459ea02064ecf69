import json
import os
from pathlib import Path

import pytest

from damage_ssl.damage_scale import LabelValue
from damage_ssl.labels.label_log import LabelStore

EVENT = Path(os.environ.get("DAMAGE_SSL_SHARED", "../shared")) / "data" / "events" / "santa-rosa-wildfire"


@pytest.mark.real_data
@pytest.mark.skipif(not EVENT.is_dir(), reason=f"real imagery is not at {EVENT}; set DAMAGE_SSL_SHARED")
def test_labels_of_the_santa_rosa_fire_import_with_the_counts_of_their_page(tmp_path: Path) -> None:
    features = json.loads((EVENT / "footprints.geojson").read_text())["features"]
    known = [feature["properties"]["building_id"] for feature in features]
    store = LabelStore(tmp_path / "labels.sqlite")
    report = store.import_csv(EVENT / "labels.csv", known_ids=known, labeller="xbd")
    assert store.counts() == {
        LabelValue.NO_DAMAGE: 1730,
        LabelValue.MINOR_DAMAGE: 19,
        LabelValue.MAJOR_DAMAGE: 10,
        LabelValue.DESTROYED: 1083,
    }
    assert (report.added, report.unclassified) == (2842, 7)

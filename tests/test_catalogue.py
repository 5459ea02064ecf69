"""The committed catalogue is valid STAC and is what the script writes."""

import json
from pathlib import Path

import pystac

from data_catalog.build import HERE, SAMPLE, build


def test_committed_catalogue_is_what_the_script_writes(tmp_path: Path) -> None:
    build(tmp_path)
    written = {str(path.relative_to(tmp_path)): json.loads(path.read_text()) for path in tmp_path.rglob("*.json")}
    committed = {str(path.relative_to(HERE)): json.loads(path.read_text()) for path in HERE.rglob("*.json")}
    assert committed == written


def test_catalogue_opens_with_its_sample_event() -> None:
    catalogue = pystac.Catalog.from_file(str(HERE / "catalog.json"))
    (sample,) = catalogue.get_children()
    assert isinstance(sample, pystac.Collection)
    assert sample.id == SAMPLE
    assert sample.extent.spatial.bboxes[0][0] < sample.extent.spatial.bboxes[0][2]

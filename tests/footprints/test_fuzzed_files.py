"""Files with bytes changed, cut out or put in: they are read, or refused with a sentence, and never anything else."""

from pathlib import Path

import numpy as np
import pytest

from damage_ssl.errors import DamageSSLError
from damage_ssl.footprints.reader import read_footprints
from damage_ssl.labels.label_log import LabelStore
from tests.campaigns import campaign
from tests.conftest import square, write_polygons

SQUARES = [square(column, 40) for column in (40, 90, 140, 190)]
IDS = ["b1", "b2", "b3", "b4"]


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """One to four places with other bytes, fewer, or more; or an end that is missing."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at, size = int(rng.integers(max(len(data), 1))), int(rng.integers(1, 30))
        what = rng.integers(4)
        if what == 0:
            data[at : at + size] = rng.bytes(size)
        elif what == 1:
            del data[at : at + size]
        elif what == 2:
            data[at:at] = data[at : at + size]
        else:
            del data[max(at, 1) :]
    return bytes(data)


@campaign(40, 3000)
@pytest.mark.parametrize("name", ["f.geojson", "f.gpkg", "f.parquet", "f.fgb", "f.csv", "f.geojsonl"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")  # of GDAL, about what it reads anyway
def test_damaged_footprint_file_is_read_or_refused(name: str, rounds: int, tmp_path: Path) -> None:
    path, rng = tmp_path / name, np.random.default_rng(rounds)
    if name.endswith(("csv", "geojsonl")):
        table = write_polygons(tmp_path / "whole.geojson", SQUARES, building_id=IDS).read_text().splitlines()
        features = [line.strip().rstrip(",") for line in table if '"Feature"' in line]
        corners = "-122.77 38.46, -122.769 38.46, -122.769 38.461, -122.77 38.46"
        rows = [f'{building},"POLYGON(({corners}))",0.{number}' for number, building in enumerate(IDS, start=5)]
        path.write_text("\n".join(features if name.endswith("l") else ["building_id,geometry,confidence", *rows]))
    elif name.endswith("parquet"):
        import geopandas as gpd

        gpd.GeoDataFrame({"building_id": IDS}, geometry=SQUARES, crs="EPSG:32610").to_crs(4326).to_parquet(path)
    else:
        write_polygons(path, SQUARES, building_id=IDS)
    whole = path.read_bytes()
    assert len(read_footprints(path).table) > 0
    for number in range(rounds):
        path.write_bytes(damaged(whole, rng))
        try:
            found = read_footprints(path)
        except DamageSSLError as error:
            assert str(path) in str(error), f"round {number} of {rounds}"
        else:
            assert found.table["building_id"].is_unique and found.table.geometry.is_valid.all()


@campaign(40, 3000)
def test_damaged_label_file_is_imported_whole_or_not_at_all(rounds: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(rounds)
    whole = b"building_id,grade,labeller\nb1,destroyed,ana\nb2,no-damage,ana\nb3,minor-damage,ben\nb4,unclear,ben\n"
    store, path = LabelStore(tmp_path / "labels.sqlite"), tmp_path / "labels.csv"
    for number in range(rounds):
        path.write_bytes(damaged(whole, rng))
        before = store.revision()
        try:
            report = store.import_csv(path, known_ids=IDS, labeller="me", skip_unknown=bool(number % 2))
        except DamageSSLError as error:
            assert "labels" in str(error) and store.revision() == before, f"round {number} of {rounds}"
        else:
            assert store.revision() == before + report.added
    store.close()

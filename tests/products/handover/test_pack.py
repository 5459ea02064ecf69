"""A hand-over pack: its files, that they are one and the same in folder and ZIP, and what the receiver is told."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box

from damage_ssl.damage_scale import scheme_named
from damage_ssl.errors import InputError, StorageError, WorkspaceError
from damage_ssl.labels.schema import LABEL_COLUMNS
from damage_ssl.products.handover import pack as packs
from damage_ssl.products.handover.card import CardFacts
from damage_ssl.products.handover.pack import check_pack, open_pack, sha256_of, write_pack
from damage_ssl.products.handover.receiver_note import PackFacts
from damage_ssl.products.selection import Selection
from damage_ssl.runs.live import LIVE

FACTS = PackFacts(
    event="quake",
    hazard="earthquake",
    created="2026-01-02T03:04:05+00:00",
    version="9.9",
    run_id="run-7",
    algorithm="fixmatch",
    scheme=scheme_named("binary-major"),
    threshold=0.4,
    statement=None,
    validated=True,
    imagery=["pre: a, 2026-01-01, 0.50 m a pixel"],
    sources=["osm: 5 outlines, from roads.pbf"],
    licence=None,
)
CARD = CardFacts(event="quake", hazard="earthquake", algorithm="fixmatch", scheme=scheme_named("binary-major"))


def table() -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(
        {
            "building_id": list("abcde"),
            "assessed": [True, True, True, False, True],
            "not_assessed_reason": [None, None, None, "no_post", None],
            "damage_class": ["damaged", "destroyed", "intact", None, "damaged"],
            "damaged": pd.array([True, True, False, None, True], dtype="boolean"),
            "p_damaged": [0.9, 0.2, 0.1, np.nan, 0.5],
            "label_source": ["model", "analyst", "model", None, "model"],
            "pre_image_id": ["p"] * 5,
            "pre_datetime": ["2026-01-01T10:00:00Z"] * 5,
            "post_image_id": ["q"] * 5,
            "post_datetime": ["2026-01-03T10:00:00Z", None, "2026-01-05T10:00:00Z", None, None],
            "run_id": ["run-7"] * 5,
        },
        geometry=[box(x, 0, x + 1, 1) for x in range(5)],
        crs=4326,
    )


def labels(*buildings: str) -> pd.DataFrame:
    rows = [
        {"building_id": b, "value": "destroyed", "labeller": "Ana", "drawn": "map", "comment": ""} for b in buildings
    ]
    return pd.DataFrame(rows, columns=list(LABEL_COLUMNS))


def write(folder: Path, selection: Selection | None = None, facts: PackFacts = FACTS, **more: object):
    return write_pack(
        folder,
        more.get("table", table()),
        labels("b", "c"),
        selection or Selection(),
        card=CARD,
        facts=facts,
        settings={"train": {"seed": 3}},
    )


def test_pack_holds_all_that_the_receiver_needs(tmp_path: Path) -> None:
    pack = write(tmp_path / "run-7" / "map-1")
    names = {path.name for path in pack.folder.iterdir()}
    assert names == {"map.geojson", "map.qml", "labels.csv", "card.md", "README.txt", "manifest.json"}
    collection = json.loads(pack.map_path.read_text(encoding="utf-8"))
    assert [feature["id"] for feature in collection["features"]] == list("abcde")
    assert collection["damage_ssl"]["run_id"] == "run-7"
    assert collection["damage_ssl"]["filter"] == "every building"


def test_manifest_has_every_files_hash_and_how_the_map_was_made(tmp_path: Path) -> None:
    pack = write(tmp_path / "p")
    manifest = json.loads((pack.folder / "manifest.json").read_text(encoding="utf-8"))
    others = {path.name for path in pack.folder.iterdir()} - {"manifest.json"}
    assert {name: said["sha256"] for name, said in manifest["files"].items()} == {
        name: sha256_of(pack.folder / name) for name in others
    }
    assert (manifest["event"], manifest["run_id"], manifest["version"]) == ("quake", "run-7", "9.9")
    assert manifest["settings"] == {"train": {"seed": 3}}
    assert check_pack(pack.folder) == []


def test_changed_or_missing_file_is_found(tmp_path: Path) -> None:
    pack = write(tmp_path / "p")
    with (pack.folder / "map.geojson").open("a", encoding="utf-8") as file:
        file.write(" ")
    (pack.folder / "card.md").unlink()
    assert sorted(check_pack(pack.folder)) == ["card.md", "map.geojson"]
    with pytest.raises(WorkspaceError, match="is no hand-over pack"):
        check_pack(tmp_path)


def test_zip_holds_the_same_bytes_in_one_folder(tmp_path: Path) -> None:
    pack = write(tmp_path / "p")
    with zipfile.ZipFile(pack.zip_path) as archive:
        assert archive.testzip() is None
        for path in pack.folder.iterdir():
            assert archive.read(f"quake-damage-map/{path.name}") == path.read_bytes()
        assert len(archive.namelist()) == len(list(pack.folder.iterdir()))


def test_selection_goes_into_map_labels_readme_and_manifest(tmp_path: Path) -> None:
    selection = Selection(classes=("damaged", "destroyed"), p_min=0.4, not_assessed=False)
    pack = write(tmp_path / "p", selection)
    collection = json.loads(pack.map_path.read_text(encoding="utf-8"))
    assert [feature["id"] for feature in collection["features"]] == ["a", "e"]
    assert collection["bbox"] == [0.0, 0.0, 5.0, 1.0]
    assert (pack.folder / "labels.csv").read_text(encoding="utf-8").count("\n") == 1  # the header alone
    manifest = json.loads((pack.folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["filter"]["classes"] == ["damaged", "destroyed"]
    assert (manifest["buildings"], manifest["footprints_of_event"], pack.buildings) == (2, 5, 2)
    text = (pack.folder / "README.txt").read_text(encoding="utf-8")
    words = "class damaged or destroyed, p_damaged from 0.4 to 1, assessed buildings only"
    assert f"a selection: {words} (2 of 5)" in text
    assert collection["damage_ssl"]["filter"] == words


def test_readme_says_scale_dates_what_not_assessed_means_and_that_no_licence_is_known(tmp_path: Path) -> None:
    text = (write(tmp_path / "p").folder / "README.txt").read_text(encoding="utf-8")
    assert "4 could be assessed; 3 of them are called damaged" in text
    assert FACTS.scheme is not None and FACTS.scheme.statement in text
    assert "p_damaged is 0.400 or more" in text
    assert "They may be damaged or not: nobody knows" in text
    assert "no post imagery: 1" in text
    assert "pre: 2026-01-01; post: 2026-01-03 to 2026-01-05" in text
    assert "Ask who sent you this before you publish it" in text
    assert "osm: 5 outlines" in text
    with_licence = write(tmp_path / "q", facts=replace(FACTS, licence="CC BY 4.0, Example"))
    assert "CC BY 4.0, Example" in (with_licence.folder / "README.txt").read_text(encoding="utf-8")


def test_map_that_nobody_validated_says_so_everywhere(tmp_path: Path) -> None:
    pack = write_pack(
        tmp_path / "p",
        table(),
        labels(),
        Selection(),
        card=replace(CARD, statement=LIVE.statement),
        facts=replace(FACTS, statement=LIVE.statement, validated=False),
        settings={},
    )
    assert json.loads(pack.map_path.read_text(encoding="utf-8"))["damage_ssl"]["validated"] is False
    for name in ("card.md", "README.txt", "map.geojson", "manifest.json"):
        assert "NOT VALIDATED" in (pack.folder / name).read_text(encoding="utf-8"), name
    assert "not validated: nothing was held out" in (pack.folder / "card.md").read_text(encoding="utf-8")


def test_failed_pack_leaves_the_older_one_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = write(tmp_path / "p")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packs, "write_card", full)
    with pytest.raises(StorageError, match="the disk is full"):
        write(tmp_path / "p")
    assert check_pack(pack.folder) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p", "p.zip"]


def test_pack_without_its_zip_is_not_taken_for_whole(tmp_path: Path) -> None:
    pack = write(tmp_path / "p")
    assert open_pack(pack.folder) == pack
    pack.zip_path.unlink()
    assert open_pack(pack.folder) is None


def test_selection_in_words_and_its_limits() -> None:
    assert Selection().words == "every building"
    assert Selection(p_min=0.5).words == "p_damaged from 0.5 to 1, and the buildings not assessed"
    assert Selection(classes=()).words == "no class, and the buildings not assessed"
    with pytest.raises(InputError, match="0 ≤ from ≤ to ≤ 1"):
        Selection(p_min=0.9, p_max=0.1)
    with pytest.raises(InputError, match="'detroyed' is not one of destroyed, intact"):
        Selection(classes=("detroyed",)).check({"intact", "destroyed"})


def test_rows_of_a_map_are_written_in_their_order_and_reprojected(tmp_path: Path) -> None:
    from damage_ssl.products.formats.geojson import write_geojson

    square = gpd.GeoDataFrame({"building_id": ["x", "y", "z"]}, geometry=[box(0, 0, 1, 1)] * 3, crs=4326).to_crs(3857)
    write_geojson(square, tmp_path / "m.geojson", rows=np.array([2, 0]))
    collection = json.loads((tmp_path / "m.geojson").read_text(encoding="utf-8"))
    assert [feature["id"] for feature in collection["features"]] == ["z", "x"]
    assert collection["bbox"] == pytest.approx([0, 0, 1, 1], abs=1e-7)

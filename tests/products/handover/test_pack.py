"""A hand-over pack: its files, that they are one and the same in folder and ZIP, and what the receiver is told."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from damage_ssl.errors import InputError, StorageError, WorkspaceError
from damage_ssl.products.handover import pack_files
from damage_ssl.products.handover.pack import is_open
from damage_ssl.products.handover.pack_files import (
    BUILDINGS,
    Pack,
    check_pack,
    open_pack,
    refuse_foreign,
    sha256_of,
)
from damage_ssl.products.selection import Selection
from damage_ssl.runs.live import LIVE
from tests.products.handover.made_pack import CARD, FACTS, files_of, write

PAGES = {"map.html", "report.pdf"}


def test_pack_holds_all_that_the_receiver_needs_and_everything_else_lies_under_extra(whole: Pack) -> None:
    pack = whole
    top = {path.name for path in pack.folder.iterdir()} - PAGES
    assert top == {*(f"buildings{ending}" for ending in BUILDINGS), "map.tif", "project.qgz", "extra"}
    assert set(files_of(pack.folder / "extra")) == {
        "README.txt",
        "buildings.pmtiles",
        "card.md",
        "checksums",
        "item.json",
        "labels.csv",
        "legend.csv",
        "manifest.json",
        "styles/aoi.qml",
        "styles/buildings.qml",
        "styles/grid.qml",
        "styles/not_assessed.qml",
        "totals.csv",
    }
    collection = json.loads(pack.map_path.read_text(encoding="utf-8"))
    assert [feature["id"] for feature in collection["features"]] == list("abcde")
    assert collection["damage_ssl"]["run_id"] == "run-7"
    assert collection["damage_ssl"]["filter"] == "every building"


def test_manifest_has_every_files_hash_and_how_the_map_was_made(whole: Pack) -> None:
    pack = whole
    manifest = json.loads((pack.folder / "extra" / "manifest.json").read_text(encoding="utf-8"))
    others = set(files_of(pack.folder)) - {"extra/manifest.json", "extra/checksums"}
    assert {name: said["sha256"] for name, said in manifest["files"].items()} == {
        name: sha256_of(pack.folder / name) for name in others
    }
    assert (manifest["event"], manifest["run_id"], manifest["version"]) == ("quake", "run-7", "9.9")
    assert manifest["settings"] == {"train": {"seed": 3}}
    assert check_pack(pack.folder) == []


def test_changed_or_missing_file_is_found(tmp_path: Path) -> None:
    pack = write(tmp_path / "p")
    with (pack.folder / "buildings.geojson").open("a", encoding="utf-8") as file:
        file.write(" ")
    (pack.folder / "extra" / "card.md").unlink()
    assert sorted(check_pack(pack.folder)) == ["buildings.geojson", "extra/card.md"]
    with pytest.raises(WorkspaceError, match="is no hand-over pack"):
        check_pack(tmp_path)


def test_zip_holds_the_same_bytes_in_one_folder(whole: Pack) -> None:
    pack = whole
    with zipfile.ZipFile(pack.zip_path) as archive:
        assert archive.testzip() is None
        for name in files_of(pack.folder):
            assert archive.read(f"quake-damage-map/{name}") == (pack.folder / name).read_bytes()
        assert len(archive.namelist()) == len(files_of(pack.folder))


def test_selection_goes_into_map_labels_readme_and_manifest(tmp_path: Path) -> None:
    selection = Selection(classes=("damaged", "destroyed"), p_min=0.4, not_assessed=False)
    pack = write(tmp_path / "p", selection)
    collection = json.loads(pack.map_path.read_text(encoding="utf-8"))
    assert [feature["id"] for feature in collection["features"]] == ["a", "e"]
    assert collection["bbox"] == [0.0, 0.0, 0.005, 0.001]
    assert (pack.folder / "extra" / "labels.csv").read_text(encoding="utf-8").count("\n") == 1  # the header alone
    manifest = json.loads((pack.folder / "extra" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["filter"]["classes"] == ["damaged", "destroyed"]
    assert (manifest["buildings"], manifest["footprints_of_event"], pack.buildings) == (2, 5, 2)
    text = (pack.folder / "extra" / "README.txt").read_text(encoding="utf-8")
    words = "class damaged or destroyed, p_damaged from 0.4 to 1, assessed buildings only"
    assert f"a selection: {words} (2 of 5)" in text
    assert collection["damage_ssl"]["filter"] == words


def test_readme_says_scale_dates_what_not_assessed_means_and_that_no_licence_is_known(tmp_path: Path) -> None:
    text = (write(tmp_path / "p").folder / "extra" / "README.txt").read_text(encoding="utf-8")
    assert "About 3 (2–4).\n4 could be assessed; 3 of them are drawn as damaged" in text
    assert FACTS.scheme is not None and FACTS.scheme.statement in text
    assert "p_damaged is 0.400 or more" in text
    assert "They may be damaged or not: nobody knows" in text
    assert "no post imagery: 1" in text
    assert "pre: 2026-01-01; post: 2026-01-03 to 2026-01-05" in text
    assert "Ask who sent you this before you publish it" in text
    assert "osm: 5 outlines" in text
    with_licence = write(tmp_path / "q", facts=replace(FACTS, licence="CC BY 4.0, Example"))
    assert "CC BY 4.0, Example" in (with_licence.folder / "extra" / "README.txt").read_text(encoding="utf-8")


def test_map_that_nobody_validated_says_so_everywhere(tmp_path: Path) -> None:
    warned = replace(FACTS, statement=LIVE.statement, validated=False)
    pack = write(tmp_path / "p", facts=warned, card=replace(CARD, statement=LIVE.statement))
    assert json.loads(pack.map_path.read_text(encoding="utf-8"))["damage_ssl"]["validated"] is False
    for name in ("extra/card.md", "extra/README.txt", "buildings.geojson", "extra/manifest.json"):
        assert "NOT VALIDATED" in (pack.folder / name).read_text(encoding="utf-8"), name
    assert "not validated: nothing was held out" in (pack.folder / "extra" / "card.md").read_text(encoding="utf-8")


def test_failed_pack_leaves_the_older_one_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = write(tmp_path / "p")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pack_files, "write_card", full)
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


def test_pack_of_no_building_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no building of the map is left by the filter \(no class, assessed buildings"
    ):
        write(tmp_path / "p", Selection(classes=(), not_assessed=False))
    assert list(tmp_path.iterdir()) == []


def test_pack_takes_no_folder_whose_files_would_be_lost(tmp_path: Path) -> None:
    pack = write(tmp_path / "p")
    refuse_foreign(pack.folder)
    refuse_foreign(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    refuse_foreign(tmp_path / "empty")
    (pack.folder / "buildings.gpkg.aux.xml").write_text("of a reader")
    (pack.folder / "project.qgz~").write_text("of QGIS")
    refuse_foreign(pack.folder)
    (pack.folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds a file that is not of the pack \(notes.txt\)"):
        refuse_foreign(pack.folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.doc").write_text("mine")
    with pytest.raises(InputError, match="is there already and is no pack"):
        refuse_foreign(tmp_path / "other")
    (tmp_path / "new.zip").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"new\.zip: is there already and is no pack"):
        refuse_foreign(tmp_path / "new")
    with pytest.raises(InputError, match="is a file"):
        refuse_foreign(tmp_path / "other" / "thesis.doc")


def test_pack_of_an_older_version_opens(tmp_path: Path) -> None:
    folder = tmp_path / "map-1"
    folder.mkdir()
    (folder / "map.geojson").write_text("{}")
    said = {"map.geojson": {"sha256": sha256_of(folder / "map.geojson"), "bytes": 2}}
    (folder / "manifest.json").write_text(json.dumps({"buildings": 7, "files": said}))
    (tmp_path / "map-1.zip").write_bytes(b"PK")
    pack = open_pack(folder)
    assert pack is not None and (pack.buildings, pack.map_path.name, pack.bytes) == (7, "map.geojson", 2)
    assert check_pack(folder) == []


def test_large_pack_leaves_out_tiles_and_its_note_does_not_name_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_files, "TILES_UP_TO", 4)
    folder = write(tmp_path / "p").folder
    assert not (folder / "extra" / "buildings.pmtiles").exists()
    assert "pmtiles" not in (folder / "extra" / "README.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("licence", "known"),
    [
        ("CC BY 4.0, Example", True),
        ("CC-BY-NC-4.0", True),
        ("cc0", True),
        ("CC BY-ND 4.0", False),
        ("© Vendor, all rights reserved", False),
        (None, False),
    ],
)
def test_pictures_of_the_images_go_out_under_an_open_licence_only(licence: str | None, known: bool) -> None:
    assert is_open(licence) is known

"""The words that everything else uses."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from pyproj import CRS

from damage_ssl.damage_scale import SCHEMES, DamageGrade, LabelValue, scheme_named
from damage_ssl.errors import InputError, SettingsError, StorageError
from damage_ssl.files import atomic_directory, atomic_path, write_json
from damage_ssl.grid import PixelGrid, utm_epsg


def test_unknown_grade_names_place_value_and_what_is_allowed() -> None:
    with pytest.raises(InputError, match=r"labels.csv, row 7: grade 'detroyed' is not one of no-damage, .*destroyed"):
        LabelValue.parse("detroyed", "labels.csv, row 7")


def test_grade_names_are_read_in_any_case_and_with_underscores() -> None:
    assert LabelValue.parse(" Major_Damage ", "x").grade is DamageGrade.MAJOR_DAMAGE


@pytest.mark.parametrize(
    ("scheme", "value", "index"),
    [
        ("binary-major", "minor-damage", 0),
        ("binary-minor", "minor-damage", 1),
        ("binary-major", "damaged", 1),
        ("binary-major", "unclear", None),
        ("grades", "destroyed", 3),
        ("grades", "damaged", None),
    ],
)
def test_scheme_places_a_label_value_in_its_class(scheme: str, value: str, index: int | None) -> None:
    assert SCHEMES[scheme].index_of(LabelValue(value)) == index


def test_every_grade_has_exactly_one_class_in_every_scheme() -> None:
    for scheme in SCHEMES.values():
        for grade in DamageGrade:
            assert sum(LabelValue(grade.label) in members for members in scheme.members) == 1


def test_damaged_counts_from_the_first_damaged_grade_and_a_verdict_is_what_it_says() -> None:
    assert {name: min(scheme.damaged_grades).label for name, scheme in SCHEMES.items()} == {
        "binary-major": "major-damage",
        "binary-minor": "minor-damage",
        "grades": "major-damage",
    }
    for scheme in SCHEMES.values():
        for grade in DamageGrade:
            assert scheme.is_damaged(LabelValue(grade.label)) is (grade in scheme.damaged_grades)
        assert scheme.is_damaged(LabelValue.DAMAGED) is True
        assert scheme.is_damaged(LabelValue.INTACT) is False
        assert scheme.is_damaged(LabelValue.UNCLEAR) is None
    assert SCHEMES["grades"].damaged_names == ("major-damage", "destroyed")


def test_unknown_scheme_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'binary-major'"):
        scheme_named("binary-majr")


def test_grid_is_centred_on_the_point() -> None:
    grid = PixelGrid.centred(500_000.0, 4_000_000.0, CRS.from_epsg(32610), size_px=64, gsd_m=0.5)
    assert grid.bounds == (499_984.0, 3_999_984.0, 500_016.0, 4_000_016.0)
    assert grid.gsd_m == 0.5


@pytest.mark.parametrize(("lon", "lat", "epsg"), [(-122.7, 38.5, 32610), (177.0, -17.8, 32760), (180.0, 1.0, 32660)])
def test_utm_zone_of_a_place(lon: float, lat: float, epsg: int) -> None:
    assert utm_epsg(lon, lat) == epsg


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"a": 1})
    with pytest.raises(ValueError, match="Out of range"):
        write_json(target, {"a": float("nan")})
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == '{\n "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [target]


def test_failed_directory_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "store"
    with atomic_directory(target) as temporary:
        (temporary / "a").write_text("old")
    with pytest.raises(RuntimeError), atomic_directory(target) as temporary:
        (temporary / "a").write_text("new")
        raise RuntimeError
    with atomic_directory(target) as temporary:
        (temporary / "b").write_text("newer")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert [path.name for path in target.iterdir()] == ["b"]


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="other systems cannot exchange two directories in one step"
)
def test_directory_that_is_replaced_is_there_at_every_moment(tmp_path: Path) -> None:
    target = tmp_path / "store"
    target.mkdir()
    code = (
        "import sys; from pathlib import Path; from damage_ssl.files import atomic_directory\n"
        "for n in range(300):\n"
        "    with atomic_directory(Path(sys.argv[1])) as folder:\n"
        "        (folder / 'number').write_text(str(n))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(target)]) as writer:
        seen = [target.is_dir() for _ in iter(writer.poll, 0)]
    assert len(seen) > 100
    assert all(seen)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert (target / "number").read_text() == "299"


def test_directory_is_replaced_where_the_system_cannot_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("damage_ssl.files._exchanged", lambda *_: False)
    for text in ("old", "new"):
        with atomic_directory(tmp_path / "store") as folder:
            (folder / text).touch()
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_full_disk_is_said_in_words(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"out\.json: the disk is full; free some space"),
        atomic_path(tmp_path / "out.json"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_import_needs_no_heavy_library() -> None:
    heavy = ("torch", "rasterio", "geopandas", "streamlit")
    code = f"import sys, damage_ssl, damage_ssl.cli; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"

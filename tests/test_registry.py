"""A new file in the right folder is all that a new algorithm, footprint format or export format takes."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

from damage_ssl.registry import Registry

ALGORITHM = """
from damage_ssl.learning.algorithms.base import AlgorithmEntry
from damage_ssl.settings import Settings
ALGORITHMS = {"new": AlgorithmEntry(Settings, print)}
"""
FOOTPRINTS = """
from damage_ssl.footprints.formats import FootprintFormat
FORMATS = {"new": FootprintFormat(read=print, endings=(".new",))}
"""
PRODUCT = "FORMATS = {'new': print}"


@pytest.mark.parametrize(
    ("package", "table", "text"),
    [
        ("damage_ssl.learning.algorithms", "ALGORITHMS", ALGORITHM),
        ("damage_ssl.footprints.formats", "FORMATS", FOOTPRINTS),
        ("damage_ssl.products.formats", "FORMATS", PRODUCT),
    ],
)
def test_a_file_in_its_folder_makes_a_thing_known(
    package: str, table: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = import_module(package)
    before: Registry[object] = getattr(folder, table)
    (tmp_path / "brand_new.py").write_text(text)
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, f"{package}.brand_new", raising=False)
    after: Registry[object] = Registry(package, table)
    assert set(after) == {*before, "new"}
    monkeypatch.delitem(sys.modules, f"{package}.brand_new")


def test_the_same_name_in_two_files_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / "things" / f"{name}.py").parent.mkdir(exist_ok=True)
        (tmp_path / "things" / f"{name}.py").write_text("THINGS = {'same': 1}")
    (tmp_path / "things" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match=r"things\.two: declares 'same', which another module"):
        len(Registry("things", "THINGS"))


def test_an_entry_by_hand_goes_before_a_declared_one_whenever_it_is_made() -> None:
    formats: Registry[object] = Registry("damage_ssl.products.formats", "FORMATS")
    formats[".geojson"] = early = object()
    assert formats[".geojson"] is early and ".json" in formats
    formats[".geojson"] = late = object()
    assert formats[".geojson"] is late

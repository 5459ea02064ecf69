"""`export --pack` on a small event, before any training."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.app.town_app import prepared_event
from tests.cli.conftest import Outcome
from tests.conftest import Town

Run = Callable[..., Outcome]
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # within rasterio


def test_pack_is_written_where_it_is_asked_for_with_a_zip_on_request(run: Run, town: Town, tmp_path: Path) -> None:
    prepared_event(town)
    folder = tmp_path / "out" / "pack"
    where = ("--workspace", town.workspace, "--json")
    said = run("export", "town", "--pack", folder, "--zip", "--licence", "CC0", "--assessed-only", *where).json
    assert (said["folder"], said["zip"]) == (str(folder), f"{folder}.zip")
    assert sorted(path.name for path in folder.parent.iterdir()) == ["pack", "pack.zip"]
    assert said["filter"] == "assessed buildings only"
    assert said["statement"] and said["statement"] in (folder / "extra" / "README.txt").read_text(encoding="utf-8")
    with zipfile.ZipFile(said["zip"]) as archive:
        manifest = json.loads(archive.read("town-damage-map/extra/manifest.json"))
    assert (manifest["licence"], manifest["buildings"], manifest["run_id"]) == ("CC0", said["buildings"], None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "give --out FILE for one file, or --pack DIR"),
        (("--out", "m.geojson", "--assessed-only"), "go with --pack"),
        (("--pack", "DIR", "--class", "detroyed"), "class 'detroyed' is not one of"),
        (("--pack", "DIR", "--p-min", "2"), "give 0 ≤ from ≤ to ≤ 1"),
        (("--pack", "DIR", "--p-min", "0.9", "--assessed-only"), "no building of the map is left by the filter"),
        (("--out", "m.gpkg", "--zip"), "go with --pack"),
        (("--pack", "FULL"), "is there already and is no pack"),
        (("--pack", "DIR", "--units", "FULL"), "no such file; give the areas file"),
    ],
)
def test_impossible_hand_over_is_refused(
    given: tuple[str, ...], said: str, run: Run, town: Town, tmp_path: Path
) -> None:
    event = prepared_event(town)
    (tmp_path / "FULL").mkdir()
    (tmp_path / "FULL" / "mine.txt").write_text("mine")
    paths = {"DIR": tmp_path / "DIR", "FULL": tmp_path / "FULL"}
    outcome = run("export", "town", *(paths.get(word, word) for word in given), "--workspace", town.workspace)
    assert outcome.code == 2
    assert said in " ".join(outcome.err.split())
    assert not event.products_path.exists() and not paths["DIR"].exists()
    assert [path.name for path in paths["FULL"].iterdir()] == ["mine.txt"]


def test_map_and_pack_are_written_together_or_not_at_all(run: Run, town: Town, tmp_path: Path) -> None:
    prepared_event(town)
    out = tmp_path / "map.geojson"
    both = ("export", "town", "--pack", tmp_path / "pack", "--zip", "--out", out, "--workspace", town.workspace)
    assert run(*both, "--class", "detroyed").code == 2
    assert not out.exists()
    said = run(*both, "--json").json
    assert said["out"] == str(out) and Path(said["zip"]).exists()
    assert len(json.loads(out.read_text(encoding="utf-8"))["features"]) == 16

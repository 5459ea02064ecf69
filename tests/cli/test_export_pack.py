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


def test_pack_is_written_to_products_and_named(run: Run, town: Town) -> None:
    prepared_event(town)
    where = ("--workspace", town.workspace, "--json")
    said = run("export", "town", "--pack", "--licence", "CC0", "--assessed-only", *where).json
    assert Path(said["zip"]).parent == town.workspace / "town" / "products" / "labels-only"
    assert said["filter"] == "assessed buildings only"
    with zipfile.ZipFile(said["zip"]) as archive:
        manifest = json.loads(archive.read("town-damage-map/manifest.json"))
    assert (manifest["licence"], manifest["buildings"], manifest["run_id"]) == ("CC0", said["buildings"], None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "give --out FILE for the GeoJSON alone, or --pack"),
        (("--out", "m.geojson", "--assessed-only"), "goes with --pack"),
        (("--pack", "--class", "detroyed"), "class 'detroyed' is not one of"),
        (("--pack", "--p-min", "2"), "give 0 ≤ from ≤ to ≤ 1"),
    ],
)
def test_impossible_hand_over_is_refused(given: tuple[str, ...], said: str, run: Run, town: Town) -> None:
    event = prepared_event(town)
    outcome = run("export", "town", *given, "--workspace", town.workspace)
    assert outcome.code == 2
    assert said in " ".join(outcome.err.split())
    assert not event.products_path.exists()


def test_map_and_pack_are_written_together_or_not_at_all(run: Run, town: Town, tmp_path: Path) -> None:
    prepared_event(town)
    out = tmp_path / "map.geojson"
    both = ("export", "town", "--pack", "--out", out, "--workspace", town.workspace)
    assert run(*both, "--class", "detroyed").code == 2
    assert not out.exists()
    said = run(*both, "--json").json
    assert said["out"] == str(out) and Path(said["zip"]).exists()
    assert len(json.loads(out.read_text(encoding="utf-8"))["features"]) == 16

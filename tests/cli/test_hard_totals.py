"""`damage-ssl totals` on odd answers and odd areas, and that it says what the card, the pack and the app say."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from app.state.event_view import view_of
from app.state.shown_models import shown_models
from app.state.totals import totals_of
from damage_ssl.events.event import Event
from tests.app.town_app import add_run
from tests.cli.conftest import Outcome

Run = Callable[..., Outcome]
PER_UNIT = {"assessed", "not_assessed", "damaged", "damaged_low", "damaged_high", "method", "answers"}


def answer(run: Run, workspace: Path, values: list[str], *, seed: int = 0) -> list[str]:
    """Give these answers about buildings drawn singly at random."""
    ids = np.sort(Event.open(workspace, "town").footprints()["building_id"].to_numpy(str))
    drawn = np.random.default_rng(seed).permutation(ids)[: len(values)].tolist()
    rows = [f"{each},{value},random,{len(values) / len(ids)}" for each, value in zip(drawn, values, strict=True)]
    path = workspace / "answers.csv"
    path.write_text("\n".join(["building_id,grade,drawn,inclusion_probability", *rows]) + "\n", encoding="utf-8")
    assert run("label", "import", "town", path, "--workspace", workspace).code == 0
    return drawn


def total_of(run: Run, workspace: Path, *options: object) -> dict[str, Any]:
    said = run("totals", "town", *options, "--workspace", workspace, "--json")
    assert said.code == 0, said.err
    return said.json


@pytest.mark.parametrize(
    ("values", "answers"),
    [
        (["destroyed"] * 30, 30),
        (["no-damage"] * 30, 30),
        (["destroyed"] * 8 + ["no-damage"] * 12 + ["unclear"] * 10, 20),
    ],
)
def test_thirty_random_answers_always_give_numbers(run: Run, cut: Path, values: list[str], answers: int) -> None:
    answer(run, cut, values)
    said = total_of(run, cut)
    total = said["total"]
    assert set(total) >= PER_UNIT and said["units"] == []
    assert total["answers"] == answers
    damaged, intact = values.count("destroyed"), values.count("no-damage")
    assert damaged <= total["damaged_low"] <= total["damaged"] <= total["damaged_high"]
    assert total["damaged_high"] <= total["assessed"] - intact
    assert total["damaged_low"] < total["damaged_high"]
    assert total["assessed"] + total["not_assessed"] == 90


def quarters(workspace: Path) -> gpd.GeoDataFrame:
    """Four areas that part the town at its middle."""
    west, south, east, north = Event.open(workspace, "town").footprints().total_bounds
    x, y, far = (west + east) / 2, (south + north) / 2, 0.01
    boxes = [shapely.box(*box) for box in (
        (x - far, y - far, x, y), (x, y - far, x + far, y), (x - far, y, x, y + far), (x, y, x + far, y + far)
    )]  # fmt: skip
    return gpd.GeoDataFrame({"unit_id": list("abcd"), "name": list("ABCD")}, geometry=boxes, crs="EPSG:4326")


def test_units_have_the_contract_of_the_total_in_any_coordinate_system(run: Run, cut: Path, tmp_path: Path) -> None:
    answer(run, cut, ["destroyed", "no-damage"] * 20)
    areas = quarters(cut)
    areas.to_file(tmp_path / "degrees.geojson", driver="GeoJSON")
    areas.to_crs(areas.estimate_utm_crs()).to_file(tmp_path / "metres.gpkg")
    degrees, metres = (total_of(run, cut, "--by", tmp_path / name) for name in ("degrees.geojson", "metres.gpkg"))
    assert degrees["units"] == metres["units"] and len(degrees["units"]) == 4
    assert all(set(row) == set(degrees["total"]) >= PER_UNIT for row in degrees["units"])
    for count in ("assessed", "not_assessed"):
        assert sum(row[count] for row in degrees["units"]) == degrees["total"][count]
    assert all(row["damaged_low"] <= row["damaged"] <= row["damaged_high"] for row in degrees["units"])


def test_odd_units_are_said_and_none_is_lost(run: Run, cut: Path, tmp_path: Path) -> None:
    answer(run, cut, ["destroyed", "no-damage"] * 20)
    areas = quarters(cut)
    west, south, east, north = areas.total_bounds
    bow = shapely.Polygon([(west, south), (east, north), (east, south), (west, north)])
    areas.geometry = [bow, areas.geometry[0].buffer(0.002), shapely.box(0, 0, 1, 1), areas.geometry[3]]
    areas.to_file(tmp_path / "odd.gpkg")
    units = total_of(run, cut, "--by", tmp_path / "odd.gpkg")["units"]
    broken, overlapping, empty, *rest = units
    assert "not valid and was mended" in broken["note"] and "lie in another unit too" in overlapping["note"]
    assert (empty["assessed"], empty["damaged"], empty["damaged_high"]) == (0, 0, 0)
    assert sum(row["assessed"] + row["not_assessed"] for row in units) == 90 and rest


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, ["--by-name", "ADM9"], "has no column 'ADM9'"),
        ({"type": "FeatureCollection", "features": []}, [], "holds no areas"),
        ({"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [0, 0]}}, [], "polygons"),
    ],
)
def test_areas_that_are_none_are_refused(
    run: Run, cut: Path, tmp_path: Path, content: Any, options: list[str], message: str
) -> None:
    path = tmp_path / "areas.geojson"
    if content is None:
        quarters(cut).to_file(path, driver="GeoJSON")
    else:
        path.write_text(json.dumps(content), encoding="utf-8")
    said = run("totals", "town", "--by", path, *options, "--workspace", cut)
    assert said.code != 0 and message in said.err and "Traceback" not in said.err


def test_command_card_pack_and_app_say_the_same(
    run: Run, cut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(cut))
    drawn = answer(run, cut, ["destroyed", "no-damage", "no-damage", "major-damage"] * 10)
    add_run(Event.open(cut, "town"), dict.fromkeys(drawn[::4], 0.9))
    said = total_of(run, cut)
    total = said["total"]
    assert (total["answers"], total["model_count"]) == (40, 10)
    assert "score (model)" in total["method"]
    assert run("export", "town", "--pack", tmp_path / "pack", "--workspace", cut).code == 0
    extra = tmp_path / "pack" / "extra"
    with (extra / "totals.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["level"] == "event"]
    for name in ("damaged", "damaged_low", "damaged_high", "assessed", "answers"):
        assert [int(row[name]) for row in rows] == [total[name]]
    assert said["statement"] in (extra / "card.md").read_text(encoding="utf-8")
    view = view_of("town")
    assert totals_of(view, shown_models(view)[0]).statement == said["statement"]

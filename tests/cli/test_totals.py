"""`damage-ssl totals`: of an event with random labels, and of another tool's map."""

from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from damage_ssl.simulation.event import SimulatedEvent
from tests.cli.conftest import Outcome, grades_of, inputs_of

Run = Callable[..., Outcome]


@pytest.fixture
def workspace(run: Run, simulated: SimulatedEvent, tmp_path: Path) -> Path:
    """An event whose pairs are cut, with 36 random answers and ten others."""
    place = tmp_path / "w"
    run("init", "town", *inputs_of(simulated), "--workspace", place)
    assert run("patches", "town", "--workspace", place).code == 0
    index = [*grades_of(simulated.truth).items()]
    order = np.random.default_rng(0).permutation(len(index))[:46]
    rows = [
        (*index[place], "random" if n < 36 else "map", 36 / len(index) if n < 36 else "")
        for n, place in enumerate(order)
    ]
    table = pd.DataFrame(rows, columns=["building_id", "grade", "drawn", "inclusion_probability"])
    table.to_csv(tmp_path / "labels.csv", index=False)
    assert run("label", "import", "town", tmp_path / "labels.csv", "--workspace", place).code == 0
    return place


def test_event_s_total_is_bounded_and_its_units_follow(
    run: Run, workspace: Path, simulated: SimulatedEvent, tmp_path: Path
) -> None:
    said = run("totals", "town", "--workspace", workspace, "--json").json
    assert set(said) == {"total", "grades", "units", "statement", "next_step"}
    total = said["total"]
    damaged = sum(grade in ("major-damage", "destroyed") for grade in grades_of(simulated.truth).values())
    assert total["answers"] >= 30 and total["assessed"] + total["not_assessed"] == 90
    assert total["damaged_low"] <= damaged <= total["damaged_high"]
    assert total["share_low"] == round(total["damaged_low"] / total["assessed"], 4)
    assert said["units"] == [] and len(said["grades"]) == 4

    out = tmp_path / "units.csv"
    by_grid = run("totals", "town", "--workspace", workspace, "--grid", 60, "--out", out, "--json").json
    assert sum(row["assessed"] for row in by_grid["units"]) == total["assessed"]
    assert len(pd.read_csv(out)) == len(by_grid["units"])

    shapes = tmp_path / "units.geojson"
    assert run("totals", "town", "--workspace", workspace, "--grid", 60, "--out", shapes).code == 0
    again = run("totals", "town", "--workspace", workspace, "--by", shapes, "--json").json
    assert [row["assessed"] for row in again["units"]] == [row["assessed"] for row in by_grid["units"]]


def test_another_tool_s_map_is_audited(run: Run, tmp_path: Path) -> None:
    ids = [f"x{n}" for n in range(300)]
    damaged = np.arange(300) % 5 == 0
    points = gpd.points_from_xy(np.arange(300) * 1e-4, np.zeros(300))
    table = gpd.GeoDataFrame({"id": ids, "score": damaged * 0.8}, geometry=points, crs="EPSG:4326")
    table.to_file(tmp_path / "map.geojson", driver="GeoJSON")
    rows = np.random.default_rng(1).permutation(300)[:40]
    sample = pd.DataFrame({"id": np.array(ids)[rows], "really": damaged[rows].astype(int)})
    sample.to_csv(tmp_path / "sample.csv", index=False)
    options = ["--sample", tmp_path / "sample.csv", "--id-column", "id", "--answer-column", "really"]
    said = run("totals", "--table", tmp_path / "map.geojson", *options, "--score-column", "score", "--json").json
    assert said["total"]["damaged_low"] <= 60 <= said["total"]["damaged_high"]
    assert said["total"]["model_count"] == 60
    flat = pd.DataFrame({"id": ids, "lon": points.x, "lat": points.y, "hit": damaged.astype(int)})
    flat.to_csv(tmp_path / "map.csv", index=False)
    told = run("totals", "--table", tmp_path / "map.csv", *options, "--damaged-column", "hit", "--grid", 500)
    assert told.code == 0
    assert "The model flags 60 of 300. From 40 random answers about" in told.out + told.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name an event, or give another tool's map"),
        (["town", "--table", "map.csv"], "name an event, or give another tool's map"),
        (["--table", "map.csv"], "--table needs --sample"),
        (["town", "--by", "a.geojson", "--grid", "500"], "give --by or --grid, not both"),
        (["town", "--by-id", "code"], "give that file too"),
        (["town", "--out", "units.csv"], "--out writes the units"),
        (["--table", "nothing.csv", "--sample", "nothing.csv"], "nothing.csv: cannot be read as CSV"),
        (["--table", "nothing.gpkg", "--sample", "nothing.csv"], "nothing.gpkg: no such file"),
    ],
)
def test_wrong_options_are_explained(run: Run, arguments: list[str], message: str) -> None:
    said = run("totals", *arguments)
    assert said.code != 0 and message in said.err
    assert "Traceback" not in said.err

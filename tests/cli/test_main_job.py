"""The commands in the order of the job, on a simulated event."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pytest
from shapely import box

from damage_ssl.cli.root import spread_path_lists
from damage_ssl.simulation.event import SimulatedEvent
from tests.cli.conftest import Outcome, every_file, grades_of, inputs_of, write_labels

Run = Callable[..., Outcome]


def labels_from(event: SimulatedEvent, path: Path, count: int = 40) -> Path:
    return write_labels(path, dict(list(grades_of(event.truth).items())[:count]))


def test_shell_expanded_paths_after_one_flag_are_all_taken() -> None:
    argv = ["init", "e", "--pre", "a", "b", "--post", "c", "--footprints", "f", "--pre", "d"]
    assert spread_path_lists(argv) == [
        *["init", "e", "--pre", "a", "--pre", "b", "--post", "c", "--footprints", "f", "--pre", "d"]
    ]


def test_export_before_training_gives_every_footprint_without_probabilities(
    run: Run, simulated: SimulatedEvent, tmp_path: Path
) -> None:
    at = ["--workspace", tmp_path / "w"]
    assert run("init", "town", *inputs_of(simulated), *at).code == 0
    assert run("patches", "town", *at).code == 0
    outcome = run("export", "town", "--out", tmp_path / "map.geojson", *at, "--json")
    assert (outcome.code, outcome.json["run_id"], outcome.json["footprints"]) == (0, None, 90)
    table = gpd.read_file(tmp_path / "map.geojson")
    assert sorted(table["building_id"]) == sorted(grades_of(simulated.truth))
    assert table["p_damaged"].isna().all()
    assert (table["not_assessed_reason"].notna() == ~table["assessed"].astype(bool)).all()


def test_assess_gives_a_map_that_evaluate_measures_on_unseen_buildings(
    run: Run, simulated: SimulatedEvent, tmp_path: Path
) -> None:
    at = ["--workspace", tmp_path / "w"]
    labels = labels_from(simulated, tmp_path / "labels.csv")
    out = tmp_path / "map.geojson"
    settings = tmp_path / "settings.toml"
    settings.write_text('[train]\nalgorithm = "fixmatch"\nnetwork = "small-cnn"\nsteps = 3\n')
    command = ["assess", "town", *inputs_of(simulated), "--labels", labels, "--out", out, "--settings", settings, *at]
    first = run(*command, "--json")
    assert first.code == 0, first.err
    assert first.json["footprints"] == 90
    assert first.json["by_analyst"] == 40

    features = json.loads(out.read_text())["features"]
    assessed = [f["properties"] for f in features if f["properties"]["assessed"]]
    by_model = [p for p in assessed if p["label_source"] == "model"]
    assert by_model
    assert all(0 <= p["p_damaged"] <= 1 and abs(p["p_damaged"] + p["p_intact"] - 1) < 1e-6 for p in by_model)
    assert all(p["damaged"] == (p["p_damaged"] >= p["threshold"]) for p in by_model)
    by_hand = {p["building_id"]: p["analyst_class"] for p in assessed if p["label_source"] == "analyst"}
    truth = grades_of(simulated.truth)
    assert by_hand and all(truth[building] == given for building, given in by_hand.items())

    report = run("evaluate", "town", "--truth", simulated.truth, *at, "--json")
    assert report.code == 0
    trained = run("status", "town", *at, "--json").json
    unseen = trained["assessable"] - report.json["left_out"]["seen"]
    assert report.json["n"] == unseen
    assert 0 <= report.json["auroc"]["value"] <= 1
    assert "by" not in report.json

    outlines = gpd.read_file(out)
    west, south, east, north = outlines.total_bounds
    half = (west + east) / 2
    areas = gpd.GeoDataFrame({"name": ["West"]}, geometry=[box(west, south, half, north)], crs="EPSG:4326")
    areas.to_crs(3857).to_file(tmp_path / "areas.gpkg")
    grouped = ["evaluate", "town", "--truth", simulated.truth, "--by", "size,scene,unit,source,quality", *at]
    by = run(*grouped, "--units", tmp_path / "areas.gpkg", "--json").json["by"]
    for word in ("size", "scene", "unit", "source", "quality"):
        assert sum(group["n"] for group in by["groups"] if group["by"] == word) == unseen
    assert {group["name"] for group in by["groups"] if group["by"] == "unit"} == {"West", "outside"}
    text = run(*grouped, "--units", tmp_path / "areas.gpkg").out
    assert "unit West: " in text and by["note"] in text.replace("\n", " ")
    unknown = run("evaluate", "town", "--truth", simulated.truth, "--by", "colour", *at)
    assert unknown.code == 2 and "group by size, scene, source, quality, unit" in unknown.err
    assert "--units FILE" in run(*grouped).err

    before = every_file(tmp_path / "w" / "town" / "runs")
    again = run(*command, "--json")
    assert again.json["run_id"] == first.json["run_id"]
    after = every_file(tmp_path / "w" / "town" / "runs")
    assert {name: state for name, state in after.items() if not name.endswith("card.md")} == {
        name: state for name, state in before.items() if not name.endswith("card.md")
    }


@pytest.mark.long
def test_train_takes_new_labels_into_a_new_run(run: Run, simulated: SimulatedEvent, cut: Path, tmp_path: Path) -> None:
    at = ["--workspace", cut]
    run("label", "import", "town", labels_from(simulated, tmp_path / "a.csv", 40), *at)
    quick = ["--network", "small-cnn", "--steps", "3", *at, "--json"]
    first = run("train", "town", *quick)
    assert first.code == 0, first.err
    run("label", "import", "town", labels_from(simulated, tmp_path / "b.csv", 60), *at)
    second = run("train", "town", *quick).json
    assert second["run_id"] != first.json["run_id"]
    assert second["trained_on"] > first.json["trained_on"]


def test_label_next_proposes_unlabelled_buildings_and_export_writes_them_back(
    run: Run, simulated: SimulatedEvent, cut: Path, tmp_path: Path
) -> None:
    at = ["--workspace", cut]
    labels = labels_from(simulated, tmp_path / "labels.csv", 30)
    run("label", "import", "town", labels, *at)
    proposed = {row["building_id"] for row in run("label", "next", "town", "-n", "10", *at, "--json").json["buildings"]}
    assert len(proposed) == 10
    assert not proposed & set(list(grades_of(simulated.truth))[:30])
    run("label", "export", "town", "--out", tmp_path / "out.csv", *at)
    with (tmp_path / "out.csv").open() as file:
        written = {row["building_id"]: row["grade"] for row in csv.DictReader(file)}
    assert written == dict(list(grades_of(simulated.truth).items())[:30])


def test_status_says_what_comes_next(run: Run, simulated: SimulatedEvent, tmp_path: Path) -> None:
    at = ["--workspace", tmp_path / "w"]
    assert "no events" in run("status", *at).out
    run("init", "town", *inputs_of(simulated), *at)
    assert "damage-ssl patches town" in run("status", "town", *at).out
    run("patches", "town", *at)
    assert "damage-ssl label import town" in run("status", "town", *at).out


def test_xbd_folder_becomes_an_event(run: Run, xbd_folder: Path, tmp_path: Path) -> None:
    outcome = run("init", "xbd", "--from-xbd", xbd_folder, "--workspace", tmp_path / "w", "--json")
    assert outcome.code == 0, outcome.err
    assert (outcome.json["footprints"], outcome.json["pre_scenes"], outcome.json["post_scenes"]) == (343, 2, 2)


def test_simulate_draws_what_was_asked(run: Run, tmp_path: Path) -> None:
    outcome = run("simulate", tmp_path / "town", "--buildings", 20, "--hazard", "flood", "--json")
    assert outcome.code == 0
    assert len(grades_of(Path(outcome.json["truth"]))) == 20


@pytest.mark.parametrize("command", ["init", "patches", "train", "predict", "evaluate", "export", "status", "assess"])
def test_every_command_explains_itself(run: Run, command: str) -> None:
    outcome = run(command, "--help")
    assert outcome.code == 0
    assert "EVENT" in outcome.out

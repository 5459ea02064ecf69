"""Bad input: one message that says where, what and what to do; exit code 2; nothing half-written."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine

from damage_ssl.simulation.event import SimulatedEvent
from tests.cli.conftest import Outcome, every_file, grades_of, write_labels
from tests.conftest import Town, square, write_polygons, write_tiff

Run = Callable[..., Outcome]


def refused(outcome: Outcome, *parts: str) -> None:
    """Exit code 2, one message with these parts, and no Python trace."""
    assert outcome.code == 2, outcome.err
    assert "Traceback" not in outcome.err
    text = " ".join(outcome.err.split())
    for part in parts:
        assert part in text, f"{part!r} is not in: {text}"


def far_away(town: Town) -> dict[str, Path]:
    return {
        "footprints": write_polygons(
            town.pre.parent / "far.geojson", [shapely.box(0, 0, 0.001, 0.001)], crs="EPSG:4326", building_id=["a"]
        )
    }


def other_place(town: Town) -> dict[str, Path]:
    transform = Affine(0.5, 0, 620000.0, 0, -0.5, 4258000.0)
    return {"post": write_tiff(town.pre.parent / "other.tif", np.full((3, 64, 64), 99, np.uint8), transform=transform)}


def without_crs(town: Town) -> dict[str, Path]:
    return {"pre": write_tiff(town.pre.parent / "nowhere.tif", np.full((3, 64, 64), 99, np.uint8), crs=None)}


def truncated(town: Town) -> dict[str, Path]:
    path = town.pre.parent / "half.tif"
    content = town.pre.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return {"pre": path}


def no_tiff(town: Town) -> dict[str, Path]:
    path = town.pre.parent / "words.tif"
    path.write_text("not a picture")
    return {"post": path}


def empty_geometry(town: Town) -> dict[str, Path]:
    path = town.pre.parent / "empty.geojson"
    table = gpd.GeoDataFrame({"building_id": ["a", "b"]}, geometry=[None, shapely.Polygon()], crs="EPSG:4326")
    table.to_file(path)
    return {"footprints": path}


def duplicate_ids(town: Town) -> dict[str, Path]:
    squares = [square(40, 40), square(90, 90)]
    return {"footprints": write_polygons(town.pre.parent / "twice.geojson", squares, building_id=["a", "a"])}


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (far_away, ["far.geojson", "none of 1 footprints"]),
        (other_place, ["do not overlap", "pre covers", "post covers"]),
        (without_crs, ["nowhere.tif", "CRS"]),
        (truncated, ["half.tif"]),
        (no_tiff, ["words.tif"]),
        (empty_geometry, ["empty.geojson"]),
        (duplicate_ids, ["twice.geojson", "building_id"]),
    ],
)
def test_unusable_imagery_or_footprints_are_refused_and_nothing_is_written(
    run: Run, town: Town, spoil: Callable[[Town], dict[str, Path]], parts: list[str]
) -> None:
    inputs = {"pre": town.pre, "post": town.post, "footprints": town.footprints} | spoil(town)
    flags = [word for name, path in inputs.items() for word in (f"--{name}", path)]
    refused(run("init", "town", *flags, "--workspace", town.workspace), *parts)
    assert not town.workspace.exists() or every_file(town.workspace) == {}


@pytest.fixture
def prepared(cut: Path) -> Path:
    """A workspace with the simulated event, patches cut."""
    return cut


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("building_id,grade\nsim-000001,destroyed\nnobody,destroyed\n", ["labels.csv", "nobody"]),
        ("building_id,grade\nsim-000001,detroyed\n", ["labels.csv, row 2", "'detroyed'", "destroyed"]),
        ("building,grade\nsim-000001,destroyed\n", ["labels.csv", "building_id"]),
        ("", ["labels.csv", "empty"]),
    ],
)
def test_unusable_labels_are_refused_as_a_whole(run: Run, prepared: Path, content: str, parts: list[str]) -> None:
    labels = prepared.parent / "labels.csv"
    labels.write_text(content)
    refused(run("label", "import", "town", labels, "--workspace", prepared), *parts)
    assert run("status", "town", "--workspace", prepared, "--json").json["labels"] == {}


def test_one_class_only_is_refused_before_training(run: Run, prepared: Path, simulated: SimulatedEvent) -> None:
    intact = {building: grade for building, grade in grades_of(simulated.truth).items() if grade == "no-damage"}
    labels = write_labels(prepared.parent / "labels.csv", dict(list(intact.items())[:20]))
    run("label", "import", "town", labels, "--workspace", prepared)
    refused(run("train", "town", "--workspace", prepared), "class")
    assert not (prepared / "town" / "runs").exists()


def test_too_few_labels_to_validate_are_counted(run: Run, prepared: Path, simulated: SimulatedEvent) -> None:
    grades = grades_of(simulated.truth)
    few = [b for b, g in grades.items() if g == "destroyed"][:3] + [b for b, g in grades.items() if g == "no-damage"][
        :9
    ]
    run(
        "label",
        "import",
        "town",
        write_labels(prepared.parent / "l.csv", {b: grades[b] for b in few}),
        "--workspace",
        prepared,
    )
    refused(run("train", "town", "--workspace", prepared), "too few", "class damaged: 3", "5 of each class")
    assert not (prepared / "town" / "runs").exists()


def test_training_without_labels_says_how_to_label(run: Run, prepared: Path) -> None:
    refused(run("train", "town", "--workspace", prepared), "damage-ssl label import")


def test_unknown_event_names_those_there_are(run: Run, prepared: Path) -> None:
    refused(run("patches", "twon", "--workspace", prepared), "no event 'twon'", "did you mean 'town'")


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--algorithm", "fixmach"], "did you mean 'fixmatch'"),
        (["--scheme", "binary"], "binary-m"),
        (["--network", "efficientnet-lite1"], "did you mean 'efficientnet-lite0'"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest_and_leave_no_run(
    run: Run, prepared: Path, simulated: SimulatedEvent, flags: list[str], part: str
) -> None:
    labels = write_labels(prepared.parent / "labels.csv", dict(list(grades_of(simulated.truth).items())[:40]))
    run("label", "import", "town", labels, "--workspace", prepared)
    refused(run("train", "town", *flags, "--workspace", prepared), part)
    assert not (prepared / "town" / "runs").exists()


def test_unknown_setting_in_a_file_names_file_table_and_nearest(run: Run, prepared: Path) -> None:
    settings = prepared.parent / "settings.toml"
    settings.write_text("[train]\nstepz = 3\n")
    refused(
        run("train", "town", "--settings", settings, "--workspace", prepared), "settings.toml", "[train]", "'steps'"
    )


def test_full_disk_while_cutting_keeps_the_older_patches(
    run: Run, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = every_file(prepared / "town" / "patches")

    def full(*_arguments: Any, **_named: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("damage_ssl.patches.store.RowWriter.close", full)
    refused(run("patches", "town", "--gsd-m", "0.7", "--workspace", prepared), "disk is full", "free some space")
    assert every_file(prepared / "town" / "patches") == before
    assert {path.name for path in (prepared / "town").iterdir() if ".tmp" in path.name} == set()


def test_full_disk_while_exporting_keeps_the_older_map(
    run: Run, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = prepared.parent / "out" / "map.geojson"
    run("export", "town", "--out", out, "--workspace", prepared)
    before = every_file(out.parent)

    def full(*_arguments: Any, **_named: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("damage_ssl.products.formats.geojson._write_collection", full)
    refused(run("export", "town", "--out", out, "--workspace", prepared), "map.geojson", "disk is full")
    assert every_file(out.parent) == before


def test_event_made_from_other_inputs_is_not_replaced(
    run: Run, prepared: Path, simulated: SimulatedEvent, tmp_path: Path
) -> None:
    other = tmp_path / "other.tif"
    shutil.copy(simulated.post, other)
    labels = write_labels(tmp_path / "labels.csv", dict(list(grades_of(simulated.truth).items())[:40]))
    before = every_file(prepared)
    inputs = ["--pre", simulated.pre, "--post", other, "--footprints", simulated.footprints]
    outcome = run(
        "assess", "town", *inputs, "--labels", labels, "--out", tmp_path / "m.geojson", "--workspace", prepared
    )
    refused(outcome, "was made from other imagery or footprints")
    assert every_file(prepared) == before


def test_errors_are_json_for_a_machine(run: Run, tmp_path: Path) -> None:
    outcome = run("status", "nowhere", "--workspace", tmp_path, "--json")
    assert outcome.code == 2
    assert outcome.json["kind"] == "WorkspaceError"
    assert "nowhere" in outcome.json["error"]

"""`init` with no, one and several files of footprints: what it says and what it records."""

import os
from collections.abc import Callable
from pathlib import Path

import shapely

from damage_ssl import workflow
from damage_ssl.events.event import Event
from tests.cli.conftest import Outcome
from tests.conftest import Town, square, write_polygons

Run = Callable[..., Outcome]


def images_of(town: Town) -> list[object]:
    return ["--pre", town.pre, "--post", town.post, "--workspace", town.workspace]


def confident(path: Path) -> Path:
    """Two buildings of the test town in Open Buildings' columns, one of them doubtful."""
    written = write_polygons(path.with_suffix(".geojson"), [square(40, 140), square(90, 140)])
    polygons = shapely.get_parts(shapely.from_geojson(written.read_text()))
    rows = [f'0.{confidence},"{polygon.wkt}"' for confidence, polygon in zip((9, 6), polygons, strict=True)]
    path.write_text("\n".join(["confidence,geometry", *rows]))
    return path


def test_init_without_footprints_makes_an_event_and_says_how_to_get_some(run: Run, town: Town) -> None:
    outcome = run("init", "town", *images_of(town), "--json")
    assert (outcome.code, outcome.json["footprints"]) == (0, 0)
    status = run("status", "town", "--workspace", town.workspace, "--json")
    assert "damage-ssl footprints fetch town" in status.json["next_step"]
    patches = run("patches", "town", "--workspace", town.workspace)
    assert patches.code == 2
    assert "has no footprints yet" in patches.err


def test_init_says_what_became_of_each_source(run: Run, town: Town, tmp_path: Path) -> None:
    own = write_polygons(
        tmp_path / "own.gpkg", [square(40, 40), square(40, 40), square(90, 40), square(5000, 40)], id=[1, 2, 3, 4]
    )
    other = write_polygons(tmp_path / "other.gpkg", [square(41, 40), square(140, 40)], id=[1, 2])
    outcome = run("init", "town", *images_of(town), "--footprints", own, other)
    text = " ".join(outcome.out.split())
    assert outcome.code == 0
    assert "event 'town': 3 footprints" in text
    assert "own.gpkg (GPKG): 2 footprints of 4, 1 outside the area, 1 left out" in text
    assert "other.gpkg (GPKG): 1 footprints of 2, 1 left out" in text
    assert "left out as duplicate: 1 (1)" in text
    assert "left out as repeated: 1 (2)" in text


def test_confidence_asked_for_is_recorded_and_kept_when_inputs_are_compared(
    run: Run, town: Town, tmp_path: Path
) -> None:
    file = confident(tmp_path / "open.csv")
    outcome = run("init", "town", *images_of(town), "--footprints", file, "--min-confidence", 0.7, "--json")
    assert outcome.json["footprints"] == 1
    assert outcome.json["footprint_sources"][0]["below_confidence"] == 1
    event = Event.open(town.workspace, "town")
    same = {"pre": [str(town.pre)], "post": [str(town.post)], "footprints": [file]}
    assert workflow.made_from(event, **same)
    os.utime(file, ns=(1, 1))  # touched, so that it is read again: the same buildings
    assert workflow.made_from(event, **same)
    file.write_text(file.read_text().replace("0.9", "0.5").replace("0.6", "0.8"))
    assert not workflow.made_from(event, **same)


def test_impossible_confidence_is_refused(run: Run, town: Town) -> None:
    outcome = run("init", "town", *images_of(town), "--footprints", town.footprints, "--min-confidence", 7)
    assert outcome.code == 2
    assert "min_confidence is 7; it must be 0 to 1" in " ".join(outcome.err.split())


def test_sides_given_the_wrong_way_round_are_pointed_out(run: Run, town: Town) -> None:
    dates = ["--pre-date", "2023-02-08", "--post-date", "2023-02-01"]
    outcome = run("init", "town", *images_of(town), *dates)
    assert outcome.code == 0
    assert "pre-pre (2023-02-08 00:00) is younger than post-post (2023-02-01 00:00)" in outcome.err
    right = run("init", "other", *images_of(town), "--pre-date", "2023-02-01", "--post-date", "2023-02-08")
    assert "younger" not in right.err

"""The `label` commands beyond import and export: agreement, and labels kept in a database."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from damage_ssl.damage_scale import LabelValue
from damage_ssl.labels.label_log import LabelStore
from damage_ssl.simulation.event import SimulatedEvent
from tests.cli.conftest import Outcome, inputs_of

Run = Callable[..., Outcome]


@pytest.fixture
def workspace(run: Run, simulated: SimulatedEvent, tmp_path: Path) -> Path:
    run("init", "town", *inputs_of(simulated), "--workspace", tmp_path / "w")
    return tmp_path / "w"


def two_buildings(workspace: Path) -> list[str]:
    from damage_ssl.events.event import Event

    return Event.open(workspace, "town").footprints()["building_id"].tolist()[:2]


def test_agreement_names_kappa_and_the_buildings_that_wait(run: Run, workspace: Path) -> None:
    said = run("label", "agreement", "town", "--workspace", workspace)
    assert "no building was answered by two analysts" in said.out
    first, second = two_buildings(workspace)
    store = LabelStore(workspace / "town" / "labels.sqlite")
    for labeller, values in (("ana", ("destroyed", "intact")), ("ben", ("no-damage", "intact"))):
        for building, value in zip((first, second), values, strict=True):
            store.add(building, LabelValue(value), labeller=labeller, drawn="map", inclusion_probability=None)
    said = run("label", "agreement", "town", "--workspace", workspace)
    assert "2 buildings answered by two or more analysts: 50% of the answers agree" in said.out
    assert f"{first}  (ana: destroyed; ben: no-damage)" in said.out
    values = run("label", "agreement", "town", "--workspace", workspace, "--json").json
    assert values["agreed"] == 0.5
    assert [row["building_id"] for row in values["divided"]] == [first]


def test_labels_of_all_events_go_to_the_database_that_the_environment_names(
    run: Run,
    workspace: Path,
    postgres_server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DAMAGE_SSL_LABELS", postgres_server)
    first, _ = two_buildings(workspace)
    labels = tmp_path / "labels.csv"
    labels.write_text(f"building_id,grade\n{first},destroyed\n")
    run("label", "import", "town", labels, "--workspace", workspace)
    assert run("status", "town", "--workspace", workspace, "--json").json["labels"] == {"destroyed": 1}
    assert LabelStore(postgres_server, event="town").current()["building_id"].tolist() == [first]
    assert not (workspace / "town" / "labels.sqlite").exists()


def test_database_of_another_kind_is_refused(run: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAMAGE_SSL_LABELS", f"sqlite:///{uuid.uuid4()}")
    outcome = run("label", "agreement", "town", "--workspace", workspace)
    assert outcome.code == 2
    assert "only PostgreSQL keeps the labels" in outcome.err


def test_other_words_are_shown_and_taken_only_when_somebody_agrees(run: Run, workspace: Path, tmp_path: Path) -> None:
    first, second = two_buildings(workspace)
    file = tmp_path / "labels.csv"
    file.write_text(f"building_id,damage_gra\n{first},Destroyed\n{second},Damaged\n")
    refused = run("label", "import", "town", file, "--workspace", workspace)
    assert refused.code == 2
    assert "'Damaged' → major-damage (1). Take it with --yes" in refused.err
    taken = run("label", "import", "town", file, "--yes", "--workspace", workspace)
    assert "grades of 'damage_gra' are read as copernicus:" in taken.out
    assert "2 labels added" in taken.out
    status = run("status", "town", "--workspace", workspace, "--json").json
    assert status["labels"] == {"major-damage": 1, "destroyed": 1}


def test_labels_by_place_say_what_was_left_out(run: Run, workspace: Path, tmp_path: Path) -> None:
    from damage_ssl.events.event import Event

    inside = Event.open(workspace, "town").footprints().geometry.iloc[0].representative_point()
    file = tmp_path / "points.csv"
    file.write_text(f"latitude,longitude,grade\n{inside.y},{inside.x},destroyed\n0,0,destroyed\n")
    said = run("label", "import", "town", file, "--workspace", workspace)
    assert "1 labels added, 0 already there, 1 left out" in said.out
    assert "left out: 1, in no footprint" in said.out


def test_assess_does_not_take_an_event_whose_bands_are_others(
    run: Run, workspace: Path, simulated: SimulatedEvent, tmp_path: Path
) -> None:
    arguments = (
        "assess",
        "town",
        *inputs_of(simulated),
        "--labels",
        simulated.truth,
        "--out",
        tmp_path / "map.geojson",
    )
    said = run(*arguments, "--post-bands", "3,2,1", "--workspace", workspace)
    assert said.code == 2
    assert "was made from other imagery or footprints" in said.err

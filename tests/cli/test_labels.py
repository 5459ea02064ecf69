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

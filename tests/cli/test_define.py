"""What counts as damaged, the run and the licence on the command line: asked at a terminal, said without one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from damage_ssl import workflow
from damage_ssl.cli import questions
from damage_ssl.events.definition import state_scheme, stated_scheme
from damage_ssl.events.event import Event
from damage_ssl.patches.store import PatchStore
from tests.app.town_app import add_run, prepared_event
from tests.cli.conftest import Outcome
from tests.conftest import Town

Run = Callable[..., Outcome]
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # within rasterio


def init(run: Run, town: Town, *more: object) -> Outcome:
    files = ("--pre", town.pre, "--post", town.post, "--footprints", town.footprints)
    return run("init", "town", *files, *more, "--workspace", town.workspace)


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Somebody at a terminal with these answers ready; empty: nothing may be asked."""
    answers: list[str] = []

    def prompt(text: str, **_: object) -> str:
        assert answers, f"asked, and nobody has an answer: {text}"
        return answers.pop(0)

    monkeypatch.setattr("typer.prompt", prompt)
    monkeypatch.setattr(questions, "can_ask", lambda console: not console.json_output)
    return answers


def test_without_a_terminal_nothing_is_asked_and_what_is_taken_is_said(run: Run, town: Town) -> None:
    said = init(run, town)
    assert said.code == 0 and "damaged means major-damage or worse" in said.out and "not stated" in said.out
    event = Event.open(town.workspace, "town")
    assert stated_scheme(event) is None
    workflow.cut_patches(event)
    exported = run("export", "town", "--out", town.workspace / "m.geojson", "--workspace", town.workspace)
    assert exported.code == 0
    assert "no finished run yet" in exported.out and "licence: not stated" in exported.out
    written = metadata(town)
    assert (written["licence"], written["scheme"]) == ("not stated", "binary-major")


def metadata(town: Town, name: str = "m.geojson") -> dict[str, Any]:
    """What a written map says of itself."""
    found: dict[str, Any] = json.loads((town.workspace / name).read_text(encoding="utf-8"))["damage_ssl"]
    return found


def test_init_states_it_and_a_misspelt_name_makes_no_event(run: Run, town: Town) -> None:
    wrong = init(run, town, "--scheme", "binary-minr")
    assert wrong.code == 2 and "binary-minor" in wrong.err
    assert not (town.workspace / "town").exists()
    assert init(run, town, "--scheme", "binary-minor").code == 0
    status = run("status", "town", "--workspace", town.workspace, "--json").json
    assert status["damaged_stated"] and "minor-damage or worse" in status["damaged_means"]
    assert init(run, town, "--overwrite").code == 0
    assert stated_scheme(Event.open(town.workspace, "town")).name == "binary-minor"


def test_a_person_is_asked_once_for_the_event(run: Run, town: Town, person: list[str]) -> None:
    person.append("grades")
    assert init(run, town).code == 0
    assert stated_scheme(Event.open(town.workspace, "town")).name == "grades"
    assert init(run, town, "--overwrite").code == 0  # and not again


def test_define_shows_changes_and_says_what_is_stale(run: Run, town: Town) -> None:
    event = prepared_event(town)
    made = add_run(event, {"b01": 0.9}).run_id
    where = ("--workspace", town.workspace)
    shown = run("define", "town", *where).out
    assert "the default: nobody has stated it" in shown and f"run {made}: answers it" in shown
    changed = run("define", "town", "--scheme", "binary-minor", *where, "--json").json
    assert (changed["scheme"], changed["stated"], changed["answering"]) == ("binary-minor", True, [])
    assert changed["other_runs"] == {made: "binary-major"}
    exported = run("export", "town", "--out", town.workspace / "m.geojson", *where, "--json").json
    assert exported["run_id"] is None and made in exported["why"] and "do not answer" in exported["why"]
    named = run("export", "town", "--run-id", made, "--out", town.workspace / "n.geojson", *where)
    assert named.code == 0 and "answers another question" in " ".join(named.err.split())
    assert metadata(town, "n.geojson")["scheme"] == "binary-major"
    refused = run("define", "town", "--scheme", "binary", *where)
    assert refused.code == 2 and stated_scheme(event).name == "binary-minor"


def test_training_by_another_definition_is_refused_before_any_work(run: Run, town: Town) -> None:
    event = prepared_event(town)
    where = ("--workspace", town.workspace)
    assert run("define", "town", "--scheme", "binary-minor", *where).code == 0
    refused = run("train", "town", "--scheme", "binary-major", *where)
    assert refused.code == 2 and "damage-ssl define town --scheme binary-major" in " ".join(refused.err.split())
    assert not event.runs_path.exists()


@pytest.mark.parametrize("command", [("status",), ("train",), ("define",), ("export", "--out", "m.geojson")])
def test_a_damaged_definition_is_an_error_that_says_how_to_mend_it(
    command: tuple[str, ...], run: Run, town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    event = town.create()
    (event.path / "damage_definition.json").write_text("")
    outcome = run(command[0], "town", *command[1:], "--workspace", town.workspace)
    assert outcome.code == 2 and "damage-ssl define town --scheme" in " ".join(outcome.err.split())
    assert run("define", "town", "--scheme", "grades", "--workspace", town.workspace).code == 0
    assert not (tmp_path / "m.geojson").exists()


def test_a_licence_is_asked_for_at_a_terminal_where_none_is_known(run: Run, town: Town, person: list[str]) -> None:
    prepared_event(town)
    person += ["CC BY 4.0, imagery by X"]
    export = ("export", "town", "--workspace", town.workspace, "--out", town.workspace / "m.geojson")
    assert "licence: CC BY 4.0, imagery by X" in run(*export).out
    assert metadata(town)["licence"] == "CC BY 4.0, imagery by X"
    assert "licence: CC0" in run(*export, "--licence", "CC0").out
    person += [" "]
    assert "licence: not stated" in run(*export).out
    assert run(*export, "--json").json["licence"] is None


def test_a_person_chooses_among_runs_of_which_none_is_validated(run: Run, town: Town, person: list[str]) -> None:
    event = prepared_event(town)
    first, second = add_run(event, {}), add_run(event, {}, algorithm="mixmatch")
    person += [first.run_id, "", second.run_id, ""]
    for chosen in (first, second):
        said = run("export", "town", "--workspace", town.workspace, "--out", town.workspace / "m.geojson")
        assert said.code == 0 and f"run {chosen.run_id}" in said.out
        assert metadata(town)["run_id"] == chosen.run_id


def test_evaluate_says_where_the_run_answers_another_question(run: Run, town: Town) -> None:
    event = prepared_event(town)
    made = add_run(event, {"b01": 0.9}).run_id
    state_scheme(event, "binary-minor")
    buildings = PatchStore.open(event.patches_path).index()["building_id"].tolist()
    truth = town.workspace / "truth.csv"
    rows = [f"{name},{'destroyed' if at % 2 else 'no-damage'}" for at, name in enumerate(buildings)]
    truth.write_text("\n".join(["building_id,grade", *rows]))
    said = run("evaluate", "town", "--truth", truth, "--run-id", made, "--workspace", town.workspace)
    assert said.code == 0 and f"run {made} answers another question than event 'town' asks" in said.out + said.err

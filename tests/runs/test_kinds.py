"""The kinds of runs by name, and what is refused with the command to use."""

from pathlib import Path

import pytest

from damage_ssl import workflow
from damage_ssl.errors import InputError, SettingsError
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.runs.change_score import CHANGE_SCORE
from damage_ssl.runs.ensemble import ENSEMBLE
from damage_ssl.runs.kinds import KINDS, kind_of
from damage_ssl.runs.live import LIVE
from damage_ssl.runs.plan import resumed_run
from damage_ssl.runs.run import named_run, run_called
from damage_ssl.runs.trained import TRAINED
from damage_ssl.settings import SplitSettings
from tests.conftest import Town


def test_the_four_kinds_are_found_by_the_names_that_plans_of_runs_hold() -> None:
    names = {"ensemble": ENSEMBLE, "perceptual-change": CHANGE_SCORE, "live": LIVE, "mixmatch": TRAINED, "": TRAINED}
    assert {name: kind_of(name) for name in names} == names
    assert set(KINDS.values()) == {TRAINED, ENSEMBLE, CHANGE_SCORE, LIVE}


def test_only_a_change_score_is_no_probability_and_taught_by_no_label() -> None:
    assert {kind for kind in KINDS.values() if not kind.is_probability} == {CHANGE_SCORE}
    assert {kind for kind in KINDS.values() if not kind.learns} == {CHANGE_SCORE}
    assert {kind for kind in KINDS.values() if not kind.exportable} == {LIVE}
    assert {kind for kind in KINDS.values() if kind.statement} == {CHANGE_SCORE, LIVE}


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("perceptual-change", "damage-ssl zero-label town"),
        ("ensemble", "damage-ssl ensemble town"),
        ("live", "damage-ssl features town"),
    ],
)
def test_a_name_that_is_no_algorithm_is_refused_with_the_command_to_use(town: Town, name: str, command: str) -> None:
    with pytest.raises(SettingsError, match=f"algorithm '{name}' .*: {command}$"):
        workflow.start_run(town.create(), TrainSettings(algorithm=name), SplitSettings())


def test_no_algorithm_has_the_name_of_another_kind() -> None:
    from damage_ssl.learning.algorithms import ALGORITHMS

    assert not set(ALGORITHMS) & set(KINDS)


def test_kinds_are_asked_for_what_they_are_and_not_compared_by_name() -> None:
    root = Path(workflow.__file__).parent.parent
    for path in [*(root / "damage_ssl").rglob("*.py"), *(root / "app").rglob("*.py")]:
        if path.parent.name == "runs":
            continue
        text = path.read_text(encoding="utf-8")
        assert '"perceptual-change"' not in text and '== "ensemble"' not in text, path


@pytest.mark.parametrize("name", ["../../evil", "..", "/tmp/evil", "a/b", "", ".hidden", "-x", "a\0b"])
def test_a_name_that_leads_elsewhere_is_no_run(name: str, town: Town) -> None:
    event = town.create()
    for look in (named_run, resumed_run, run_called):
        with pytest.raises(InputError, match="a run's name is"):
            look(event, name)
    assert not (town.workspace.parent / "evil").exists()

"""A first map with a prior model: chosen by hazard or name, kept with the event, said in words, and made by a user."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from damage_ssl import workflow
from damage_ssl.cli.root import cli
from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.events.event import Event
from damage_ssl.learning.features.pair_features import PairFeatures, make_pair_features, pair_features_path
from damage_ssl.patches.store import PatchStore
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.runs.prior import (
    NO_PRIOR,
    choose_prior,
    event_prior,
    kept_columns,
    kept_prior,
    prior_for_training,
    prior_statement,
    stack_columns,
)
from tests.runs.test_zero_label import CENTRES, DESTROYED
from tests.runs.test_zero_label import event as event


def test_a_first_map_is_ordered_with_a_prior_model_and_labels_make_one(event: Event, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="zero-label"):
        PairFeatures.read(pair_features_path(event))
    assert prior_for_training(event, whole=False) is None  # a regression does not wait for pair features
    assert prior_for_training(event, whole=True) == choose_prior(event)
    assert prior_for_training(event, NO_PRIOR, whole=True) is None
    planned = workflow.start_zero_label(event)
    assert planned.run != workflow.start_zero_label(event, prior_model=NO_PRIOR).run
    table = workflow.predict_event(event, planned.run)
    order = table.set_index("building_id")["p_damaged"].rank(ascending=False)
    assert (order[[f"b{number:02d}" for number in DESTROYED]] <= len(DESTROYED) + 2).mean() > 0.6
    statement = FinishedRun(planned.run).statement or ""
    assert statement.endswith("from the prior model all, from simulated towns; your labels take over.")

    features = make_pair_features(event)
    assert set(features.building_id) == set(table["building_id"]) and np.isfinite(features.values).all()
    choice = choose_prior(event)
    assert choice is not None and choice == choose_prior(event, "all")
    kept = kept_prior(event, features.building_id)
    assert kept is not None and np.array_equal(kept, event_prior(event, choice).to_numpy())
    assert prior_for_training(event, whole=False) == choice
    columns = stack_columns(event, choice.references, features.building_id)
    assert list(columns) == ["prior"] and np.array_equal(columns["prior"], kept)
    assert np.array_equal(kept_columns(event, features.building_id)["prior"], kept)
    _stopped_computation_is_gone_on_with(event, features)
    _labels_become_a_model(event, tmp_path)


def _stopped_computation_is_gone_on_with(event: Event, features: PairFeatures) -> None:
    folder, begun = pair_features_path(event), event.path / ".pair_features.begun.npy"
    values = np.array(features.values)
    (folder / "pair_features.json").unlink()
    (folder / "values.npy").replace(begun)  # as a process leaves it that was stopped after the last part
    notes = {"fingerprint": f"1-{PatchStore.open(event.patches_path).fingerprint}", "done": len(values)}
    begun.with_suffix(".json").write_text(json.dumps(notes))
    assert np.array_equal(make_pair_features(event).values, values)


def _labels_become_a_model(event: Event, tmp_path: Path) -> None:
    store = workflow.open_labels(event)
    for number in range(len(CENTRES)):
        value = LabelValue.DESTROYED if number in DESTROYED else LabelValue.NO_DAMAGE
        store.add(f"b{number:02d}", value, labeller="a", drawn="map", inclusion_probability=None)
    at = ["--workspace", str(event.path.parent)]
    command("model", "build", "mine", "--from-event", event.name, "--licence", "CC0-1.0", *at)
    command("model", "export", "mine", "--out", str(tmp_path / "file.npz"), *at)
    command("model", "import", str(tmp_path / "file.npz"), "--name", "theirs", *at)
    listed = json.loads(command("model", "list", "--json", *at))["models"]
    assert listed["theirs"]["licence"] == "CC0-1.0" and listed["theirs"]["damaged"] == len(DESTROYED)
    assert {"flood", "wind", "all", "mine"} <= listed.keys()
    choice = choose_prior(event, "theirs")
    assert choice is not None and "theirs, learned from other events" in (prior_statement(choice.references) or "")
    log_odds = event_prior(event, choice)
    damaged = [f"b{number:02d}" for number in DESTROYED]
    assert log_odds[damaged].min() > log_odds.drop(damaged).max()  # it has learned from them
    (event.path.parent / "models" / "theirs.npz").unlink()
    with pytest.raises(InputError, match="model list"):
        choice.models()


def command(*arguments: str) -> str:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_prior_model_that_is_not_there_is_named_with_the_nearest(event: Event) -> None:
    with pytest.raises(InputError, match="did you mean 'flood'"):
        choose_prior(event, "flod")
    assert choose_prior(event, NO_PRIOR) is None
    assert kept_prior(event, np.array(["b00"])) is None

"""Cross-fitting: no label reaches what is said of its own building, nothing is lost when it is killed, all use it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from damage_ssl import workflow
from damage_ssl.damage_scale import LabelValue, scheme_named
from damage_ssl.errors import WorkspaceError
from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.events.event import Event
from damage_ssl.learning import training
from damage_ssl.learning.features.linear_probe import EventFeatures
from damage_ssl.learning.known_probabilities import KnownProbabilities
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.training_folder import TrainingFolder
from damage_ssl.runs.cross_fitting import CrossFitted
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.runs.live import LiveModel, fit_live
from damage_ssl.runs.run import Run
from damage_ssl.runs.validation import evaluate_event, fair_verdicts, validation_of
from damage_ssl.settings import SplitSettings
from tests.learning.trainer.drawn_pairs import draw_pairs, targets_of
from tests.runs.test_zero_label import CENTRES, DESTROYED
from tests.runs.test_zero_label import event as event

BINARY = scheme_named("binary-major")
SPLIT = SplitSettings(block_m=24.0, min_validation_per_class=1, min_train_per_class=1)
FROZEN = TrainSettings(algorithm="frozen-random", input_px=32, prediction_rotations=1, device="cpu")
HEAD = TrainSettings(
    algorithm="mixmatch",
    network="cached:small-cnn",
    input_px=32,
    steps=2,
    prediction_rotations=1,
    device="cpu",
    options={"cached_weak": 1, "cached_strong": 1},
)


@pytest.fixture
def labelled(event: Event) -> Event:
    """Every building has a label; the first ten were drawn at random."""
    store = workflow.open_labels(event)
    for number in range(len(CENTRES)):
        value = LabelValue.DESTROYED if number in DESTROYED else LabelValue.NO_DAMAGE
        drawn = "random" if number < 10 else "map"
        store.add(f"b{number:02d}", value, labeller="a", drawn=drawn, inclusion_probability=None)
    return event


def trained(event: Event, settings: TrainSettings = FROZEN, name: str = "run") -> Run:
    run = workflow.start_run(event, settings, SPLIT, run_id=name).run
    workflow.train_run(event, run)
    workflow.predict_event(event, run)
    return run


def truth_of(event: Event, path: Path) -> Path:
    rows = [f"b{n:02d},{'destroyed' if n in DESTROYED else 'no-damage'}\n" for n in range(len(CENTRES))]
    path.write_text("building_id,grade\n" + "".join(rows))
    return path


@pytest.mark.parametrize("settings", [FROZEN, HEAD])
def test_no_label_reaches_what_is_said_of_its_own_building(settings: TrainSettings, tmp_path: Path) -> None:
    pairs, classes = draw_pairs(24)
    fold = np.array([0, 0, 1, 1, 2, 2] * 3 + [-1, -1])
    folder, said = [], []
    # Fold 1 is told upside down in the second round: what is said of it may not change, what is said of others must.
    for number, told in enumerate((classes, np.where(np.arange(24) // 2 % 3 == 1, 1 - classes, classes))):
        folder.append(TrainingFolder(tmp_path / str(number)))
        folder[-1].path.mkdir()
        targets = targets_of(pairs, told, train=20)
        found = training.cross_fit(pairs, targets, fold, settings, folder[-1], cache=tmp_path / "views")
        assert found is not None
        said.append(found)
    own = fold == 1
    np.testing.assert_array_equal(said[0][own], said[1][own])
    assert (said[0][(fold >= 0) & ~own] != said[1][(fold >= 0) & ~own]).any()
    assert np.isnan(said[0][fold == -1]).all()  # learned from by all


def test_what_a_run_knows_of_its_buildings_is_what_its_predictor_says(labelled: Event) -> None:
    run = workflow.start_run(labelled, HEAD, SPLIT, run_id="known").run
    workflow.train_run(labelled, run)
    known = KnownProbabilities.read(run)
    assert known is not None and len(known.building_id) == len(CENTRES)
    fast = workflow.predict_event(labelled, run).set_index("building_id")
    run.known_path.unlink()
    slow = workflow.predict_event(labelled, run).set_index("building_id").loc[fast.index]
    np.testing.assert_allclose(fast["p_damaged"], slow["p_damaged"], atol=1e-3)  # features are kept in float16
    # What is known is used, and only of the patches that it is of.
    KnownProbabilities(known.building_id, known.probabilities[:, ::-1]).write(run)
    turned = workflow.predict_event(labelled, run).set_index("building_id").loc[fast.index]
    assert np.corrcoef(turned["p_damaged"], fast["p_damaged"])[0, 1] < 0
    assert np.isnan(known.of(np.array(["elsewhere"]))).all()
    run.known_path.write_bytes(b"PK")
    with pytest.raises(WorkspaceError, match=r"known\.npz: is damaged .* delete it"):
        workflow.predict_event(labelled, run)


def test_run_on_kept_features_learns_from_all_labels_and_is_checked_on_all(labelled: Event, tmp_path: Path) -> None:
    run = trained(labelled)
    model, count = FinishedRun(run), len(CENTRES)
    plan, calibration, unseen = model.plan, model.calibration, model.unseen
    assert len(plan.train_id) == len(plan.fold) == count and not plan.validation_id
    assert plan.random_id == tuple(f"b{n:02d}" for n in range(10))
    assert (calibration.n_validation, calibration.n_damaged, calibration.n_random) == (count, len(DESTROYED), 10)
    assert calibration.cross_fitted and calibration.share is not None and model.validated
    assert unseen is not None and unseen.known.all() and len(set(unseen.fold)) == 5
    assert not list(run.path.glob("fold-*"))
    # What the map says of a label and what is said of it without differ; the measure takes the latter.
    evaluation = validation_of(labelled, model)
    assert evaluation is not None and evaluation.n == count
    assert evaluation.auroc.value == pytest.approx(unseen.auroc)
    p, threshold = unseen.calibrated
    f1 = 2 * ((p[:, 1] >= threshold) & (unseen.classes == 1)).sum()
    assert evaluation.f1.value == pytest.approx(f1 / ((p[:, 1] >= threshold).sum() + len(DESTROYED)))
    summary = workflow.run_summary(run)
    assert summary.cross_fitted and summary.trained_on == summary.validated_on == count
    by_em = workflow.share_by_em(run)
    assert by_em is not None and 0 < by_em < 1
    with pytest.raises(Exception, match=f"{count} were trained on"):
        evaluate_event(labelled, truth_of(labelled, tmp_path / "truth.csv"), run)
    assert workflow.start_run(labelled, FROZEN, SPLIT).done


def test_fine_tuned_run_keeps_its_held_out_quarter(labelled: Event) -> None:
    settings = TrainSettings(algorithm="supervised-weak", network="small-cnn", input_px=32, steps=1, device="cpu")
    plan = workflow.plan_of(workflow.start_run(labelled, settings, SPLIT).run)
    assert plan.validation_id and not plan.fold and "fold" not in plan.to_json()


def test_killed_cross_fitting_goes_on_to_the_same_numbers(labelled: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained(labelled, HEAD, "whole")
    settings = HEAD.replace(seed=0, weight_decay=HEAD.weight_decay)
    run = workflow.start_run(labelled, settings, SPLIT, run_id="whole").run
    assert run == whole  # the same plan
    other = Run(whole.path.with_name("killed"))
    other.path.mkdir()
    other.settings_path.write_bytes(whole.settings_path.read_bytes())
    other.set_status("queued", step=0, steps=HEAD.steps)
    real, begun = training.train, []

    def killed(*given: object, **named: object) -> None:
        begun.append(given)
        if len(begun) == 4:  # the run, two folds, and in the third
            raise KeyboardInterrupt
        real(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        workflow.train_run(labelled, other)
    assert not other.calibration_path.exists() and len(list(other.path.glob("fold-*"))) == 3
    monkeypatch.setattr(training, "train", real)
    workflow.train_run(labelled, other)
    workflow.predict_event(labelled, other)
    assert Calibration.read(other.calibration_path) == Calibration.read(whole.calibration_path)
    pd.testing.assert_frame_equal(pd.read_parquet(other.cross_fitted_path), pd.read_parquet(whole.cross_fitted_path))
    pd.testing.assert_frame_equal(pd.read_parquet(other.predictions_path), pd.read_parquet(whole.predictions_path))


def test_stopped_cross_fitting_leaves_the_run_cancelled_and_goes_on(labelled: Event) -> None:
    run = workflow.start_run(labelled, HEAD, SPLIT).run
    workflow.train_run(labelled, run, should_stop=lambda: run.status().state == "trained")
    assert run.status().state == "cancelled" and not run.calibration_path.exists()
    workflow.train_run(labelled, run)
    assert run.status().state == "trained" and run.calibration_path.exists()


@pytest.fixture
def live(tmp_path: Path) -> Callable[[NDArray[np.int64]], LiveModel]:
    """A live model on 40 of 80 buildings, some labelled against what they look like."""
    rng = np.random.default_rng(0)
    looks = np.arange(80) % 2
    values = (rng.normal(0, 0.2, (80, 6)) + np.where(looks, 0.3, -0.3)[:, None]).astype(np.float32)
    ids = np.array([f"b{row:02d}" for row in range(80)])
    features = EventFeatures(ids, values, np.zeros(80, dtype=np.int64), "x")
    place = pd.DataFrame({"x_m": np.arange(80) * 60.0, "y_m": 0.0}, index=ids)

    def fitted(classes: NDArray[np.int64]) -> LiveModel:
        said = ["destroyed" if each else "no-damage" for each in classes]
        current = pd.DataFrame({"building_id": ids[: len(classes)], "value": said})
        prediction = fit_live(features, current, BINARY, place=place, random=ids[:20])
        return LiveModel(Event(tmp_path, "e"), "features", 1, prediction)

    return fitted


def test_live_model_is_calibrated_by_labels_that_it_has_not_learned_from(
    live: Callable[[NDArray[np.int64]], LiveModel],
) -> None:
    model = live(np.arange(40) % 2)
    unseen = model.unseen
    assert unseen is not None and unseen.known.all() and unseen.random.sum() == 20
    assert model.threshold == unseen.calibration.threshold
    assert model.prediction.p_damaged[0] != pytest.approx(unseen.probabilities[0, 1])
    assert not model.validated


def test_verdict_of_a_label_is_the_one_without_it(live: Callable[[NDArray[np.int64]], LiveModel]) -> None:
    classes = np.arange(40) % 2
    classes[4] = 1  # looks intact
    model = live(classes)
    ids = model.prediction.building_id
    said, fair = fair_verdicts(model, ids, np.ones(80, dtype=bool))
    assert fair.all() and said[40:].all()  # the others it has never heard of: as they are
    assert said[:40].tolist() == [each % 2 == 1 for each in range(40)]


def test_label_that_cannot_be_judged_without_itself_is_not_fair(
    live: Callable[[NDArray[np.int64]], LiveModel],
) -> None:
    model = live(np.array([0, 0, 0, 1]))  # without the damaged one there is one class only
    unseen = model.unseen
    assert isinstance(unseen, CrossFitted) and unseen.known.tolist() == [True, True, True, False]
    _, fair = fair_verdicts(model, model.prediction.building_id, np.ones(80, dtype=bool))
    assert fair[:4].tolist() == [True, True, True, False] and fair[4:].all()

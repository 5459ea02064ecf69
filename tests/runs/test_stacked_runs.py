"""The spatial stack behind runs and the live model: what is written, what older runs keep, what is said."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from damage_ssl.damage_scale import ClassScheme, scheme_named
from damage_ssl.evaluation.calibration import calibrate, damaged_log_odds, damaged_probability
from damage_ssl.evaluation.spatial_blocks import block_folds, block_of
from damage_ssl.evaluation.stacking.stack import StackFacts
from damage_ssl.events.event import Event
from damage_ssl.learning.features.linear_probe import EventFeatures
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.runs.cross_fitting import CrossFitted
from damage_ssl.runs.live import LiveModel, fit_live
from damage_ssl.runs.plan import RunPlan
from damage_ssl.runs.predictions import IMAGE_COLUMN, Prediction, class_probabilities
from damage_ssl.runs.run import Run
from damage_ssl.runs.spatial_stack import (
    StackedRun,
    image_probabilities,
    predict_stacked,
    stack_statement,
    stacked_run,
    wants_stack,
)
from damage_ssl.settings import SplitSettings
from tests.evaluation.test_spatial_stack import drawn_town

BINARY, GRADES = scheme_named("binary-major"), scheme_named("grades")
COUNT = 500
IDS = np.array([f"b{row:03d}" for row in range(COUNT)])
PLACE, DAMAGED, OWN = drawn_town(5, COUNT)
INDEX = pd.DataFrame({"building_id": IDS, "x_m": PLACE[:, 0], "y_m": PLACE[:, 1]})
LABELLED = np.concatenate([np.flatnonzero(DAMAGED)[:40], np.flatnonzero(~DAMAGED)[:40]])


def raw_of(scheme: ClassScheme) -> NDArray[np.float64]:
    p = 1 / (1 + np.exp(-OWN))
    shares = np.ones(len(scheme)) if len(scheme) == 2 else np.array([0.7, 0.3, 0.6, 0.4])
    return np.where(np.arange(len(scheme)) < scheme.damaged_from, 1 - p[:, None], p[:, None]) * shares


def plan_of_labels(classes: NDArray[np.int64], scheme: ClassScheme, *, held_out: bool, **options: str) -> RunPlan:
    """Half of the labels held out, or all of them learned from in folds."""
    val = LABELLED[::2] if held_out else LABELLED[:0]
    train = np.setdiff1d(LABELLED, val)
    recorded = {"algorithm": "mixmatch", "scheme": scheme.name, "options": options}
    block = block_of(PLACE[train, 0], PLACE[train, 1], 150.0)
    return RunPlan(
        train=TrainSettings.as_recorded(recorded, "test"),
        split=SplitSettings(),
        train_id=tuple(IDS[train]),
        train_class=tuple(classes[train].tolist()),
        validation_id=tuple(IDS[val]),
        validation_class=tuple(classes[val].tolist()),
        block_m=150.0,
        patches_fingerprint="",
        fold=() if held_out else tuple(block_folds(block, classes[train]).tolist()),
    )


def cross_fitted(plan: RunPlan) -> CrossFitted:
    rows = np.searchsorted(IDS, plan.train_id)
    return CrossFitted(
        scheme=plan.scheme,
        building_id=IDS[rows],
        classes=np.array(plan.train_class),
        fold=np.array(plan.fold),
        random=np.zeros(len(rows), dtype=bool),
        probabilities=raw_of(plan.scheme)[rows],
    )


def stacked(plan: RunPlan) -> StackedRun:
    unseen = cross_fitted(plan)
    image = calibrate(unseen.probabilities, unseen.classes, plan.scheme, cross_fitted=True)
    return stacked_run(plan, INDEX, IDS, raw_of(plan.scheme), unseen, image, cross_fitted=True)


@pytest.mark.parametrize("scheme", [BINARY, GRADES])
def test_table_has_the_images_alone_beside_the_stack_and_grades_keep_their_proportion(scheme: ClassScheme) -> None:
    classes = np.where(DAMAGED, scheme.damaged_from, 0)
    done = stacked(plan_of_labels(classes, scheme, held_out=False))
    assert done.stack is not None and done.stack.facts.used
    raw, p, alone = raw_of(scheme), class_probabilities(done.table, scheme), image_probabilities(done.table, scheme)
    expected = done.stack.image.apply(raw, scheme)
    np.testing.assert_allclose(done.table[IMAGE_COLUMN], damaged_probability(expected, scheme))
    np.testing.assert_allclose(alone, expected, atol=1e-9)
    assert np.abs(done.table["p_damaged"] - done.table[IMAGE_COLUMN]).max() > 0.2
    for side in (slice(0, scheme.damaged_from), slice(scheme.damaged_from, None)):
        within = (each[:, side] / each[:, side].sum(axis=1, keepdims=True) for each in (p, raw))
        np.testing.assert_allclose(*within)


def test_what_is_said_of_labels_held_out_does_not_depend_on_those_of_their_fold() -> None:
    plan = plan_of_labels(DAMAGED.astype(np.int64), BINARY, held_out=True)
    rows = np.searchsorted(IDS, plan.validation_id)
    block = block_of(PLACE[rows, 0], PLACE[rows, 1], 150.0)
    fold = block_folds(block, np.array(plan.validation_class))
    unseen = CrossFitted(
        scheme=BINARY,
        building_id=IDS[rows],
        classes=np.array(plan.validation_class),
        fold=fold,
        random=np.zeros(len(rows), dtype=bool),
        probabilities=raw_of(BINARY)[rows],
    )
    told = np.flatnonzero(fold == 0)[:2]  # few enough that places still count
    turned = replace(unseen, classes=np.where(np.isin(np.arange(len(fold)), told), 1 - unseen.classes, unseen.classes))
    image = calibrate(unseen.probabilities, unseen.classes, BINARY)
    one, other = (
        stacked_run(plan, INDEX, IDS, raw_of(BINARY), each, image, cross_fitted=False) for each in (unseen, turned)
    )
    raw_odds = [damaged_log_odds(each.unseen.probabilities, BINARY) for each in (one, other)]
    np.testing.assert_allclose(raw_odds[0][fold == 0], raw_odds[1][fold == 0])
    assert not np.allclose(raw_odds[0][fold != 0], raw_odds[1][fold != 0])
    np.testing.assert_allclose(one.blind[rows], class_probabilities(one.table, BINARY)[rows])


def test_a_run_predicts_the_same_again_and_reads_back_what_it_wrote(tmp_path: Path) -> None:
    plan = plan_of_labels(DAMAGED.astype(np.int64), BINARY, held_out=False)
    run = Run(tmp_path / "run")
    run.path.mkdir()
    unseen = cross_fitted(plan)
    unseen.write(run)
    unseen.calibration.write(run.calibration_path)
    run.set_status("trained", step=1, steps=1)
    assert wants_stack(run, plan)
    tables = [predict_stacked(run, plan, INDEX, IDS, raw_of(BINARY), BINARY) for _ in range(2)]
    pd.testing.assert_frame_equal(*tables)
    read = CrossFitted.read(run, BINARY)
    assert read is not None and read.image is not None
    np.testing.assert_allclose(read.image_only.probabilities, unseen.probabilities)
    assert read.auroc > unseen.auroc
    back = Prediction.of_table(pd.read_parquet(run.predictions_path), BINARY)
    pd.testing.assert_frame_equal(back.table(), tables[0])


def test_a_run_of_an_older_version_and_one_with_the_stack_off_predict_by_the_images_alone(tmp_path: Path) -> None:
    classes = DAMAGED.astype(np.int64)
    run, plan = Run(tmp_path), plan_of_labels(classes, BINARY, held_out=False)
    off = plan_of_labels(classes, BINARY, held_out=False, spatial_stack="off")
    assert wants_stack(run, plan) and not wants_stack(run, off)
    assert wants_stack(run, plan, off) and not wants_stack(run, off, off)  # an ensemble, by its members
    run.predictions_path.touch()
    assert not wants_stack(run, plan)
    run.stack_path.touch()
    assert wants_stack(run, plan)


def test_a_map_that_places_carry_says_so_and_one_of_images_does_not() -> None:
    facts = StackFacts(weights={"places": 1.0}, place_share=0.8, map_range_m=150.0)
    said = stack_statement(facts)
    assert said is not None
    assert said.startswith("This map follows where you labelled more than what the images show: 80%")
    assert "Farther than about 300 m from every label" in said
    assert stack_statement(replace(facts, place_share=0.4)) is None and stack_statement(None) is None


def test_live_model_stacks_and_says_that_it_follows_places_where_images_say_nothing(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.3, (COUNT, 6)).astype(np.float32)
    features = EventFeatures(IDS, noise, np.zeros(COUNT, dtype=np.int64), "x")
    said = np.where(DAMAGED[LABELLED], "destroyed", "no-damage")
    current = pd.DataFrame({"building_id": IDS[LABELLED], "value": said})
    prediction = fit_live(features, current, BINARY, place=INDEX.set_index("building_id"))
    model = LiveModel(Event(tmp_path, "e"), "features", 1, prediction)
    assert model.stack is not None and model.stack.follows_places
    assert model.statement is not None and "follows where you labelled" in model.statement
    assert IMAGE_COLUMN in model.predictions
    free = np.setdiff1d(np.arange(COUNT), LABELLED)
    verdict = prediction.p_damaged[free] >= model.threshold
    assert prediction.p_damaged_image is not None
    alone = prediction.p_damaged_image[free] >= model.threshold
    assert (verdict == DAMAGED[free]).mean() > (alone == DAMAGED[free]).mean() + 0.1

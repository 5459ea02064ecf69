"""Noisy student: the loss against the oracle; rounds, their file, and going on after a stop."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from damage_ssl.errors import SettingsError
from damage_ssl.learning.algorithms.noisy_student import NoisyStudent, NoisyStudentSettings, confident
from damage_ssl.learning.trainer.data import make_task, unlabelled_rows
from damage_ssl.learning.trainer.self_training import KIND, read_student
from damage_ssl.learning.training import check_settings, train
from tests.learning.algorithms import oracles, oracles_aligned
from tests.learning.algorithms.linear_student import CLASSES, LinearStudent, draw_batch, step, weight_gradient
from tests.learning.test_training import PAIRS, TARGETS, new_run, settings, stop_after, weights

OPTIONS = {"rounds": 2, "threshold": 0.51}


def test_step_equals_the_oracle_with_the_mean_over_all_pairs() -> None:
    batch, student, rng = draw_batch(), LinearStudent(), np.random.default_rng(0)
    assert batch.unlabelled_index is not None
    soft, mask = rng.dirichlet(np.ones(CLASSES), batch.unlabelled_total), rng.integers(0, 2, batch.unlabelled_total)
    algorithm = NoisyStudent(
        soft_labels=torch.from_numpy(soft), mask=torch.from_numpy(mask).double(), unlabelled_weight=1.5
    )
    strong = batch.unlabelled[1]
    terms, gradient = step(algorithm, student, replace(batch, unlabelled=(strong,)))
    x, rows = batch.labelled("strong"), batch.unlabelled_index.numpy()
    known = oracles.cross_entropy(student.logits(x), oracles.one_hot(batch.target.numpy(), CLASSES))
    unlabelled = oracles_aligned.masked_cross_entropy(student.logits(strong), soft[rows], mask[rows])
    assert 0 < terms.mask_rate.item() < 1
    assert terms.loss.item() == pytest.approx(known.value + 1.5 * unlabelled.value, abs=1e-6)
    expected = weight_gradient(x, known.gradient) + 1.5 * weight_gradient(strong, unlabelled.gradient)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_only_what_is_above_the_threshold_is_kept() -> None:
    p = torch.tensor([[0.9, 0.1], [0.95, 0.05], [0.05, 0.95], [0.5, 0.5]], dtype=torch.float64)
    assert confident(p, 0.9).tolist() == [False, True, True, False]


def test_rounds_leave_pseudo_labels_with_provenance_and_go_on_exactly_after_a_stop(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    chosen = settings(algorithm="noisy-student", steps=3, options=OPTIONS)
    unbroken, broken = new_run(tmp_path / "unbroken"), new_run(tmp_path / "broken")
    train(PAIRS, TARGETS, chosen, unbroken)
    assert unbroken.status().state == "trained" and unbroken.status().step == 9
    should_stop = stop_after(4)  # in the first student's second step
    train(PAIRS, TARGETS, chosen, broken, should_stop=should_stop)
    assert broken.status().state == "cancelled" and "round 1 of 2" in broken.status().message
    assert not broken.checkpoint_path.exists()
    train(PAIRS, TARGETS, chosen, broken)
    one, other = weights(unbroken), weights(broken)
    assert all(torch.equal(one[name], other[name]) for name in one)

    values = json.loads((unbroken.path / "round-1" / "pseudo_labels.json").read_text())
    assert values["kind"] == "pseudo-labels of a model, not labels"
    assert (values["round"], values["teacher"], values["threshold"], values["pairs"]) == (1, "round-0", 0.51, 40)
    assert len(values["probabilities"]) > 0
    assert all(max(p) > 0.51 for p in values["probabilities"].values())
    known = set(TARGETS.train_id.tolist()) | set(TARGETS.validation_id.tolist())
    assert not known & values["probabilities"].keys()
    assert not (unbroken.path / "round-0" / "pseudo_labels.json").exists()


def test_pseudo_labels_are_of_the_pairs_that_a_batch_names_where_only_some_serve_as_unlabelled(tmp_path: Path) -> None:
    foreign = PAIRS.building_id[20:24]
    chosen = settings(algorithm="noisy-student", options={"unlabelled_rows": "unlabelled"})
    targets = replace(TARGETS, foreign_id=foreign)
    task = make_task(PAIRS, targets, chosen, new_run(tmp_path / "run"), lambda _: None, lambda: False)
    rows = unlabelled_rows(task).tolist()
    left_out = {*TARGETS.train_id.tolist(), *TARGETS.validation_id.tolist(), *foreign.tolist()}
    assert [row for row, name in enumerate(PAIRS.building_id.tolist()) if name not in left_out] == rows
    name = str(PAIRS.building_id[rows[3]])
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"kind": KIND, "probabilities": {name: [0.1, 0.9]}}))
    student = read_student(path, task, NoisyStudentSettings())
    assert student.mask.nonzero().tolist() == [[3]]  # the fourth of those that a batch is drawn from
    torch.testing.assert_close(student.soft_labels[3], torch.tensor([0.1, 0.9]))


def test_impossible_options_are_refused_before_any_work() -> None:
    with pytest.raises(SettingsError, match="noisy-student: rounds is 0; it must be at least 1"):
        check_settings(settings(algorithm="noisy-student", options={"rounds": 0}), "here")

"""The ordinal head: a distribution over ordered classes, fitted, trained, saved."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from damage_ssl.learning.networks.heads import OrdinalHead, fit_cumulative, log_probabilities


def a_head(features: int = 6, classes: int = 4) -> OrdinalHead:
    torch.manual_seed(0)
    return OrdinalHead(features, classes).double()


def test_log_probabilities_are_differences_of_the_cumulative_ones() -> None:
    head, x = a_head(), torch.randn(9, 6, dtype=torch.float64)
    thresholds = head.thresholds()[0].detach().numpy()
    s = head.direction(x)[:, 0].detach().numpy()
    below = np.column_stack([np.zeros(9), expit(thresholds[None] - s[:, None]), np.ones(9)])
    np.testing.assert_allclose(head(x).exp().detach().numpy(), np.diff(below, axis=1), rtol=1e-9)


def test_what_the_head_gives_is_its_own_log_softmax() -> None:
    logits = a_head()(torch.randn(5, 6, dtype=torch.float64))
    torch.testing.assert_close(logits, logits.log_softmax(dim=1))


def test_thresholds_stay_in_order_whatever_the_parameters() -> None:
    head = a_head()
    head.gaps.data.copy_(torch.tensor([-40.0, 5.0]))
    assert (head.thresholds()[0].diff() > 0).all()


@pytest.mark.parametrize("score", [-300.0, 300.0])
def test_far_scores_give_finite_log_probabilities_and_gradients(score: float) -> None:
    s = torch.tensor([score], requires_grad=True)
    log_p = log_probabilities(s, torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([1.0, 1.0]))
    log_p.sum().backward()
    assert log_p.isfinite().all() and s.grad is not None and s.grad.isfinite().all()


def test_untrained_classes_are_equally_likely_in_the_middle() -> None:
    p = a_head()(torch.zeros(1, 6, dtype=torch.float64)).exp()
    torch.testing.assert_close(p, torch.full_like(p, 0.25), rtol=0, atol=1e-5)


def test_the_fit_finds_the_order_and_leaves_a_class_without_labels_unlikely() -> None:
    rng = np.random.default_rng(0)
    classes = rng.choice([0, 1, 3], 120)
    x = torch.from_numpy(rng.normal(size=(120, 5)) + classes[:, None] * np.array([1.0, -1.0, 0, 0, 0])).float()
    head = OrdinalHead(5, 4)
    head.set(*fit_cumulative(x, classes, 4, regularisation=1.0))
    p = head(x).softmax(dim=1).detach().numpy()
    assert (p[:, [0, 1, 3]].argmax(axis=1) == np.searchsorted([0, 1, 3], classes)).mean() > 0.8
    assert p[:, 2].mean() < 0.1


def test_of_two_classes_the_fit_is_a_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(1)
    classes = (np.arange(60) % 3 == 0).astype(np.int64)
    x = rng.normal(size=(60, 4)) + classes[:, None]
    direction, first, _ = fit_cumulative(torch.from_numpy(x).float(), classes, 2, regularisation=0.5)
    model = LogisticRegression(C=0.5, class_weight="balanced", tol=1e-8).fit(x, classes)
    np.testing.assert_allclose(direction.numpy(), model.coef_[0], atol=2e-3)
    np.testing.assert_allclose(-first.numpy(), model.intercept_, atol=2e-3)

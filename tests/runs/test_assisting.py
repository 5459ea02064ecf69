"""Which predictions may assist a total."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from damage_ssl.damage_scale import scheme_named
from damage_ssl.learning.features.linear_probe import EventFeatures
from damage_ssl.runs import assisting, validation
from damage_ssl.runs.assisting import assistance, cross_fitted
from damage_ssl.runs.cross_fitting import CrossFitted

BINARY = scheme_named("binary-major")
IDS = np.array([f"b{number:03d}" for number in range(200)])


def features_of(values: Any) -> EventFeatures:
    return EventFeatures(IDS, np.asarray(values, dtype=np.float32), np.zeros(len(IDS), dtype=np.int64), "p")


def labels_of(damaged: Any, rows: Any) -> pd.DataFrame:
    value = np.where(damaged[rows], "destroyed", "no-damage").astype(object)
    return pd.DataFrame({"building_id": IDS[rows].astype(object), "value": value})


def test_cross_fitted_score_of_noise_knows_nothing_of_the_labels_it_was_given() -> None:
    rng = np.random.default_rng(0)
    damaged, rows = rng.random(200) < 0.5, np.arange(100)
    noise = features_of(rng.normal(size=(200, 60)))
    p = cross_fitted(noise, labels_of(damaged, rows), BINARY)
    assert p is not None
    right = ((p.to_numpy() > 0.5) == damaged)[:100].mean()
    assert 0.3 < right < 0.7  # fitted on all of them it is right on every one


def test_cross_fitted_score_finds_what_can_be_learned() -> None:
    rng = np.random.default_rng(1)
    damaged = rng.random(200) < 0.4
    told = features_of(np.stack([damaged + rng.normal(size=200) * 0.1, rng.normal(size=200)], axis=1))
    p = cross_fitted(told, labels_of(damaged, np.arange(60)), BINARY)
    assert p is not None and ((p.to_numpy() > 0.5) == damaged).mean() > 0.95
    assert cross_fitted(told, labels_of(np.ones(200, dtype=bool), np.arange(60)), BINARY) is None


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Callable[..., assisting.Assistance | None]:
    """What assists forty random answers where so many taught the model and the event has no features."""

    def judge(taught: int, unseen: CrossFitted | None = None) -> assisting.Assistance | None:
        plan = SimpleNamespace(train_id=tuple(IDS[:taught]), validation_id=())
        monkeypatch.setattr(validation, "plan_of", lambda _run: plan)
        monkeypatch.setattr(assisting, "features_ready", lambda _event: False)
        predictions = pd.DataFrame({"building_id": IDS, "p_damaged": np.linspace(0, 1, 200)})
        model: Any = SimpleNamespace(run=object(), predictions=predictions, unseen=unseen)
        event: Any = SimpleNamespace(name="town")
        return assistance(event, model, pd.DataFrame(), BINARY, IDS, np.arange(40))

    return judge


def test_model_assists_only_where_the_answers_did_not_teach_it(
    judged: Callable[..., assisting.Assistance | None],
) -> None:
    fresh, half = judged(0), judged(20)
    assert fresh is not None and fresh.fair.all() and fresh.words == "model"
    assert fresh.p_damaged[-1] == 1.0
    assert half is not None and half.fair.sum() == 20
    assert judged(40) is None
    assert judged(30) is None


def test_cross_fitted_model_assists_by_what_it_says_without_the_answers_that_taught_it(
    judged: Callable[..., assisting.Assistance | None],
) -> None:
    raw = np.tile([[0.8, 0.2], [0.1, 0.9]], (20, 1))
    raw[3] = np.nan  # the other folds held one class only
    classes, fold = np.arange(40) % 2, np.arange(40) // 4 % 5
    unseen = CrossFitted(
        scheme=BINARY, building_id=IDS[:40], classes=classes, fold=fold, random=np.ones(40, bool), probabilities=raw
    )
    found = judged(40, unseen)
    assert found is not None and found.words == "model, cross-fitted"
    assert found.fair.sum() == 39 and not found.fair[3]
    assert np.allclose(found.p_damaged[40:], np.linspace(0, 1, 200)[40:])  # of the others the map itself
    assert (found.p_damaged[1:40:2][2:] > 0.5).all() and (found.p_damaged[0:40:2] < 0.5).all()

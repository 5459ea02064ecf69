"""Intervals hold the truth as often as they say, on small samples of the simulation in `benchmarks`."""

import numpy as np
import pytest

from benchmarks.interval_coverage import METRICS, Case, measure, measure_audit

SMALL = (
    Case(n=14, n_damaged=6, prevalence=6 / 14, blocks=4, together=0.0),
    Case(n=40, n_damaged=12, prevalence=0.3, blocks=8, together=0.2),
    Case(n=91, n_damaged=21, prevalence=21 / 91, blocks=9, together=0.0),
    Case(n=150, prevalence=0.2, blocks=15, model="poor", together=0.2),
)


def test_truth_is_that_of_a_huge_draw() -> None:
    case = Case(n=400_000, prevalence=0.2, blocks=20_000, model="biased", together=0.2)
    p, damaged, _ = case.draw(np.random.default_rng(0))
    called, truth = p >= case.threshold, case.truth()
    assert called[damaged].mean() == pytest.approx(truth["recall"], abs=0.01)
    assert damaged[called].mean() == pytest.approx(truth["precision"], abs=0.01)
    assert ((p - damaged) ** 2).mean() == pytest.approx(truth["brier"], abs=0.003)


@pytest.mark.long
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_intervals_hold_the_truth_in_nine_of_ten_draws(case: Case) -> None:
    rows = {row.metric: row for row in measure(case, 150, np.random.default_rng(0))}
    assert set(rows) == set(METRICS)
    for name, row in rows.items():
        assert row.points == 0
        assert row.coverage is None or row.coverage > 0.9, f"{name}: {row.covered} of {row.shown}"
    assert rows["auroc"].coverage is not None


@pytest.mark.long
def test_shares_of_the_audit_hold_the_truth_of_their_map() -> None:
    assert min(measure_audit(40, 150, np.random.default_rng(1)).values()) > 0.9

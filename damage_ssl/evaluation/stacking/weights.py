"""Non-negative weights of log-odds columns by cross-validation on labels, drawn to "own score only"."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

_INTERCEPT_SD = 3.0
_OWN_SD = 0.7
_NATS_A_COLUMN = 1.0
_STEPS = 12
_LARGEST_STEP = 4.0


@dataclass(frozen=True, kw_only=True)
class Weights:
    """log-odds = `intercept` + `own` · own score + Σ `added` · column."""

    intercept: float
    own: float
    added: tuple[float, ...]

    def apply(self, own: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """[n] and [n, k] → log-odds [n]."""
        return np.asarray(self.intercept + self.own * own + columns @ np.array(self.added), dtype=np.float64)


def fit_weights(
    own: NDArray[np.float64],
    columns: NDArray[np.float64],
    deviation: Sequence[float],
    damaged: NDArray[np.bool_],
    fold: NDArray[np.integer],
) -> Weights:
    """The weights of those columns that lower the loss on labels which a fit has not seen.

    Every subset of columns is fitted without each fold and judged on it by its log-loss; the one with the lowest is
    taken, fitted on all. Each column has to gain `_NATS_A_COLUMN` over all labels, as in Akaike's criterion: less is
    what columns of chance gain. One that gives a column a negative weight is none of the candidates: under the bound it
    is the subset without that column. A fit is a maximum a posteriori: intercept ~ N(0, 3²), own ~ N(1, 0.7²), added ~
    N(0, `deviation`²), so that few labels add little to the own score.

    Args:
        own: [n] log-odds of damaged by the model itself, on its natural scale.
        columns: [n, k] log-odds from elsewhere.
        deviation: [k] how much weight each may have before labels are seen; 0: none.
        damaged: [n].
        fold: [n] the part that each is left out with.
    """
    usable = [index for index, sd in enumerate(deviation) if sd > 0]
    subsets = [each for size in range(len(usable) + 1) for each in combinations(usable, size)]
    sd = np.full((len(subsets), columns.shape[1]), 1e-6)
    for row, subset in enumerate(subsets):
        sd[row, list(subset)] = [deviation[index] for index in subset]
    design = np.column_stack([np.ones(len(own)), own, columns])
    whole = _fitted(design, damaged, sd, np.ones((1, len(own))))[:, 0]  # [subsets, 2 + k]
    allowed = (whole[:, 2:] >= -1e-9).all(axis=1)
    folds = np.unique(fold)
    taken = whole[0]
    if len(subsets) > 1 and len(folds) > 1:
        kept = (fold[None, :] != folds[:, None]).astype(float)
        each = _fitted(design, damaged, sd, kept)  # [subsets, folds, 2 + k]
        mine = np.searchsorted(folds, fold)
        margin = (each[:, mine] * design[None]).sum(axis=2) * np.where(damaged, 1.0, -1.0)
        size = np.array([len(subset) for subset in subsets])
        loss = np.where(allowed, np.logaddexp(0, -margin).sum(axis=1) + _NATS_A_COLUMN * size, np.inf)
        taken = whole[int(loss.argmin())]
    added = tuple(float(max(value, 0.0)) if abs(value) > 1e-6 else 0.0 for value in taken[2:])
    return Weights(intercept=float(taken[0]), own=float(max(taken[1], 0.0)), added=added)


def _fitted(
    design: NDArray[np.float64], damaged: NDArray[np.bool_], sd: NDArray[np.float64], kept: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Maximum a posteriori by Newton's method, all at once: [subsets, folds, 2 + k].

    `sd` [subsets, k] are the deviations of the added weights, `kept` [folds, n] 1 where a label is learned from.
    """
    count = design.shape[1]
    deviation = np.column_stack([np.full(len(sd), _INTERCEPT_SD), np.full(len(sd), _OWN_SD), sd])
    strength = 1 / deviation[:, None, :] ** 2  # [subsets, 1, 2 + k]
    centre = np.zeros(count)
    centre[1] = 1.0
    outer = (design[:, :, None] * design[:, None, :]).reshape(len(design), count**2)
    found = np.broadcast_to(centre, (len(sd), len(kept), count)).copy()
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(found @ design.T, -30, 30)))
        slope = (kept * (p - damaged)) @ design + strength * (found - centre)
        curve = ((kept * p * (1 - p)) @ outer).reshape(*found.shape, count) + strength[..., None] * np.eye(count)
        step = np.linalg.solve(curve, slope[..., None])[..., 0]
        longest = np.abs(step).max(axis=2, keepdims=True)
        found -= step * np.minimum(1.0, _LARGEST_STEP / np.maximum(longest, 1e-12))
        if longest.max() < 1e-6:
            break
    return found

"""From single matches, some of them wrong, to a smooth field of shifts: for a whole scene, and around a place."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

AGREE_M = 1.0
_MAX_GRADIENT = 0.03
_PRIOR_GRADIENT = 0.01
_HYPOTHESES = 400
ROUNDS = 8

FLOOR_M = 0.1


_LEAST_SHARE = 0.5
_ACCIDENTS = 0.1
"""More than this share of the places tried must agree. Of matches of unrelated textures up to one in eight passes for
significant, and two such may agree."""


@dataclass(frozen=True)
class Samples:
    """N places where a shift was measured and is no accident.

    `x_m`, `y_m` [N] in a projected CRS; `shift_m` [N, 2] east and north; `error_m` [N], expected along one axis.
    """

    x_m: NDArray[np.float64]
    y_m: NDArray[np.float64]
    shift_m: NDArray[np.float64]
    error_m: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.x_m)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Samples":
        """The samples at these rows."""
        return Samples(self.x_m[rows], self.y_m[rows], self.shift_m[rows], self.error_m[rows])


@dataclass(frozen=True)
class SceneField:
    """The shift over a whole scene: `offset_m` [2] + `gradient` [2, 2] @ (x - x0, y - y0).

    `spread_m` is the robust deviation of the samples from it along one axis (infinite without any), `agreeing` their
    share within three metres or so of it; `tried` counts the places where a match was looked for.
    """

    origin: NDArray[np.float64]
    offset_m: NDArray[np.float64]
    gradient: NDArray[np.float64]
    spread_m: float
    agreeing: float
    samples: int
    tried: int = 0

    @property
    def known(self) -> bool:
        """Whether half of the samples agree with it, and more of them than accidents among all that were tried."""
        agree = self.agreeing * self.samples
        return self.agreeing >= _LEAST_SHARE and agree > _ACCIDENTS * self.tried

    @property
    def contradictory(self) -> bool:
        """Whether there are far more samples than accidents, but most of them disagree."""
        return self.agreeing < _LEAST_SHARE and self.samples > max(2.0, 2 * _ACCIDENTS * self.tried)

    def at(self, x_m: NDArray[np.float64], y_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shift at each place, [N, 2]."""
        return self.offset_m + (np.column_stack([x_m, y_m]) - self.origin) @ self.gradient.T


def fit_scene(samples: Samples, rng: np.random.Generator, *, tried: int = 0) -> SceneField:
    """Fit one affine field to all samples of a scene, whatever share of them is wrong.

    First the shift, or the shift with rotation and scale, that most samples agree with (RANSAC, Fischler and Bolles
    1981, on one and two samples); then least squares on those that agree, reweighted (Cauchy), with a weak pull of the
    gradient towards 0 so that few samples close together do not tilt the whole scene. Gradients over 3 % are no
    registration error and are not taken.

    Args:
        samples: of one pair of scenes.
        rng: draws the hypotheses.
        tried: places where a match was looked for (0: not known), see `SceneField.known`.
    """
    count = len(samples)
    xy = np.column_stack([samples.x_m, samples.y_m])
    if count == 0:
        return SceneField(np.zeros(2), np.zeros(2), np.zeros((2, 2)), np.inf, 0.0, 0, tried)
    origin = xy.mean(axis=0)
    local = xy - origin
    tolerance = AGREE_M + 2 * samples.error_m
    offsets, gradients = _hypotheses(local, samples.shift_m, rng)
    best, best_votes = 0, -1.0
    for number, (offset, gradient) in enumerate(zip(offsets, gradients, strict=True)):
        miss = np.abs(samples.shift_m - offset - local @ gradient.T).max(axis=1)
        # A smooth vote, so that of two hypotheses with the same followers the closer one wins.
        votes = float(np.maximum(1 - (miss / tolerance) ** 2, 0).sum())
        if votes > best_votes + (0.0 if number < count else 0.05 * count):
            best, best_votes = number, votes
    offset, gradient = offsets[best], gradients[best]
    for _ in range(ROUNDS):
        miss = samples.shift_m - offset - local @ gradient.T
        weight = np.where(np.abs(miss).max(axis=1) <= 3 * tolerance, 1.0, 0.0) / (samples.error_m**2 + FLOOR_M**2)
        scale = _robust_scale(miss[weight > 0]) if (weight > 0).any() else AGREE_M
        weight /= 1 + (miss**2).sum(axis=1) / max(scale, FLOOR_M) ** 2
        # The weights count the scene's own scatter too, or the pull on the gradient would mean nothing.
        weight *= 1 / (1 + scale**2 / (samples.error_m**2 + FLOOR_M**2))
        offset, gradient = _weighted_affine(local, samples.shift_m, weight)
    miss = samples.shift_m - offset - local @ gradient.T
    agreeing = float((np.abs(miss).max(axis=1) <= 3 * tolerance).mean())
    return SceneField(origin, offset, gradient, _robust_scale(miss), agreeing, count, tried)


def level_field(samples: Samples) -> SceneField:
    """No shift anywhere, with the spread of the samples around it: for what is left where a field was taken away."""
    spread_m = _robust_scale(samples.shift_m)
    return SceneField(np.zeros(2), np.zeros(2), np.zeros((2, 2)), spread_m, float(len(samples) > 0), len(samples))


def _hypotheses(
    local: NDArray[np.float64], shift: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Offsets [H, 2] and gradients [H, 2, 2]: the shifts of single samples, then those of pairs of samples."""
    count = len(local)
    single = np.arange(count) if count <= _HYPOTHESES else rng.choice(count, _HYPOTHESES, replace=False)
    one, other = rng.integers(0, count, (2, _HYPOTHESES))
    apart = local[other] - local[one]
    length = (apart**2).sum(axis=1)
    keep = length > 100.0**2  # closer pairs measure their errors, not a gradient
    one, other, apart, length = one[keep], other[keep], apart[keep], length[keep]
    change = shift[other] - shift[one]
    stretch = (apart * change).sum(axis=1) / length
    turn = (apart[:, 0] * change[:, 1] - apart[:, 1] * change[:, 0]) / length
    keep = np.hypot(stretch, turn) <= _MAX_GRADIENT
    one, stretch, turn = one[keep], stretch[keep], turn[keep]
    gradient = np.stack([np.stack([stretch, -turn], 1), np.stack([turn, stretch], 1)], axis=1)  # [P, 2, 2]
    offset = shift[one] - (gradient @ local[one][..., None])[..., 0]
    return (
        np.concatenate([shift[single], offset]),
        np.concatenate([np.zeros((len(single), 2, 2)), gradient]),
    )


def _weighted_affine(
    local: NDArray[np.float64], shift: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted least squares with a Gaussian prior on the gradient: (offset [2], gradient [2, 2])."""
    design = np.column_stack([np.ones(len(local)), local])
    normal = design.T @ (design * weight[:, None]) + np.diag([1e-9, _PRIOR_GRADIENT**-2, _PRIOR_GRADIENT**-2])
    solution = np.linalg.solve(normal, design.T @ (shift * weight[:, None]))  # [3, 2]
    gradient = np.asarray(solution[1:].T, dtype=np.float64)
    size = float(np.abs(gradient).max())
    return solution[0], gradient * min(1.0, _MAX_GRADIENT / max(size, 1e-12))


def _robust_scale(miss: NDArray[np.float64]) -> float:
    """Standard deviation along one axis from the median absolute deviation, of [N, 2]."""
    return float(1.4826 * np.median(np.abs(miss))) if len(miss) else float("inf")

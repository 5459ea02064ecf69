"""From single matches, some of them wrong, to a smooth field of shifts: for a whole scene, and around a place."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

_AGREE_M = 1.0
_MAX_GRADIENT = 0.03
_PRIOR_GRADIENT = 0.01
_HYPOTHESES = 400
_ROUNDS = 8
_CHUNK = 20_000
_FLOOR_M = 0.1
_MOST_SCATTER_M = 1.5
_MOST_FORETOLD = 2000
_PRIOR_TRUST = 0.5
_PRIOR_SAMPLES = 4
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


@dataclass(frozen=True)
class LocalField:
    """What the trusted samples around each of M places say.

    `shift_m` [M, 2]; `spread_m` [M], their weighted deviation from it along one axis (infinite without any);
    `support` [M], how many of them agree with it; `conflict` [M], the weight of those that do not, 0 to 1.
    """

    shift_m: NDArray[np.float64]
    spread_m: NDArray[np.float64]
    support: NDArray[np.float64]
    conflict: NDArray[np.float64]


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
    tolerance = _AGREE_M + 2 * samples.error_m
    offsets, gradients = _hypotheses(local, samples.shift_m, rng)
    best, best_votes = 0, -1.0
    for number, (offset, gradient) in enumerate(zip(offsets, gradients, strict=True)):
        miss = np.abs(samples.shift_m - offset - local @ gradient.T).max(axis=1)
        # A smooth vote, so that of two hypotheses with the same followers the closer one wins.
        votes = float(np.maximum(1 - (miss / tolerance) ** 2, 0).sum())
        if votes > best_votes + (0.0 if number < count else 0.05 * count):
            best, best_votes = number, votes
    offset, gradient = offsets[best], gradients[best]
    for _ in range(_ROUNDS):
        miss = samples.shift_m - offset - local @ gradient.T
        weight = np.where(np.abs(miss).max(axis=1) <= 3 * tolerance, 1.0, 0.0) / (samples.error_m**2 + _FLOOR_M**2)
        scale = _robust_scale(miss[weight > 0]) if (weight > 0).any() else _AGREE_M
        weight /= 1 + (miss**2).sum(axis=1) / max(scale, _FLOOR_M) ** 2
        # The weights count the scene's own scatter too, or the pull on the gradient would mean nothing.
        weight *= 1 / (1 + scale**2 / (samples.error_m**2 + _FLOOR_M**2))
        offset, gradient = _weighted_affine(local, samples.shift_m, weight)
    miss = samples.shift_m - offset - local @ gradient.T
    agreeing = float((np.abs(miss).max(axis=1) <= 3 * tolerance).mean())
    return SceneField(origin, offset, gradient, _robust_scale(miss), agreeing, count, tried)


def level_field(samples: Samples) -> SceneField:
    """No shift anywhere, with the spread of the samples around it: for what is left where a field was taken away."""
    spread_m = _robust_scale(samples.shift_m)
    return SceneField(np.zeros(2), np.zeros(2), np.zeros((2, 2)), spread_m, float(len(samples) > 0), len(samples))


def local_field(
    samples: Samples,
    x_m: NDArray[np.float64],
    y_m: NDArray[np.float64],
    *,
    scene: SceneField,
    radius_m: float,
    trust: float = 1.0,
    neighbours: int = 16,
    leave_out: NDArray[np.intp] | None = None,
) -> LocalField:
    """The shift that trusted samples around each place agree on.

    Deviations from the scene's field are averaged, weighted by distance (Gaussian, half the radius) and error, and
    reweighted (Cauchy, as wide as the scene's matches scatter) from the value that most of them support: a lone
    neighbour that is wrong has no pull.

    Args:
        samples: of the same pair of scenes as the places.
        x_m: [M], in the samples' CRS.
        y_m: [M].
        scene: the field that the deviations are taken from.
        radius_m: farther samples have no say.
        trust: the share of the average deviation that is taken, see `neighbour_trust`.
        neighbours: at most so many of the nearest are asked.
        leave_out: [M], the row of the sample that was measured at the place itself (-1: none); it is not asked.
    """
    count = len(x_m)
    base = scene.at(x_m, y_m)
    if len(samples) == 0 or count == 0:
        return LocalField(base, np.full(count, np.inf), np.zeros(count), np.zeros(count))
    deviation = samples.shift_m - scene.at(samples.x_m, samples.y_m)
    tree = cKDTree(np.column_stack([samples.x_m, samples.y_m]))
    asked = min(neighbours + (leave_out is not None), len(samples))
    scatter_m = min(scene.spread_m, _MOST_SCATTER_M)
    parts = []
    for start in range(0, count, _CHUNK):
        here = slice(start, start + _CHUNK)
        distance, index = tree.query(
            np.column_stack([x_m[here], y_m[here]]), k=asked, distance_upper_bound=radius_m, workers=1
        )
        distance, index = distance.reshape(-1, asked), index.reshape(-1, asked)
        usable = np.isfinite(distance)
        if leave_out is not None:
            usable &= index != leave_out[here, None]
        index = np.where(usable, index, 0)
        weight = np.where(usable, np.exp(-0.5 * (np.where(usable, distance, 0) / (radius_m / 2)) ** 2), 0.0)
        weight /= samples.error_m[index] ** 2 + (2 * _FLOOR_M) ** 2
        tolerance = _AGREE_M + 2 * np.hypot(samples.error_m[index], scatter_m)
        parts.append(_agreed(deviation[index], weight, tolerance))
    shift, spread, support, conflict = (np.concatenate(values) for values in zip(*parts, strict=True))
    return LocalField(base + trust * shift, spread, support, conflict)


def neighbour_trust(samples: Samples, scene: SceneField, radius_m: float, rng: np.random.Generator) -> float:
    """How much of what deviates from the scene's field around a place is real there, and no error: 0 to 1.

    Each sample is foretold from its neighbours; the factor is the slope that foretells best (regression through 0, with
    the weight of a few samples of slope one half). Where neighbours know nothing of each other, the scene's field is
    all that can be known.

    Args:
        samples: of one pair of scenes.
        scene: the field through them.
        radius_m: how far neighbours may be.
        rng: draws the samples that are foretold, where there are many.
    """
    count = len(samples)
    if count < 2 or not np.isfinite(scene.spread_m):
        return _PRIOR_TRUST
    rows = np.arange(count) if count <= _MOST_FORETOLD else rng.choice(count, _MOST_FORETOLD, replace=False)
    at = samples.take(rows)
    field = local_field(samples, at.x_m, at.y_m, scene=scene, radius_m=radius_m, leave_out=rows)
    base = scene.at(at.x_m, at.y_m)
    most = 3 * max(scene.spread_m, _FLOOR_M)
    own = np.clip(at.shift_m - base, -most, most)
    told = np.clip(field.shift_m - base, -most, most)[field.support > 0]
    own = own[field.support > 0]
    power = float((told**2).sum())
    prior = _PRIOR_SAMPLES * power / max(len(told), 1)
    slope = (float((own * told).sum()) + _PRIOR_TRUST * prior) / max(power + prior, 1e-9)
    return float(np.clip(slope, 0.0, 1.0)) if len(told) else _PRIOR_TRUST


def _agreed(
    values: NDArray[np.float64], weight: NDArray[np.float64], tolerance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], ...]:
    """Robust weighted mean of values [M, K, 2]: (mean [M, 2], spread [M], support [M], conflict [M])."""
    apart = np.linalg.norm(values[:, :, None] - values[:, None], axis=-1)  # [M, K, K]
    votes = (np.maximum(1 - (apart / tolerance[:, None]) ** 2, 0) * weight[:, None]).sum(axis=2)
    start = np.where(weight > 0, votes, -1.0).argmax(axis=1)
    mean = values[np.arange(len(values)), start]
    for _ in range(_ROUNDS):
        square = ((values - mean[:, None]) ** 2).sum(axis=2)
        pull = weight / (1 + square / (0.5 * tolerance) ** 2)
        total = np.maximum(pull.sum(axis=1), 1e-12)
        mean = np.where(pull.sum(axis=1)[:, None] > 0, (pull[..., None] * values).sum(axis=1) / total[:, None], 0.0)
    square = ((values - mean[:, None]) ** 2).sum(axis=2)
    pull = weight / (1 + square / (0.5 * tolerance) ** 2)
    total = np.maximum(pull.sum(axis=1), 1e-12)
    spread = np.sqrt((pull * square).sum(axis=1) / (2 * total))
    agrees = (square <= (1.5 * tolerance) ** 2) & (weight > 0)
    support = agrees.sum(axis=1).astype(float)
    all_weight = weight.sum(axis=1)
    conflict = 1 - (weight * agrees).sum(axis=1) / np.maximum(all_weight, 1e-12)
    nothing = all_weight <= 0
    return (
        mean,
        np.where(nothing, np.inf, spread),
        support,
        np.where(nothing, 0.0, np.clip(conflict, 0.0, 1.0)),
    )


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

"""From what was measured at a place, around it and over its scene to the shift that is applied there."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from damage_ssl.registration.scene_field import AGREE_M, FLOOR_M, ROUNDS, Samples, SceneField, level_field

OWN, NEIGHBOURS, SCENE, NONE = "own", "neighbours", "scene", "none"
_GATE_M = 1.5
_LEAST_SHARE = 0.5
_BORROWED_M = 0.25
_CLOSE = 9


@dataclass(frozen=True)
class LocalShifts:
    """The shift applied at each of M places.

    `shift_m` [M, 2], metres east and north, always finite; `source` [M]: `own`, `neighbours`, `scene` or `none`;
    `error_m` [M], its expected error along one axis (0 where nothing speaks against no shift at all, infinite where
    the scene's matches contradict each other and none is near).
    """

    shift_m: NDArray[np.float64]
    source: NDArray[np.object_]
    error_m: NDArray[np.float64]

    def take(self, rows: NDArray[np.intp]) -> "LocalShifts":
        """The places at these rows."""
        return LocalShifts(self.shift_m[rows], self.source[rows], self.error_m[rows])


def local_shifts(
    samples: Samples,
    x_m: NDArray[np.float64],
    y_m: NDArray[np.float64],
    *,
    scene: SceneField,
    radius_m: float,
    trust: float = 1.0,
) -> LocalShifts:
    """Settle the shift of M places by the matches around them that one pair of scenes shows.

    The neighbours' agreement is taken, farther from any the scene's field, and where the scene has none (or one that
    most of its samples disagree with), 0.

    Args:
        samples: all trusted matches of the pair of scenes.
        x_m: [M], in the samples' CRS.
        y_m: [M].
        scene: the field over the whole scene.
        radius_m: neighbours are no farther away than this.
        trust: see `neighbour_trust`.
    """
    field = local_field(samples, x_m, y_m, scene=scene, radius_m=radius_m, trust=trust)
    whole = scene.at(x_m, y_m)
    apart = np.abs(field.shift_m - whole).max(axis=1)
    # One neighbour alone may be the one match in a hundred that is an accident.
    near = (field.support >= 2) | ((field.support >= 1) & scene.known & (apart <= 2 * _GATE_M))
    near &= field.conflict <= 1 - _LEAST_SHARE

    shift = np.where(near[:, None], field.shift_m, whole if scene.known else 0.0)
    error = np.where(near, np.hypot(field.spread_m, _BORROWED_M), scene.spread_m if scene.known else 0.0)
    if scene.contradictory:
        error = np.where(near, error, np.inf)
    source = np.where(near, NEIGHBOURS, SCENE if scene.known else NONE).astype(object)
    return LocalShifts(shift, source, error)


def refine(
    surrounding: LocalShifts,
    samples: Samples,
    surroundings_m: NDArray[np.float64],
    x_m: NDArray[np.float64],
    y_m: NDArray[np.float64],
    *,
    radius_m: float,
    rng: np.random.Generator,
) -> LocalShifts:
    """Add what matches close to each place say beyond its surroundings, as far as it is no noise.

    What the close matches deviate from their surroundings is lean, debris and error, and nothing in one match tells
    them apart. But what is real, a match shares with those beside it: how well they foretell each other is the share
    that is taken. Where the close matches contradict each other or their surroundings, nothing is added.

    Args:
        surrounding: the shifts of M places by their surroundings.
        samples: the close matches.
        surroundings_m: [N, 2], the shift that the surroundings say where each sample is.
        x_m: [M], in the samples' CRS.
        y_m: [M].
        radius_m: how far close matches may be.
        rng: see `neighbour_trust`.
    """
    beyond = replace(samples, shift_m=samples.shift_m - surroundings_m)
    level = level_field(beyond)
    trust = neighbour_trust(beyond, level, radius_m, rng)
    field = local_field(beyond, x_m, y_m, scene=level, radius_m=radius_m, trust=trust, neighbours=_CLOSE)
    most_m = np.maximum(
        _GATE_M, 3 * np.hypot(field.spread_m, np.where(np.isfinite(surrounding.error_m), surrounding.error_m, 0))
    )
    usable = (field.support >= 1) & (field.conflict <= 1 - _LEAST_SHARE) & (surrounding.source != NONE)
    usable &= np.abs(field.shift_m).max(axis=1) <= most_m
    return LocalShifts(
        shift_m=surrounding.shift_m + np.where(usable[:, None], field.shift_m, 0.0),
        source=np.where(usable, OWN, surrounding.source).astype(object),
        error_m=np.where(usable, np.hypot(field.spread_m, _BORROWED_M), surrounding.error_m),
    )


_CHUNK = 20_000

_MOST_SCATTER_M = 1.5
_MOST_FORETOLD = 2000
_PRIOR_TRUST = 0.5
_PRIOR_SAMPLES = 4


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
        weight /= samples.error_m[index] ** 2 + (2 * FLOOR_M) ** 2
        tolerance = AGREE_M + 2 * np.hypot(samples.error_m[index], scatter_m)
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
    most = 3 * max(scene.spread_m, FLOOR_M)
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
    for _ in range(ROUNDS):
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

"""From what was measured at a place, around it and over its scene to the shift that is applied there."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from damage_ssl.event.registration.field import Samples, SceneField, level_field, local_field, neighbour_trust

OWN, NEIGHBOURS, SCENE, NONE = "own", "neighbours", "scene", "none"
_GATE_M = 1.5
_LEAST_SHARE = 0.5
_BORROWED_M = 0.25
_CLOSE = 9


@dataclass(frozen=True)
class Settled:
    """The shift applied at each of M places.

    `shift_m` [M, 2], metres east and north, always finite; `source` [M]: `own`, `neighbours`, `scene` or `none`;
    `error_m` [M], its expected error along one axis (0 where nothing speaks against no shift at all, infinite where
    the scene's matches contradict each other and none is near).
    """

    shift_m: NDArray[np.float64]
    source: NDArray[np.object_]
    error_m: NDArray[np.float64]

    def take(self, rows: NDArray[np.intp]) -> "Settled":
        """The places at these rows."""
        return Settled(self.shift_m[rows], self.source[rows], self.error_m[rows])


def settle(
    samples: Samples,
    x_m: NDArray[np.float64],
    y_m: NDArray[np.float64],
    *,
    scene: SceneField,
    radius_m: float,
    trust: float = 1.0,
) -> Settled:
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
    return Settled(shift, source, error)


def refine(
    settled: Settled,
    samples: Samples,
    surroundings_m: NDArray[np.float64],
    x_m: NDArray[np.float64],
    y_m: NDArray[np.float64],
    *,
    radius_m: float,
    rng: np.random.Generator,
) -> Settled:
    """Add what matches close to each place say beyond its surroundings, as far as it is no noise.

    What the close matches deviate from their surroundings is lean, debris and error, and nothing in one match tells
    them apart. But what is real, a match shares with those beside it: how well they foretell each other is the share
    that is taken. Where the close matches contradict each other or their surroundings, nothing is added.

    Args:
        settled: the shifts of M places by their surroundings.
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
        _GATE_M, 3 * np.hypot(field.spread_m, np.where(np.isfinite(settled.error_m), settled.error_m, 0))
    )
    usable = (field.support >= 1) & (field.conflict <= 1 - _LEAST_SHARE) & (settled.source != NONE)
    usable &= np.abs(field.shift_m).max(axis=1) <= most_m
    return Settled(
        shift_m=settled.shift_m + np.where(usable[:, None], field.shift_m, 0.0),
        source=np.where(usable, OWN, settled.source).astype(object),
        error_m=np.where(usable, np.hypot(field.spread_m, _BORROWED_M), settled.error_m),
    )

"""From what was measured at a place, around it and over its scene to the shift that is applied there."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from damage_ssl.event.registration.field import Samples, SceneField, local_field

OWN, NEIGHBOURS, SCENE, NONE = "own", "neighbours", "scene", "none"
_GATE_M = 1.5
_LEAST_SHARE = 0.5
_LONE_PRIOR_M = 1.0
_LEAN_M = 0.15
_BORROWED_M = 0.25


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


def settle(
    samples: Samples,
    x_m: NDArray[np.float64],
    y_m: NDArray[np.float64],
    *,
    scene: SceneField,
    radius_m: float,
    trust: float = 1.0,
    own: NDArray[np.intp] | None = None,
) -> Settled:
    """Settle the shift of M places that one pair of scenes shows.

    A place's own match counts where it is not outlying: it is averaged with the field of the samples around it, each by
    the inverse of its variance: where all is smooth the field weighs more, among leaning towers as much as the own
    match. Without a usable own match the neighbours' agreement is taken, farther from any the scene's field, and where
    the scene has none (or one that most of its samples disagree with), 0.

    Args:
        samples: all trusted matches of the pair of scenes.
        x_m: [M], in the samples' CRS.
        y_m: [M].
        scene: the field over the whole scene.
        radius_m: neighbours are no farther away than this.
        trust: see `neighbour_trust`.
        own: [M], the row in `samples` of the place's own match, -1 where it has none.
    """
    count = len(x_m)
    own = np.full(count, -1, dtype=np.intp) if own is None else own
    field = local_field(samples, x_m, y_m, scene=scene, radius_m=radius_m, trust=trust, leave_out=own)
    whole = scene.at(x_m, y_m)
    scene_known = scene.samples > 0 and scene.agreeing >= _LEAST_SHARE
    apart = np.abs(field.shift_m - whole).max(axis=1)
    # One neighbour alone may be the one match in a hundred that is an accident.
    near = (field.support >= 2) | ((field.support >= 1) & scene_known & (apart <= 2 * _GATE_M))
    near &= field.conflict <= 1 - _LEAST_SHARE

    shift = np.where(near[:, None], field.shift_m, whole if scene_known else 0.0)
    error = np.where(near, np.hypot(field.spread_m, _BORROWED_M), scene.spread_m if scene_known else 0.0)
    if not scene_known and scene.samples > 2:
        error = np.where(near, error, np.inf)
    source = np.where(near, NEIGHBOURS, SCENE if scene_known else NONE).astype(object)

    has = np.flatnonzero(own >= 0)
    if len(has):
        mine, mine_error = samples.shift_m[own[has]], samples.error_m[own[has]]
        expected, spread = shift[has], error[has]
        miss = np.abs(mine - expected).max(axis=1)
        usable = np.where(
            source[has] == NONE, scene.samples <= 2, miss <= np.maximum(_GATE_M, 3 * np.hypot(spread, mine_error))
        )
        # The scatter around is lean, which is real, and error of the matches beyond what their peaks promise; nothing
        # tells the two apart, so half is taken for each.
        half = np.where(near[has], (spread**2 - _BORROWED_M**2) / 2, _LONE_PRIOR_M**2)
        differ, noise = np.maximum(half, _LEAN_M**2), np.maximum(half, mine_error**2)
        weight = np.where(source[has] == NONE, 1.0, differ / (differ + noise))[:, None]
        settled = expected + weight * (mine - expected)
        keep = has[usable]
        shift[keep] = settled[usable]
        error[keep] = np.sqrt(weight[:, 0] * noise)[usable]
        source[keep] = OWN
    return Settled(shift, source, error)

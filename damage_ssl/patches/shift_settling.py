"""From matches to the shifts of buildings, pair of scenes by pair of scenes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from damage_ssl.event.registration import Matches, Samples, SceneField, Settled, fit_scene, neighbour_trust, settle
from damage_ssl.patches.batches import Batch, Batches
from damage_ssl.patches.nudges import Nudge
from damage_ssl.patches.shift_measuring import Measured
from damage_ssl.settings import PatchSettings

OUTLINE_SIGNIFICANCE = 5.0
"""Outlines are few and parallel: their accidental matches reach higher than those between two images."""
NARROW_SIGNIFICANCE = 4.0
"""A building's own search is small, and its surroundings have said where to look."""
NUDGE = "nudge"
_OUTLINE_RADII = 2.0  # footprints are shifted as a whole or by the block; a single roof is ambiguous
_WINDOW_ERROR_M = 0.25  # a window's shift is that of the ground and all roofs around, not of the one building
_SCENE_SAMPLES = 4096
_LEAST_SAMPLES = 3
Key = tuple[object, ...]


@dataclass(frozen=True)
class Found:
    """The shifts of all N footprints, in the order of the footprints file: in pre, and of post against pre."""

    footprint: Settled
    footprint_score: NDArray[np.float64]
    pair: Settled
    pair_score: NDArray[np.float64]
    pre_image: NDArray[np.object_]
    post_image: NDArray[np.object_]
    misaligned: NDArray[np.bool_]

    @classmethod
    def nothing(cls, count: int) -> "Found":
        """No shift anywhere."""
        nobody, unknown = np.full(count, None, dtype=object), np.full(count, np.nan)
        return cls(_unmoved(count), unknown, _unmoved(count), unknown, nobody, nobody, np.zeros(count, dtype=bool))


@dataclass(frozen=True)
class _Group:
    """The trusted matches of one pair of scenes (or of one pre scene with its outlines), and the field through them."""

    samples: Samples
    scene: SceneField
    trust: float


_NOTHING = _Group(
    Samples(np.zeros(0), np.zeros(0), np.zeros((0, 2)), np.zeros(0)),
    SceneField(np.zeros(2), np.zeros(2), np.zeros((2, 2)), np.inf, 0.0, 0),
    0.0,
)


class Surroundings:
    """What the wide windows say of the places around them."""

    def __init__(self, windows: Measured, settings: PatchSettings, nudges: Mapping[str, Nudge]) -> None:
        self._settings, self._nudges = settings, nudges
        seen = np.flatnonzero(
            [a is not None and b is not None for a, b in zip(windows.pre_image, windows.post_image, strict=True)]
        )
        self._windows = windows
        self._seen = {epsg: seen[windows.epsg[seen] == epsg] for epsg in np.unique(windows.epsg[seen]).tolist()}
        self._trees = {
            epsg: cKDTree(np.column_stack([windows.x_m[rows], windows.y_m[rows]])) for epsg, rows in self._seen.items()
        }
        images = (windows.pre_image, windows.post_image)
        self._pairs = _groups(windows, windows.pairs, windows.pairs.trusted, images, settings.align_radius_m)
        self._outlines: dict[Key, _Group] = {}
        if windows.outlines is not None:
            trusted = windows.outlines.trusted_from(OUTLINE_SIGNIFICANCE)
            self._outlines = _groups(
                windows, windows.outlines, trusted, images[:1], _OUTLINE_RADII * settings.align_radius_m
            )

    def placed(self, batch: Batch) -> Batch:
        """The batch with the offsets that the surroundings of each building say."""
        found = self._at(np.full(len(batch), batch.epsg, dtype=np.int64), batch.x_m, batch.y_m)
        pre_m = found.footprint.shift_m
        return batch.with_offsets(pre_m, pre_m + found.pair.shift_m)

    def found(self, batches: Batches) -> Found:
        """The shifts of all buildings from their surroundings alone (or, with align = off, from nudges alone)."""
        parts, numbers = [], []
        for batch in batches:
            parts.append(self._at(np.full(len(batch), batch.epsg, dtype=np.int64), batch.x_m, batch.y_m))
            numbers.append(batch.number)
        return self._checked(_in_order(parts, np.concatenate(numbers)))

    def refined(self, narrow: Measured) -> Found:
        """The shifts of all buildings from their own matches, their neighbours' and their surroundings."""
        found = self._at(narrow.epsg, narrow.x_m, narrow.y_m)
        own_m = narrow.expected_m + narrow.pairs.shift_m
        trusted = narrow.pairs.trusted_from(NARROW_SIGNIFICANCE)
        shift, error = found.pair.shift_m.copy(), found.pair.error_m.copy()
        source = found.pair.source.copy()
        every = Samples(narrow.x_m, narrow.y_m, own_m, narrow.pairs.error_m)
        for key, rows in _keys(narrow.epsg, narrow.pre_image, narrow.post_image):
            mine = rows[trusted[rows]]
            wide = self._known(self._pairs, key)
            own = np.full(len(narrow.number), -1, dtype=np.intp)
            own[mine] = np.arange(len(mine))
            together = _joined(every.take(mine), wide.samples)
            # Buildings are many, and each was searched for close to where the windows say.
            group = _group(together, self._settings.align_radius_m)
            settled = settle(
                together,
                narrow.x_m[rows],
                narrow.y_m[rows],
                scene=group.scene,
                radius_m=self._settings.align_radius_m,
                trust=group.trust,
                own=own[rows],
            )
            shift[rows], error[rows], source[rows] = settled.shift_m, settled.error_m, settled.source
        pair = self._nudged(Settled(shift, source, error), narrow.post_image)
        unseen = (narrow.pre_image == None) | (narrow.post_image == None)  # noqa: E711 (elementwise)
        for settled in (pair, found.footprint):
            settled.shift_m[unseen], settled.source[unseen], settled.error_m[unseen] = 0.0, "none", 0.0
        refined = replace(
            found,
            pair=pair,
            footprint_score=np.where(unseen, np.nan, found.footprint_score),
            pair_score=np.where(narrow.pairs.score > 0, narrow.pairs.score, np.nan),
            pre_image=narrow.pre_image,
            post_image=narrow.post_image,
        )
        return self._checked(_in_order([refined], narrow.number))

    def _at(self, epsg: NDArray[np.int64], x_m: NDArray[np.float64], y_m: NDArray[np.float64]) -> Found:
        """The shifts at these places, as far as the wide windows know them."""
        count = len(x_m)
        out = Found.nothing(count)
        pre_image, post_image = out.pre_image.copy(), out.post_image.copy()
        footprint_score, pair_score = out.footprint_score.copy(), out.pair_score.copy()
        for zone in np.unique(epsg).tolist():
            here = np.flatnonzero(epsg == zone)
            if zone not in self._trees:
                continue
            _, nearest = self._trees[zone].query(np.column_stack([x_m[here], y_m[here]]))
            window = self._seen[zone][nearest]
            pre_image[here], post_image[here] = self._windows.pre_image[window], self._windows.post_image[window]
            if self._windows.outlines is not None:
                score = self._windows.outlines.score[window]
                footprint_score[here] = np.where(score > 0, score, np.nan)
            score = self._windows.pairs.score[window]
            pair_score[here] = np.where(score > 0, score, np.nan)
        if self._settings.align == "off":
            footprint, pair = out.footprint, out.pair
        else:
            radius_m = self._settings.align_radius_m
            footprint = self._settled(
                self._outlines, _keys(epsg, pre_image), x_m, y_m, radius_m=_OUTLINE_RADII * radius_m
            )
            pair = self._settled(self._pairs, _keys(epsg, pre_image, post_image), x_m, y_m, radius_m=radius_m)
        return replace(
            out,
            footprint=self._nudged(footprint, pre_image),
            pair=self._nudged(pair, post_image),
            footprint_score=footprint_score,
            pair_score=pair_score,
            pre_image=pre_image,
            post_image=post_image,
        )

    def _settled(
        self,
        groups: Mapping[Key, _Group],
        keys: Iterator[tuple[Key, NDArray[np.intp]]],
        x_m: NDArray[np.float64],
        y_m: NDArray[np.float64],
        *,
        radius_m: float,
    ) -> Settled:
        out = _unmoved(len(x_m))
        for key, rows in keys:
            group = self._known(groups, key)
            # Per scene, no neighbour is asked.
            samples = group.samples if self._settings.align == "building" else _NOTHING.samples
            part = settle(samples, x_m[rows], y_m[rows], scene=group.scene, radius_m=radius_m, trust=group.trust)
            out.shift_m[rows], out.source[rows], out.error_m[rows] = part.shift_m, part.source, part.error_m
        return out

    @staticmethod
    def _known(groups: Mapping[Key, _Group], key: Key) -> _Group:
        """The matches of these scenes; where they have too few, those of the whole zone: tiles of one flight agree."""
        group = groups.get(key, _NOTHING)
        return group if group.scene.samples >= _LEAST_SAMPLES else groups.get(key[:1], _NOTHING)

    def _nudged(self, settled: Settled, image: NDArray[np.object_]) -> Settled:
        for scene_id, nudge in self._nudges.items():
            rows = np.flatnonzero(image == scene_id)
            settled.shift_m[rows] = (nudge.east_m, nudge.north_m)
            settled.source[rows], settled.error_m[rows] = NUDGE, 0.0
        return settled

    def _checked(self, found: Found) -> Found:
        """Name those that are misaligned, and leave out shifts beyond the reach."""
        reach_m, tolerance_m = self._settings.align_reach_m, self._settings.align_tolerance_m
        misaligned = np.zeros(len(found.misaligned), dtype=bool)
        for settled in (found.footprint, found.pair):
            by_hand = settled.source == NUDGE
            too_far = (np.hypot(*settled.shift_m.T) > reach_m) & ~by_hand
            settled.shift_m[too_far], settled.source[too_far] = 0.0, "none"
            misaligned |= too_far
        # What footprints say of themselves is no evidence against a building: many were drawn for another year.
        misaligned |= (found.pair.error_m > tolerance_m) & (found.pair.source != NUDGE)
        return replace(found, misaligned=misaligned)


def _keys(epsg: NDArray[np.int64], *images: NDArray[np.object_]) -> Iterator[tuple[Key, NDArray[np.intp]]]:
    """Rows of each zone and scene (or pair of scenes); places without a scene are left out."""
    rows: dict[Key, list[int]] = {}
    for row, key in enumerate(zip(epsg.tolist(), *(image.tolist() for image in images), strict=True)):
        if None not in key:
            rows.setdefault(key, []).append(row)
    for key in sorted(rows, key=str):
        yield key, np.array(rows[key], dtype=np.intp)


def _groups(
    windows: Measured,
    matches: Matches,
    trusted: NDArray[np.bool_],
    images: tuple[NDArray[np.object_], ...],
    radius_m: float,
) -> dict[Key, _Group]:
    """The groups of each zone's scenes (or pairs of scenes), and of each zone as a whole."""
    return {
        key: _group(_samples(windows, matches, rows[trusted[rows]], _WINDOW_ERROR_M), radius_m)
        for key, rows in [*_keys(windows.epsg, *images), *_keys(windows.epsg)]
    }


def _samples(where: Measured, matches: Matches, rows: NDArray[np.intp], error_m: float) -> Samples:
    return Samples(where.x_m[rows], where.y_m[rows], matches.shift_m[rows], np.hypot(matches.error_m[rows], error_m))


def _group(samples: Samples, radius_m: float) -> _Group:
    # Thousands of samples say no more about a scene's six numbers; every so-many-th is as well spread as all.
    few = samples.take(np.arange(0, len(samples), max(1, -(-len(samples) // _SCENE_SAMPLES))))
    scene = fit_scene(few, np.random.default_rng(0))
    return _Group(samples, scene, neighbour_trust(samples, scene, radius_m, np.random.default_rng(1)))


def _joined(one: Samples, other: Samples) -> Samples:
    return Samples(
        np.concatenate([one.x_m, other.x_m]),
        np.concatenate([one.y_m, other.y_m]),
        np.concatenate([one.shift_m, other.shift_m]),
        np.concatenate([one.error_m, other.error_m]),
    )


def _unmoved(count: int) -> Settled:
    return Settled(np.zeros((count, 2)), np.full(count, "none", dtype=object), np.zeros(count))


def _in_order(parts: list[Found], number: NDArray[np.intp]) -> Found:
    """Parts joined, and brought into the order of the footprints file."""
    order = np.argsort(number)

    def settled(name: str) -> Settled:
        each = [getattr(part, name) for part in parts]
        return Settled(
            *(np.concatenate([getattr(one, key) for one in each])[order] for key in ("shift_m", "source", "error_m"))
        )

    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])[order]
        for name in ("footprint_score", "pair_score", "pre_image", "post_image", "misaligned")
    }
    return Found(footprint=settled("footprint"), pair=settled("pair"), **arrays)

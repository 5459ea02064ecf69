"""From matches to the shifts of buildings, pair of scenes by pair of scenes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from damage_ssl.mosaic.batches import Batches, BuildingBatch
from damage_ssl.registration.correlation import Matches
from damage_ssl.registration.local_shift import NEIGHBOURS, OWN, LocalShifts, local_shifts, neighbour_trust, refine
from damage_ssl.registration.manual_shift import ManualShift
from damage_ssl.registration.scene_field import Samples, SceneField, fit_scene
from damage_ssl.registration.shift_matching import WindowMatches
from damage_ssl.settings import PatchSettings

OUTLINE_SIGNIFICANCE = 5.0
"""Outlines are few and parallel: their accidental matches reach higher than those between two images."""
CLOSE_SIGNIFICANCE = 4.0
"""A close window's search is small, and its surroundings have said where to look."""
BY_HAND = "nudge"
_OUTLINE_RADII = 2.0  # footprints are shifted as a whole or by the block; a single roof is ambiguous
_WINDOW_ERROR_M = 0.25  # a window's shift is that of the ground and all roofs around, not of the one building
_CLOSE_CELLS = 1.5  # close matches within so many widths of their lattice speak for a place
_SCENE_SAMPLES = 4096
_LEAST_SAMPLES = 3
Key = tuple[object, ...]


@dataclass(frozen=True)
class Found:
    """The shifts of all N footprints, in the order of the footprints file: in pre, and of post against pre."""

    footprint: LocalShifts
    footprint_score: NDArray[np.float64]
    pair: LocalShifts
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
class DrawnPlaces:
    """Where all N footprints are drawn: the centres of their bounding boxes, in the order of the footprints file."""

    epsg: NDArray[np.int64]
    x_m: NDArray[np.float64]
    y_m: NDArray[np.float64]

    @classmethod
    def of(cls, batches: Batches) -> "DrawnPlaces":
        """The places of all buildings of the batches."""
        count = sum(batches.sizes())
        out = cls(np.zeros(count, dtype=np.int64), np.zeros(count), np.zeros(count))
        for batch in batches:
            out.epsg[batch.number], out.x_m[batch.number], out.y_m[batch.number] = batch.epsg, batch.x_m, batch.y_m
        return out

    def moved(self, shift_m: NDArray[np.float64]) -> "DrawnPlaces":
        """The same, moved by metres east and north [N, 2]."""
        return replace(self, x_m=self.x_m + shift_m[:, 0], y_m=self.y_m + shift_m[:, 1])


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


class MatchedWindows:
    """The windows that both dates hold, looked up by place."""

    def __init__(self, windows: WindowMatches) -> None:
        self._windows = windows
        seen = np.flatnonzero((windows.pre_image != None) & (windows.post_image != None))  # noqa: E711 (elementwise)
        self._rows = {epsg: seen[windows.epsg[seen] == epsg] for epsg in np.unique(windows.epsg[seen]).tolist()}

    def nearest(
        self, epsg: NDArray[np.int64], x_m: NDArray[np.float64], y_m: NDArray[np.float64], within_m: float = np.inf
    ) -> tuple[NDArray[np.object_], NDArray[np.object_], NDArray[np.intp]]:
        """Of each place's nearest window: its pre image, its post image (None without one) and its row (-1)."""
        row = np.full(len(x_m), -1, dtype=np.intp)
        for zone, rows in self._rows.items():
            here = np.flatnonzero(epsg == zone)
            tree = cKDTree(np.column_stack([self._windows.x_m[rows], self._windows.y_m[rows]]))
            distance, index = tree.query(np.column_stack([x_m[here], y_m[here]]), distance_upper_bound=within_m)
            near = np.isfinite(distance)
            row[here[near]] = rows[index[near]]
        pre_image, post_image = (np.full(len(row), None, dtype=object) for _ in range(2))
        known = np.flatnonzero(row >= 0)
        pre_image[known] = self._windows.pre_image[row[known]]
        post_image[known] = self._windows.post_image[row[known]]
        return pre_image, post_image, row


class Surroundings:
    """What the wide windows say of the places around them."""

    def __init__(
        self, windows: WindowMatches, settings: PatchSettings, manual_shifts: Mapping[str, ManualShift]
    ) -> None:
        self._settings, self._manual_shifts = settings, manual_shifts
        self._windows = windows
        self._seen = MatchedWindows(windows)
        images = (windows.pre_image, windows.post_image)
        self._pairs = _groups(windows, windows.pairs, windows.pairs.trusted, images, settings.align_radius_m)
        self._outlines: dict[Key, _Group] = {}
        if windows.outlines is not None:
            trusted = windows.outlines.trusted_from(OUTLINE_SIGNIFICANCE)
            self._outlines = _groups(
                windows, windows.outlines, trusted, images[:1], _OUTLINE_RADII * settings.align_radius_m
            )

    def placed(self, batch: BuildingBatch) -> BuildingBatch:
        """A batch of places in the pre imagery, with the offsets to where they are in the post imagery."""
        zone = np.full(len(batch), batch.epsg, dtype=np.int64)
        pre_image, post_image, _ = self._seen.nearest(zone, batch.x_m, batch.y_m)
        pair = self._shifts_of(
            self._pairs, _keys(zone, pre_image, post_image), batch.x_m, batch.y_m, self._settings.align_radius_m
        )
        return batch.with_offsets(np.zeros((len(batch), 2)), self._with_manual_shifts(pair, post_image).shift_m)

    def found(self, places: DrawnPlaces) -> Found:
        """The shifts at these places, as far as the wide windows know them; with align = off by manual shifts alone."""
        radius_m, outlines_m = self._settings.align_radius_m, _OUTLINE_RADII * self._settings.align_radius_m
        pre_image, post_image, window = self._seen.nearest(places.epsg, places.x_m, places.y_m)
        footprint, pair = _unmoved(len(window)), _unmoved(len(window))
        if self._settings.align != "off":
            keys = _keys(places.epsg, pre_image)
            footprint = self._shifts_of(self._outlines, keys, places.x_m, places.y_m, outlines_m)
            at = places.moved(footprint.shift_m)
            pair = self._shifts_of(self._pairs, _keys(at.epsg, pre_image, post_image), at.x_m, at.y_m, radius_m)
        return Found(
            footprint=self._with_manual_shifts(footprint, pre_image),
            footprint_score=_score_of(self._windows.outlines, window),
            pair=self._with_manual_shifts(pair, post_image),
            pair_score=_score_of(self._windows.pairs, window),
            pre_image=pre_image,
            post_image=post_image,
            misaligned=np.zeros(len(window), dtype=bool),
        )

    def refined(self, places: DrawnPlaces, found: Found, close: WindowMatches, within_m: float) -> Found:
        """The shifts of all buildings from the close windows around them and from their surroundings.

        A building without a close window within `within_m` that both dates hold is in none of the images.
        """
        at = places.moved(found.footprint.shift_m)
        pre_image, post_image, window = MatchedWindows(close).nearest(at.epsg, at.x_m, at.y_m, within_m)
        pair = _unmoved(len(window))
        trusted = close.pairs.trusted_from(CLOSE_SIGNIFICANCE)
        every = Samples(close.x_m, close.y_m, close.expected_m + close.pairs.shift_m, close.pairs.error_m)
        measured = dict(_keys(close.epsg, close.pre_image, close.post_image))
        for key, rows in _keys(at.epsg, pre_image, post_image):
            samples = every.take(measured[key][trusted[measured[key]]])
            _enter(pair, rows, self._refined(self._known(self._pairs, key), samples, at, rows, within_m))
        lent = (pair.source == OWN) & ~(trusted[window] if len(trusted) else False)
        pair.source[lent] = NEIGHBOURS
        unseen = window < 0
        footprint = _unmoved(len(window))
        seen = np.flatnonzero(~unseen)
        _enter(footprint, seen, found.footprint.take(seen))
        return replace(
            found,
            footprint=footprint,
            pair=self._with_manual_shifts(pair, post_image),
            footprint_score=np.where(unseen, np.nan, found.footprint_score),
            pair_score=_score_of(close.pairs, window),
            pre_image=pre_image,
            post_image=post_image,
        )

    def _refined(
        self, wide: _Group, close: Samples, places: DrawnPlaces, rows: NDArray[np.intp], spacing_m: float
    ) -> LocalShifts:
        """The shifts of one pair of scenes at some of the places."""
        x_m, y_m, radius_m = places.x_m[rows], places.y_m[rows], self._settings.align_radius_m
        if not wide.scene.known:
            # Accidents of a search around nothing agree with each other: they all lie within its small reach.
            return local_shifts(wide.samples, x_m, y_m, scene=wide.scene, radius_m=radius_m, trust=wide.trust)
        group = _group(_joined(close, wide.samples), radius_m)
        shifts = partial(local_shifts, group.samples, scene=group.scene, radius_m=radius_m, trust=group.trust)
        return refine(
            shifts(x_m, y_m),
            close,
            shifts(close.x_m, close.y_m).shift_m,
            x_m,
            y_m,
            radius_m=min(_CLOSE_CELLS * spacing_m, radius_m),
            rng=np.random.default_rng(2),
        )

    def _shifts_of(
        self,
        groups: Mapping[Key, _Group],
        keys: Iterator[tuple[Key, NDArray[np.intp]]],
        x_m: NDArray[np.float64],
        y_m: NDArray[np.float64],
        radius_m: float,
    ) -> LocalShifts:
        out = _unmoved(len(x_m))
        for key, rows in keys:
            group = self._known(groups, key)
            # Per scene, no neighbour is asked.
            samples = group.samples if self._settings.align == "building" else _NOTHING.samples
            part = local_shifts(samples, x_m[rows], y_m[rows], scene=group.scene, radius_m=radius_m, trust=group.trust)
            _enter(out, rows, part)
        return out

    @staticmethod
    def _known(groups: Mapping[Key, _Group], key: Key) -> _Group:
        """The matches of these scenes; where they say too little, of the whole zone: tiles of one flight agree."""
        group = groups.get(key, _NOTHING)
        enough = group.scene.samples >= _LEAST_SAMPLES and group.scene.known
        return group if enough else groups.get(key[:1], _NOTHING)

    def _with_manual_shifts(self, shifts: LocalShifts, image: NDArray[np.object_]) -> LocalShifts:
        for scene_id, manual_shift in self._manual_shifts.items():
            rows = np.flatnonzero(image == scene_id)
            shifts.shift_m[rows] = (manual_shift.east_m, manual_shift.north_m)
            shifts.source[rows], shifts.error_m[rows] = BY_HAND, 0.0
        return shifts

    def checked(self, found: Found) -> Found:
        """Name those that are misaligned, and leave out shifts beyond the reach."""
        reach_m, tolerance_m = self._settings.align_reach_m, self._settings.align_tolerance_m
        misaligned = np.zeros(len(found.misaligned), dtype=bool)
        for shifts in (found.footprint, found.pair):
            by_hand = shifts.source == BY_HAND
            too_far = (np.hypot(*shifts.shift_m.T) > reach_m) & ~by_hand
            shifts.shift_m[too_far], shifts.source[too_far] = 0.0, "none"
            misaligned |= too_far
        # What footprints say of themselves is no evidence against a building: many were drawn for another year.
        misaligned |= (found.pair.error_m > tolerance_m) & (found.pair.source != BY_HAND)
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
    windows: WindowMatches,
    matches: Matches,
    trusted: NDArray[np.bool_],
    images: tuple[NDArray[np.object_], ...],
    radius_m: float,
) -> dict[Key, _Group]:
    """The groups of each zone's scenes (or pairs of scenes), and of each zone as a whole."""
    return {
        key: _group(
            _samples(windows, matches, rows[trusted[rows]], _WINDOW_ERROR_M),
            radius_m,
            tried=int(np.isfinite(matches.shift_x_m[rows]).sum()),
        )
        for key, rows in [*_keys(windows.epsg, *images), *_keys(windows.epsg)]
    }


def _samples(where: WindowMatches, matches: Matches, rows: NDArray[np.intp], error_m: float) -> Samples:
    return Samples(where.x_m[rows], where.y_m[rows], matches.shift_m[rows], np.hypot(matches.error_m[rows], error_m))


def _group(samples: Samples, radius_m: float, *, tried: int = 0) -> _Group:
    # Thousands of samples say no more about a scene's six numbers; every so-many-th is as well spread as all.
    step = max(1, -(-len(samples) // _SCENE_SAMPLES))
    few = samples.take(np.arange(0, len(samples), step))
    scene = fit_scene(few, np.random.default_rng(0), tried=tried // step)
    return _Group(samples, scene, neighbour_trust(samples, scene, radius_m, np.random.default_rng(1)))


def _joined(one: Samples, other: Samples) -> Samples:
    return Samples(
        np.concatenate([one.x_m, other.x_m]),
        np.concatenate([one.y_m, other.y_m]),
        np.concatenate([one.shift_m, other.shift_m]),
        np.concatenate([one.error_m, other.error_m]),
    )


def _unmoved(count: int) -> LocalShifts:
    return LocalShifts(np.zeros((count, 2)), np.full(count, "none", dtype=object), np.zeros(count))


def _enter(out: LocalShifts, rows: NDArray[np.intp], part: LocalShifts) -> None:
    out.shift_m[rows], out.source[rows], out.error_m[rows] = part.shift_m, part.source, part.error_m


def _score_of(matches: Matches | None, window: NDArray[np.intp]) -> NDArray[np.float64]:
    """The score of each place's window; NaN where there is none, or no match was made in it."""
    if matches is None or not len(matches.score):
        return np.full(len(window), np.nan)
    score = matches.score[window]
    return np.where((window >= 0) & (score > 0), score, np.nan)

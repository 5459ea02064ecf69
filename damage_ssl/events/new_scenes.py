"""New acquisitions of an event that is there already: checked, then added to its scenes; all else stays as it is."""

import filecmp
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely

from damage_ssl.errors import InputError
from damage_ssl.events.coverage import extent_of, place_words
from damage_ssl.events.event import Event
from damage_ssl.events.inputs import Asked, expand_rasters, inspect_rasters
from damage_ssl.events.stac import write_more_scenes
from damage_ssl.files import locked
from damage_ssl.imagery.href import is_url, shown_href
from damage_ssl.imagery.scene import Role, Scene

_BEYOND_SHARE = 0.05
"""Of a new scene this much may lie beyond the earlier imagery without a word."""


@dataclass(frozen=True, kw_only=True)
class SceneAddition:
    """What became of rasters that were to be added to an event.

    `added` are its new scenes, with the number of footprints that each touches in `touched`, by id; `known` names the
    rasters that were the event's before, with the scene that they are; `beyond` the new scenes of an event without an
    AOI that reach beyond the earlier imagery, where it may lack footprints.
    """

    added: tuple[Scene, ...]
    touched: dict[str, int]
    known: dict[str, str]
    beyond: tuple[str, ...]


def add_scenes(
    event: Event,
    *,
    pre: Sequence[str | Path] = (),
    post: Sequence[str | Path] = (),
    pre_datetime: str | None = None,
    post_datetime: str | None = None,
) -> SceneAddition:
    """Add rasters to an event as scenes: all of them that it has not yet, or after any error none.

    Footprints, labels, patches and runs are not touched. Patches and maps are those of the earlier scenes until
    `cut_patches` is called, which then cuts all of them anew, each from the scene that shows it best. The same raster
    under another name (a link, a copy, another signature in its address) is the same raster.

    Args:
        event: the event.
        pre: rasters of before: files, folders, globs or URLs.
        post: rasters of after.
        pre_datetime: when those of before were taken (ISO 8601), where the files do not say.
        post_datetime: when those of after were taken.

    Raises:
        InputError: no raster was given; one cannot be used, touches none of the event's footprints, or is the event's
            already with the other role. WorkspaceError: somebody else is adding scenes to the event.
        StorageError: the disk is full or read-only.

    Examples:
        >>> add_scenes(event, post=[event.scenes("post")[0].href]).added
        ()
    """
    asked: list[tuple[Role, Sequence[str | Path], str | None]] = [
        ("pre", pre, pre_datetime),
        ("post", post, post_datetime),
    ]
    given: list[Asked] = [(role, expand_rasters(paths, role), date) for role, paths, date in asked if paths]
    if not given:
        raise InputError("add-scene: give --post RASTER, or --pre RASTER, with the new imagery")
    busy = f"{event.path}: another process is adding scenes to it; wait for it to end"
    with locked(event.path / ".scenes.lock", busy):
        for left in event.path.glob(".items.*.tmp"):  # of a process that was killed: nobody else is here
            shutil.rmtree(left, ignore_errors=True)
        for begun in event.path.glob(".collection.json.*"):
            begun.unlink(missing_ok=True)
        before = [scene for side in event.pre_and_post() for scene in side]
        known: dict[str, str] = {}
        wanted: list[Asked] = []
        left_out = {href for scene in before for href in scene.left_out}
        seen: dict[str, Role] = {}
        for role, hrefs, date in given:
            new = [href for href in hrefs if href not in left_out and not _is_known(href, role, before, seen, known)]
            wanted.append((role, new, date))
        taken = [scene.scene_id for scene in before]
        bands = {scene.role: scene.bands for scene in before if scene.bands}  # as they were given for that side
        scenes, _ = inspect_rasters(wanted, taken=taken, later=True, bands=bands)
        touched = {scene.scene_id: _touched(event, scene, before) for scene in scenes}
        earlier = extent_of(before)
        beyond = tuple(
            scene.scene_id
            for scene in scenes
            if event.aoi() is None
            and shapely.difference(scene.extent, earlier).area > _BEYOND_SHARE * scene.extent.area
        )
        write_more_scenes(event.path, scenes)
    return SceneAddition(added=tuple(scenes), touched=touched, known=known, beyond=beyond)


def _is_known(href: str, role: Role, before: Sequence[Scene], seen: dict[str, Role], known: dict[str, str]) -> bool:
    """Whether a raster is the event's already, or was named before; what it is goes into `known` or `seen`.

    Raises:
        InputError: it is, on the other side.
    """
    for scene in before:
        if _same_raster(href, scene.href):
            if scene.role != role:
                raise InputError(
                    f"--{role} {shown_href(href)}: is the event's {scene.role} scene {scene.scene_id} already; one "
                    "raster cannot be before and after"
                )
            known[shown_href(href)] = scene.scene_id
            return True
    for other, side in seen.items():
        if _same_raster(href, other):
            if side != role:
                raise InputError(f"{shown_href(href)}: is given as --pre and as --post; give it once")
            return True
    seen[href] = role
    return False


def _same_raster(one: str, other: str) -> bool:
    """Whether two names mean the same raster: the same address but for a signature, the same file, or a copy of it."""
    if shown_href(one) == shown_href(other):
        return True
    if is_url(one) or is_url(other):
        return False
    try:
        return Path(one).samefile(other) or filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False  # an earlier scene that has gone: what is new cannot be it


def _touched(event: Event, scene: Scene, before: Sequence[Scene]) -> int:
    """How many footprints a scene touches; 0 where the event has none yet.

    Raises:
        InputError: it touches none of those that there are, or without any none of the other side's imagery.
    """
    if not event.has_footprints:
        others = extent_of([each for each in before if each.role != scene.role])
        if not scene.extent.intersects(others):
            raise InputError(
                f"{scene.shown_href}: lies away from the event's other imagery: the raster covers "
                f"{place_words(scene.extent.bounds)}, the event {place_words(others.bounds)}; check its CRS and place"
            )
        return 0
    geometry = event.footprints().geometry
    shapely.prepare(scene.extent)
    count = int(np.count_nonzero(shapely.intersects(scene.extent, geometry.to_numpy())))
    if not count:
        raise InputError(
            f"{scene.shown_href}: touches none of the {len(geometry):,} footprints of event '{event.name}': the raster "
            f"covers {place_words(scene.extent.bounds)}, the footprints lie at {place_words(geometry.total_bounds)}; "
            "check its CRS and place, or make another event of it with `damage-ssl init`"
        )
    return count

"""Shifts that a person has set for whole scenes, kept in the event's folder."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from damage_ssl.errors import InputError, WorkspaceError, nearest_name
from damage_ssl.events.event import Event
from damage_ssl.files import read_json, write_json
from damage_ssl.imagery.scene import Scene

_FILE = "nudges.json"
_FARTHEST_M = 200.0


@dataclass(frozen=True)
class ManualShift:
    """A shift in metres east and north, for one scene.

    Of a pre scene: where the footprints are found in it. Of a post scene: how far it is shifted against pre.
    """

    east_m: float
    north_m: float


def manual_shifts_path(event: Event) -> Path:
    """The file with the manual shifts of an event; it need not be there."""
    return event.path / _FILE


def read_manual_shifts(event: Event, scenes: Iterable[Scene]) -> dict[str, ManualShift]:
    """The manual shifts of an event by scene id; those of rasters that are no longer among its `scenes` are left out.

    Raises:
        WorkspaceError: the file is broken.
    """
    hrefs = {scene.scene_id: scene.href for scene in scenes}
    return {
        scene_id: ManualShift(float(entry["east_m"]), float(entry["north_m"]))
        for scene_id, entry in _entries(event).items()
        if hrefs.get(scene_id) == entry["href"]
    }


def set_manual_shift(event: Event, scene_id: str, shift: ManualShift | None) -> None:
    """Set the shift of a scene, which then overrides what is measured there; None takes it back.

    Raises:
        InputError: there is no such scene, or the shift is no sensible number of metres.
        WorkspaceError: the file of the manual shifts is broken.
        StorageError: the disk is full or read-only.
    """
    scenes = {scene.scene_id: scene for scenes in event.pre_and_post() for scene in scenes}
    entries = _entries(event)
    if scene_id not in scenes and not (shift is None and scene_id in entries):
        raise InputError(f"{event.path}: no scene '{scene_id}': {nearest_name(scene_id, scenes)}")
    if shift is None:
        entries.pop(scene_id, None)
    else:
        if not (abs(shift.east_m) <= _FARTHEST_M and abs(shift.north_m) <= _FARTHEST_M):
            raise InputError(
                f"scene '{scene_id}': a nudge of {shift.east_m:g}, {shift.north_m:g} m is out of range; give metres "
                f"east and north, each within ±{_FARTHEST_M:g}"
            )
        href = scenes[scene_id].href
        entries[scene_id] = {"east_m": shift.east_m, "north_m": shift.north_m, "href": href}
    write_json(manual_shifts_path(event), entries)


def _entries(event: Event) -> dict[str, dict[str, str | float]]:
    path = manual_shifts_path(event)
    try:
        entries: dict[str, dict[str, str | float]] = read_json(path)
        for entry in entries.values():
            float(entry["east_m"]), float(entry["north_m"]), str(entry["href"])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkspaceError(f"{path}: is not a file of nudges ({error!r}); delete it and set them again") from error
    return entries

"""The two sides of an event: which rasters a path means, what is known of them (date, sensor, hazard), both checked."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from glob import glob
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from shapely.ops import unary_union

from damage_ssl.errors import InputError, readable
from damage_ssl.events.acquisition_dates import acquisition_date
from damage_ssl.files import read_json
from damage_ssl.imagery.band_swap import swap_note
from damage_ssl.imagery.bands import rgb_indexes
from damage_ssl.imagery.href import is_remote, is_url, raster_stem, shown_href
from damage_ssl.imagery.inspection import inspect_scene, side_by_side
from damage_ssl.imagery.raster import from_raster
from damage_ssl.imagery.raster_roles import NotPhotographError, beside_photographs
from damage_ssl.imagery.scene import Role, Scene
from damage_ssl.settings import FootprintSettings

RASTER_SUFFIXES = {".tif", ".tiff", ".vrt", ".jp2", ".img", ".ntf"}
_WHOLE_RASTER = "it is damaged, or was changed in a way that GDAL does not take; copy or download it again"
_PAN = re.compile(r"(?<![a-z])(?:pan|panchromatic|p1bs|p2as|p3ds)(?![a-z])|(?<=_)P(?=_)", re.IGNORECASE)
_FOURFOLD = (3.8, 4.2)
_SHOWN_TOO = 0.99
_COARSE = 2.0  # times the finest pixel of the side: what is named a preview is one


@dataclass(frozen=True)
class SourceNotes:
    """What an `event.json` beside the rasters says; empty where there is none."""

    hazard: str | None
    source: str | None
    dates: dict[str, str]
    sensors: dict[str, str]

    def date_of(self, role: Role, stem: str) -> str | None:
        """Acquisition time of a scene, or of the whole side."""
        return self.dates.get(f"{role}/{stem}") or self.dates.get(role)


def expand_rasters(paths: Sequence[str | Path], role: Role) -> list[str]:
    """Absolute names of the rasters meant by files, folders and globs, sorted and each once.

    URLs (http, https, s3, gs, az) and GDAL's virtual paths (`/vsi…`) stay as they are.

    Raises:
        InputError: a path does not exist, or a folder or glob holds no raster.
    """
    found: dict[str, None] = {}
    for given in paths:
        text = str(given)
        if text.lower().startswith("file://"):
            text = unquote(urlsplit(text).path)
        if is_url(text):
            _check_url(text, role)
            found[text] = None
            continue
        path = Path(text).expanduser()
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if _is_raster(file))
            if not files:
                raise InputError(f"--{role} {text}: the folder holds no raster ({', '.join(sorted(RASTER_SUFFIXES))})")
        elif path.is_file():
            files = [path]
        elif any(sign in text for sign in "*?["):
            files = sorted(Path(name) for name in glob(str(path), recursive=True) if Path(name).is_file())  # noqa: PTH207
            if not files:
                raise InputError(f"--{role} {text}: no file matches")
        else:
            raise InputError(f"--{role} {text}: no such file or folder")
        found.update((str(file.resolve()), None) for file in files)
    if not found:
        raise InputError(f"--{role}: no raster was given; at least one is needed on each side")
    return list(found)


def read_notes(hrefs: Sequence[str]) -> SourceNotes:
    """Read `event.json` from the rasters' folder or the one above, if there is one.

    Raises:
        InputError: it is not JSON of the shape expected.
    """
    local = [Path(href) for href in hrefs if not is_url(href)]
    folders = {folder: None for path in local for folder in (path.parent, path.parent.parent)}
    for folder in folders:
        path = folder / "event.json"
        if path.is_file():
            try:
                return _notes(read_json(path))
            except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
                raise InputError(
                    f"{path}: notes on the imagery cannot be read ({error!r}); mend the file, or move it away if it is "
                    "not meant for damage_ssl"
                ) from error
    return SourceNotes(None, None, {}, {})


def _is_raster(file: Path) -> bool:
    """Hidden files are none: macOS puts a `._NAME.tif` beside each file on disks that are not its own."""
    return file.suffix.lower() in RASTER_SUFFIXES and not file.name.startswith(".")


def _check_url(text: str, role: Role) -> None:
    if is_remote(text) and (shown_href(text).endswith("/") or "*" in shown_href(text)):
        raise InputError(
            f"--{role} {shown_href(text)}: folders and globs over the network cannot be listed; "
            "give each raster's own URL"
        )


def _notes(values: dict[str, Any]) -> SourceNotes:
    dates: dict[str, str] = {}
    sensors: dict[str, str] = {}
    scenes = values.get("scenes") if isinstance(values.get("scenes"), list) else []
    for entry in [values, *(scenes or [])]:
        prefix = f"/{entry['scene']}" if "scene" in entry else ""
        for role in ("pre", "post"):
            if entry.get(f"{role}_datetime"):
                dates[role + prefix] = str(entry[f"{role}_datetime"])
        if prefix and entry.get("sensor"):
            sensors[prefix[1:]] = str(entry["sensor"])
    hazard, source = values.get("hazard"), values.get("source")
    return SourceNotes(str(hazard) if hazard else None, str(source) if source else None, dates, sensors)


def inspect_sides(
    pre: Sequence[str | Path],
    post: Sequence[str | Path],
    *,
    pre_datetime: str | None,
    post_datetime: str | None,
    bands: Mapping[Role, tuple[int, ...]] | None = None,
) -> tuple[list[Scene], SourceNotes]:
    """Find and check the rasters of both sides; also what an `event.json` beside them says.

    Raises:
        InputError: a raster is missing or cannot be used.
    """
    sides: list[Asked] = [
        ("pre", expand_rasters(pre, "pre"), pre_datetime),
        ("post", expand_rasters(post, "post"), post_datetime),
    ]
    both = set(sides[0][1]) & set(sides[1][1])
    if both:
        raise InputError(
            f"{shown_href(min(both))}: is given as --pre and as --post; an event needs an image of before and one of "
            "after (a folder or glob may mean more than was intended)"
        )
    return inspect_rasters(sides, taken=(), bands=bands)


Asked = tuple[Role, list[str], str | None]
"""Rasters of one side, as `expand_rasters` names them, and the date that was given for them."""


def inspect_rasters(
    sides: Sequence[Asked],
    *,
    taken: Iterable[str],
    later: bool = False,
    bands: Mapping[Role, tuple[int, ...]] | None = None,
) -> tuple[list[Scene], SourceNotes]:
    """Check rasters and describe them as scenes with ids of their own; also what an `event.json` beside them says.

    Masks, height models and previews are left out where a photograph of the same side is there, and named in the notes
    of its first scene. `bands` are the numbers of red, green and blue of a side.

    `taken` are ids that others have. Of `later` acquisitions the notes' date for a whole side is not theirs.

    Raises:
        InputError: a raster cannot be used.
    """
    notes = read_notes([href for _, hrefs, _ in sides for href in hrefs])
    if later:
        notes = dataclasses.replace(notes, dates={name: date for name, date in notes.dates.items() if "/" in name})
    used = set(taken)
    found = [
        (href, _free_id(f"{role}-{re.sub(r'[^A-Za-z0-9._-]+', '-', raster_stem(href))}", used), role, given)
        for role, hrefs, given in sides
        for href in hrefs
    ]

    def inspect(one: tuple[str, str, Role, str | None]) -> Scene | NotPhotographError:
        href, scene_id, role, given = one
        stem = raster_stem(href)
        try:
            with readable(shown_href(href), _WHOLE_RASTER):
                acquired, remarks = acquisition_date(href, role, given, notes.date_of(role, stem))
                return inspect_scene(
                    href,
                    scene_id=scene_id,
                    role=role,
                    acquired=acquired,
                    sensor=notes.sensors.get(stem),
                    bands=None if bands is None else bands.get(role),
                    notes=remarks,
                )
        except NotPhotographError as error:
            return error

    inspected = side_by_side(inspect, found)
    scenes: list[Scene] = []
    for role in ("pre", "post"):
        side = [(href, each) for (href, _, its, _), each in zip(found, inspected, strict=True) if its == role]
        scenes += _photographs(side)
    return _compared(scenes), notes


def _compared(scenes: Sequence[Scene]) -> list[Scene]:
    """The same, with a note at each post scene whose red and blue seem to be swapped against pre."""
    before = [scene for scene in scenes if scene.role == "pre"]
    out = []
    for scene in scenes:
        note = None
        if scene.role == "post" and before:
            shared = [scene.extent.intersection(each.extent).area for each in before]
            note = swap_note(before[shared.index(max(shared))], scene)
        out.append(scene if note is None else dataclasses.replace(scene, notes=(*scene.notes, note)))
    return out


def _photographs(side: Sequence[tuple[str, Scene | NotPhotographError]]) -> list[Scene]:
    """The scenes of a side; all else is named in the notes of the first."""
    left_out = {href: str(each) for href, each in side if isinstance(each, NotPhotographError)}
    scenes = [each for _, each in side if isinstance(each, Scene)]
    if not scenes and left_out:
        raise NotPhotographError(next(iter(left_out.values())))
    if len(scenes) > 1:
        finest = min(scene.gsd_m for scene in scenes)
        odd = {
            scene.href: from_raster(
                scene.href,
                partial(beside_photographs, stem=raster_stem(scene.href), coarse=scene.gsd_m > _COARSE * finest),
            )
            for scene in scenes
        }
        why = {href: reason for href, reason in odd.items() if reason is not None} | _panchromatic(scenes)
        if len(why) < len(scenes):
            scenes = [scene for scene in scenes if scene.href not in why]
            left_out |= {href: f"{shown_href(href)}: is {reason}" for href, reason in why.items()}
    if left_out:
        said = tuple(f"left out: {text}" for text in left_out.values())
        scenes[0] = dataclasses.replace(scenes[0], notes=(*said, *scenes[0].notes), left_out=tuple(left_out))
    return scenes


def _panchromatic(scenes: Sequence[Scene]) -> dict[str, str]:
    """Grey scenes that the colour scenes of the same side show too: finer, but without the colour that damage shows in.

    Grey is the panchromatic band beside its multispectral image where its name says so, or its pixels are four times
    as fine.
    """
    grey = {scene.href: from_raster(scene.href, lambda source: bool(len(rgb_indexes(source)) == 1)) for scene in scenes}
    colour = [scene for scene in scenes if not grey[scene.href]]
    found = {}
    for scene in scenes:
        if not grey[scene.href] or not colour:
            continue
        beside = [each for each in colour if each.extent.intersects(scene.extent)]
        shown = unary_union([each.extent for each in beside]).intersection(scene.extent).area
        named = bool(_PAN.search(raster_stem(scene.href)))
        fourfold = any(_FOURFOLD[0] < each.gsd_m / scene.gsd_m < _FOURFOLD[1] for each in beside)
        if (named or fourfold) and shown >= _SHOWN_TOO * scene.extent.area:
            found[scene.href] = "panchromatic, and shown in colour by the images beside it; pan-sharpen them to use it"
    return found


def _free_id(wanted: str, taken: set[str]) -> str:
    number, name = 1, wanted
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    taken.add(name)
    return name


@dataclass(frozen=True, kw_only=True)
class EventInputs:
    """What `init` and `assess` are given to describe an event; `licence` is that of rasters of the catalogue."""

    pre: list[str]
    post: list[str]
    footprints: list[Path]
    aoi: Path | None = None
    hazard: str | None = None
    pre_datetime: str | None = None
    post_datetime: str | None = None
    bands: Mapping[Role, tuple[int, ...]] | None = None
    from_xbd: Path | None = None
    licence: str | None = None
    footprint_settings: FootprintSettings = dataclasses.field(default_factory=FootprintSettings)

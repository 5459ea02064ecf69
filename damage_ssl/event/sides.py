"""The two sides of an event: which rasters they are, checked and described."""

import re
from collections.abc import Sequence
from pathlib import Path

from damage_ssl.errors import InputError
from damage_ssl.event.hrefs import raster_stem, shown_href
from damage_ssl.event.inspection import inspect_scene, side_by_side
from damage_ssl.event.scene import Role, Scene
from damage_ssl.event.sources import SourceNotes, acquired_at, expand_rasters, read_notes


def inspect_sides(
    pre: Sequence[str | Path],
    post: Sequence[str | Path],
    *,
    pre_datetime: str | None,
    post_datetime: str | None,
) -> tuple[list[Scene], SourceNotes]:
    """Find and check the rasters of both sides; also what an `event.json` beside them says.

    Raises:
        InputError: a raster is missing or cannot be used.
    """
    sides: list[tuple[Role, list[str], str | None]] = [
        ("pre", expand_rasters(pre, "pre"), pre_datetime),
        ("post", expand_rasters(post, "post"), post_datetime),
    ]
    both = set(sides[0][1]) & set(sides[1][1])
    if both:
        raise InputError(
            f"{shown_href(min(both))}: is given as --pre and as --post; an event needs an image of before and one of "
            "after (a folder or glob may mean more than was intended)"
        )
    notes = read_notes([href for _, hrefs, _ in sides for href in hrefs])
    taken: set[str] = set()
    found = [
        (href, _free_id(f"{role}-{re.sub(r'[^A-Za-z0-9._-]+', '-', raster_stem(href))}", taken), role, given)
        for role, hrefs, given in sides
        for href in hrefs
    ]

    def inspect(one: tuple[str, str, Role, str | None]) -> Scene:
        href, scene_id, role, given = one
        return inspect_scene(
            href,
            scene_id=scene_id,
            role=role,
            acquired=acquired_at(href, role, given, notes),
            sensor=notes.sensors.get(raster_stem(href)),
        )

    return side_by_side(inspect, found), notes


def _free_id(wanted: str, taken: set[str]) -> str:
    number, name = 1, wanted
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    taken.add(name)
    return name

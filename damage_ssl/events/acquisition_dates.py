"""When a scene was taken: as given, from notes, acquisition tags, metadata beside it, its name; else when written.

GDAL reads some of the providers' own sidecars (IMD, RPB, XML) into the tags of the domain IMAGERY; `date_sidecars` the
rest.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from damage_ssl.errors import InputError
from damage_ssl.events.date_sidecars import times_beside
from damage_ssl.imagery.href import is_url, raster_stem, shown_href
from damage_ssl.imagery.raster import from_raster, quiet
from damage_ssl.imagery.scene import Role, parse_time

_ACQUIRED_TAGS = ("ACQUISITIONDATETIME", "ACQUISITION_DATETIME")
_WRITTEN_TAG = "TIFFTAG_DATETIME"
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_YEAR, _MONTH, _DAY = r"(?P<y>(?:19|20)\d\d)", r"(?P<m>0[1-9]|1[0-2])", r"(?P<d>0[1-9]|[12]\d|3[01])"
_NAMES = (
    re.compile(rf"(?<!\d){_YEAR}[-_]?{_MONTH}[-_]?{_DAY}(?!\d)"),
    re.compile(rf"(?<!\d){_YEAR}{_MONTH}{_DAY}(?=[0-2]\d[0-5]\d[0-5]\d\d?(?!\d))"),  # Pléiades: …202302080823450
    re.compile(rf"(?<![A-Za-z0-9])(?P<yy>\d\d)(?P<mmm>{'|'.join(_MONTHS)}){_DAY}(?=\d{{6}})", re.IGNORECASE),  # Maxar
    re.compile(rf"(?<!\d){_DAY}[-_]?(?P<mmm>{'|'.join(_MONTHS)})[a-z]*[-_]?{_YEAR}(?!\d)", re.IGNORECASE),
)
_APART = timedelta(days=1, hours=1)


def acquisition_date(
    href: str, role: Role, given: str | None, noted: str | None
) -> tuple[datetime | None, tuple[str, ...]]:
    """The time of a scene, None if it is not known, and what contradicts it or is a makeshift.

    The first that there is: `given` (the option), `noted` (`event.json`), acquisition tags, a STAC item or provider's
    JSON, XML or IMD beside the file, a date in its name. The date in its folder's name is taken, and said to be that,
    where there is nothing else; then TIFF's DateTime, which is when the file was written.

    Raises:
        InputError: a time that was given or noted is not an ISO 8601 date or time.
    """
    stem, name = raster_stem(href), shown_href(href)
    known: list[tuple[str, datetime]] = []
    if given is not None:
        known.append((f"--{role}-date", parse_time(given, f"--{role}-datetime")))
    if noted is not None:
        known.append(("event.json", parse_time(noted, f"event.json: {role} date of {stem}")))
    with quiet():
        tags = from_raster(href, lambda source: {**source.tags(), **source.tags(ns="IMAGERY")})
    known += [(f"the file's tag {tag}", time) for tag in _ACQUIRED_TAGS if (time := _tag_time(tags.get(tag)))]
    known += _beside(href)
    if (named := date_in_name(stem)) is not None:
        known.append(("its name", named))
    written = _tag_time(tags.get(_WRITTEN_TAG))
    if not known and not is_url(href) and (named := date_in_name(Path(href).parent.name)) is not None:
        note = (
            f"{name}: {named:%Y-%m-%d} is the date in its folder's name, taken for want of another; give --{role}-date "
            "if it was taken at another time"
        )
        return named, (note,)
    if not known:
        if written is None:
            return None, ()
        note = (
            f"{name}: {written:%Y-%m-%d} is only when the file was written (TIFF's DateTime), taken for want of "
            f"another date; give --{role}-date if it was taken at another time"
        )
        return written, (note,)
    source, chosen = known[0]
    others = {f"{time:%Y-%m-%d}": who for who, time in reversed(known[1:]) if abs(time - chosen) > _APART}
    return chosen, tuple(
        f"{name}: taken on {chosen:%Y-%m-%d} by {source}, but {who} says {day}; give --{role}-date if that is wrong"
        for day, who in others.items()
    )


def date_in_name(stem: str) -> datetime | None:
    """The date in a file's name, in the patterns of the providers; None without one."""
    for pattern in _NAMES:
        for found in pattern.finditer(stem):
            parts = found.groupdict()
            month = _MONTHS.index(parts["mmm"].upper()) + 1 if "mmm" in parts else int(parts["m"])
            try:
                return datetime(int(parts.get("y") or f"20{parts['yy']}"), month, int(parts["d"]), tzinfo=UTC)
            except ValueError:
                continue
    return None


def _tag_time(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        return parse_time(re.sub(r"^(\d{4}):(\d\d):(\d\d)", r"\1-\2-\3", text.strip()), "tag")
    except InputError:
        return None


def _beside(href: str) -> Iterator[tuple[str, datetime]]:
    """A STAC item, or a provider's metadata, of the same scene."""
    if is_url(href):
        return
    for name, text in times_beside(Path(href)):
        if time := _tag_time(text):
            yield name, time

"""Fetching the buildings of an area from a provider by name: the file, its release and its licence note."""

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from damage_ssl.errors import InputError, WorkspaceError, nearest_name
from damage_ssl.files import read_json, write_json
from damage_ssl.footprints.providers import open_buildings, openstreetmap, overture
from damage_ssl.geography import BoundingBox
from damage_ssl.progress import Move, silent


class Download(Protocol):
    """Writes the buildings of a box to a file in the provider's own format; gives their release or date."""

    def __call__(self, box: BoundingBox, path: Path, release: str | None, move: Move) -> str | None: ...


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One source of footprints.

    Attributes:
        suffix: of the file that it gives, e.g. `.parquet`.
        largest_km2: the largest area that it is asked for in one go.
        licence: SPDX expression.
        attribution: the words that a product made from it must carry.
    """

    name: str
    title: str
    suffix: str
    largest_km2: float
    licence: str
    attribution: str
    about: str
    download: Download


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A file of footprints, where it is from, and under which licence it may be used."""

    path: Path
    provider: str
    title: str
    release: str | None
    bbox: tuple[float, float, float, float]
    fetched_at: str
    licence: str
    attribution: str
    about: str


PROVIDERS: dict[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider(
            name="overture",
            title="Overture Maps buildings",
            suffix=".parquet",
            largest_km2=50_000,
            licence="ODbL-1.0",
            attribution="© OpenStreetMap contributors, Overture Maps Foundation",
            about="https://docs.overturemaps.org/attribution/",
            download=overture.download,
        ),
        Provider(
            name="open-buildings",
            title="Google Open Buildings v3",
            suffix=".csv.gz",
            largest_km2=50_000,
            licence="CC-BY-4.0 OR ODbL-1.0",
            attribution="Google Open Buildings v3",
            about="https://sites.research.google/open-buildings/",
            download=open_buildings.download,
        ),
        Provider(
            name="osm",
            title="OpenStreetMap buildings",
            suffix=".json",
            largest_km2=1_000,  # the public Overpass servers are shared and small
            licence="ODbL-1.0",
            attribution="© OpenStreetMap contributors",
            about="https://www.openstreetmap.org/copyright",
            download=openstreetmap.download,
        ),
    )
}


def fetch_footprints(
    source: str, box: BoundingBox, path: Path, *, release: str | None = None, move: Move = silent
) -> Fetched:
    """Fetch the buildings of a box into `path` in the source's own format, with a note of its licence beside it.

    `release` is a release of Overture, or a date for `osm` (the map as it was then).

    Raises:
        InputError: the source or the release is unknown, the area is too large, or the extra `fetch` is missing.
        ServiceError: the service cannot be reached, refuses, or has no building there.
        StorageError: the disk is full or read-only.
    """
    provider = find_provider(source)
    if box.area_km2 > provider.largest_km2:
        raise InputError(
            f"--source {source}: the area ({box}) measures {box.area_km2:,.0f} km², and {provider.title} is asked for "
            f"at most {provider.largest_km2:,.0f} km² in one go; give a smaller --bbox or an AOI"
            + ("" if source != "osm" else ", or take --source overture, which holds OpenStreetMap's buildings too")
        )
    found_release = provider.download(box, path, release, move)
    fetched = Fetched(
        path=path,
        provider=provider.name,
        title=provider.title,
        release=found_release,
        bbox=box.bounds,
        fetched_at=datetime.now(UTC).isoformat(timespec="seconds"),
        licence=provider.licence,
        attribution=provider.attribution,
        about=provider.about,
    )
    write_json(note_path(path), {**dataclasses.asdict(fetched), "path": path.name})
    return fetched


def find_provider(source: str) -> Provider:
    """A source by its name.

    Raises:
        InputError: there is no such source.
    """
    if source not in PROVIDERS:
        raise InputError(f"--source {source}: is unknown: {nearest_name(source, PROVIDERS)}")
    return PROVIDERS[source]


def note_path(path: Path) -> Path:
    """The file beside fetched footprints that says where they are from and under which licence."""
    return path.with_name(path.name + ".source.json")


def read_note(path: Path) -> Fetched | None:
    """The note of a fetched file, if there is one.

    Raises:
        WorkspaceError: the note cannot be read.
    """
    note = note_path(path)
    if not note.is_file():
        return None
    try:
        values = read_json(note)
        values["bbox"] = tuple(values["bbox"])
        return Fetched(**{**values, "path": path})
    except (ValueError, TypeError, KeyError) as error:
        raise WorkspaceError(f"{note}: cannot be read ({error}); fetch the footprints again") from error

"""`damage-ssl imagery search`: open imagery of a place, found in STAC catalogues."""

import dataclasses
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Annotated

import typer

from damage_ssl.cli.console import Console, command
from damage_ssl.cli.options import WORKSPACE, Json, Workspace
from damage_ssl.cli.place import Place, find_place
from damage_ssl.errors import InputError
from damage_ssl.events.imagery_search import ImageryFound, ImagerySearch, search_imagery
from damage_ssl.events.static_catalogue import ImageryScene
from damage_ssl.imagery.scene import parse_time

_DEFAULT = "openaerialmap"
_FEW = 4  # addresses that fit into a printed command


def search(
    event: Annotated[
        str | None, typer.Argument(metavar="[EVENT]", help="An event of the workspace, or of the catalogue.")
    ] = None,
    bbox: Annotated[str | None, typer.Option(metavar="W,S,E,N", help="An area in degrees, in place of EVENT.")] = None,
    start: Annotated[str | None, typer.Option("--from", metavar="DAY", help="First day or time (UTC).")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="DAY", help="Last day or time (UTC).")] = None,
    catalog: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|URL|FILE",
            help="maxar, vantor, openaerialmap, naip, earth-search, or a STAC address (default: the one that the "
            "catalogue names for EVENT, else openaerialmap).",
        ),
    ] = None,
    collection: Annotated[list[str], typer.Option(help="Only this collection of the catalogue; repeatable.")] = [],  # noqa: B006
    max_cloud: Annotated[float | None, typer.Option(min=0, max=100, help="Largest cloud cover in percent.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="List at most this many scenes.")] = 200,
    max_documents: Annotated[
        int, typer.Option(min=1, help="Read at most this many files of a static catalogue.")
    ] = 3000,
    only: Annotated[
        str | None, typer.Option("--side", metavar="pre|post", help="Only scenes of before, or of after, the disaster.")
    ] = None,
    hrefs: Annotated[bool, typer.Option("--hrefs", help="Print the rasters' addresses only, one a line.")] = False,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """List open scenes of a place: date, GSD, cloud, licence and the address that `init --pre … --post …` takes."""
    wanted = Wanted(
        start=start,
        end=end,
        catalog=catalog,
        collections=tuple(collection),
        max_cloud=max_cloud,
        limit=limit,
        max_documents=max_documents,
        side=only,
    )
    with command(json=json) as console:
        place = find_place(workspace, event, bbox)
        asked = wanted.within(place)
        with console.progress("search") as bar:
            found = search_imagery(
                catalog or _catalog_of(place), asked, lambda done, total, remark="": bar(done, max(done, total), remark)
            )
        if hrefs:
            for scene in found.scenes:
                if scene.href:
                    console.say(scene.href)
        else:
            _tell(console, found, place, event, _again(event, bbox, workspace, wanted))
        if not found.complete:
            console.warn("there are more: narrow the area or the dates, or raise --limit or --max-documents")
        scenes = [{**dataclasses.asdict(scene), "side": side(scene, place.struck)} for scene in found.scenes]
        console.result({**dataclasses.asdict(found), "scenes": scenes})


def side(scene: ImageryScene, struck: datetime | None) -> str | None:
    """Pre or post, as the item says or as its time tells; None on the day itself and where a time is missing."""
    if scene.role or struck is None or scene.datetime is None:
        return scene.role
    taken = scene.datetime if scene.datetime.tzinfo else scene.datetime.replace(tzinfo=UTC)
    if struck.time() == time() and taken.date() == struck.date():
        return None  # only the day is known
    return "post" if taken >= struck else "pre"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the command line asks for."""

    start: str | None
    end: str | None
    catalog: str | None
    collections: tuple[str, ...]
    max_cloud: float | None
    limit: int
    max_documents: int
    side: str | None = None

    def within(self, place: Place) -> ImagerySearch:
        """The search that this is in a place.

        Raises:
            InputError: the times or the side cannot be used.
        """
        asked = ImagerySearch(
            box=place.box,
            start=parse_time(self.start, "--from") if self.start else None,
            end=_end(self.end),
            max_cloud=self.max_cloud,
            collections=self.collections,
            limit=self.limit,
            max_documents=self.max_documents,
        )
        if asked.start and asked.end and asked.start > asked.end:
            raise InputError(f"--from {self.start} lies after --to {self.end}")
        if self.side not in {None, "pre", "post"}:
            raise InputError(f"--side {self.side}: is pre or post")
        return _one_side(asked, self.side, place.struck) if self.side else asked


def _one_side(asked: ImagerySearch, wanted: str, struck: datetime | None) -> ImagerySearch:
    """The search narrowed to the time before, or after, the disaster; of its day nothing is known."""
    if struck is None:
        raise InputError("--side: the day of the disaster is not known here; use --from and --to")
    if wanted == "pre":
        end = struck - timedelta(microseconds=1)
        return dataclasses.replace(asked, end=min(asked.end, end) if asked.end else end)
    start = struck + timedelta(days=1) if struck.time() == time() else struck
    return dataclasses.replace(asked, start=max(asked.start, start) if asked.start else start)


def _catalog_of(place: Place) -> str:
    if place.known is not None:
        for source in place.known.sources:
            if source.kind == "imagery" and source.stac:
                return source.href
    return _DEFAULT


def _end(text: str | None) -> datetime | None:
    """A day means its end."""
    if text is None:
        return None
    found = parse_time(text, "--to")
    return found + timedelta(days=1, microseconds=-1) if len(text.strip()) == 10 else found


def _tell(console: Console, found: ImageryFound, place: Place, name: str | None, again: str) -> None:
    kind = "searched" if found.searchable else f"static: {found.documents:,} documents read"
    console.say(f"{found.title}: {found.catalog} ({kind})")
    if not found.scenes:
        console.say(
            "no scene there" + (f" ({found.cloudier} cloudier)" if found.cloudier else "") + "; next: widen "
            "--from/--to or the area, or try another --catalog"
        )
        return
    rows = [("date (UTC)", "side", "GSD", "cloud", "licence", "id")]
    rows += [
        (
            f"{scene.datetime:%Y-%m-%d %H:%M}" if scene.datetime else "?",
            side(scene, place.struck) or "?",
            f"{scene.gsd_m:.2f} m" if scene.gsd_m else "?",
            "?" if scene.cloud_percent is None else f"{scene.cloud_percent:.0f} %",
            scene.licence or "?",
            scene.id,
        )
        for scene in found.scenes
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    for number, row in enumerate(rows):
        console.say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number:
            console.say(f"    {found.scenes[number - 1].href or 'no raster asset'}")
    scenes = "1 scene" if len(found.scenes) == 1 else f"{len(found.scenes)} scenes"
    console.say(scenes + (f", {found.cloudier} cloudier left out" if found.cloudier else ""))
    if found.note:
        console.warn(found.note)
    if any("NC" in (scene.licence or "").upper().split("-") for scene in found.scenes):
        console.warn("NC in a licence: no commercial use")
    console.say(_next(found, place, name, again))


def _again(name: str | None, bbox: str | None, workspace: Path, wanted: Wanted) -> str:
    """The command that asks the same again."""
    options: dict[str, object] = {
        "--bbox": bbox,
        "--from": wanted.start,
        "--to": wanted.end,
        "--catalog": wanted.catalog,
        "--max-cloud": wanted.max_cloud,
        "--limit": wanted.limit,
        "--max-documents": wanted.max_documents,
        "--workspace": workspace,
    }
    collections = [part for name in wanted.collections for part in ("--collection", name)]
    given = [part for name, value in options.items() if value is not None for part in (name, str(value))]
    return shlex.join(["damage-ssl", "imagery", "search", *([name] if name else []), *given, *collections])


def _next(found: ImageryFound, place: Place, name: str | None, again: str) -> str:
    sides = {
        role: [str(scene.href) for scene in found.scenes if scene.href and side(scene, place.struck) == role]
        for role in ("pre", "post")
    }
    short = sum(len(hrefs) for hrefs in sides.values()) <= _FEW
    given = []
    for role, hrefs in sides.items():
        if not hrefs or (not short and place.struck is None):
            given.append(f"--{role} …")
        elif short:
            given.append(f"--{role} {shlex.join(hrefs)}")
        else:
            given.append(f"--{role} $({again} --side {role} --hrefs)")
    return f"next: damage-ssl init {name or 'EVENT'} {' '.join(given)}"

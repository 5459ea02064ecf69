"""Open imagery in STAC catalogues: an API is searched by `pystac-client`, a static one is walked within bounds."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pystac

from damage_ssl.errors import InputError, ServiceError
from damage_ssl.events.static_catalogue import ImageryScene, read_scene, walk
from damage_ssl.footprints.providers.service import (
    CONNECT_TIMEOUT_S,
    READ_TIMEOUT_S,
    USER_AGENT,
    explain,
    need_extra,
    raise_status,
    retries,
)
from damage_ssl.geography import BoundingBox
from damage_ssl.imagery.href import shown_href, without_secrets
from damage_ssl.progress import Move, silent

if TYPE_CHECKING:
    from pystac_client.stac_api_io import StacApiIO


@dataclass(frozen=True, kw_only=True)
class ImageryCatalog:
    """A known catalogue of open imagery."""

    name: str
    title: str
    url: str
    collections: tuple[str, ...] = ()
    note: str = ""


CATALOGS: dict[str, ImageryCatalog] = {
    catalog.name: catalog
    for catalog in (
        ImageryCatalog(
            name="maxar",
            title="Maxar Open Data (events up to 2025; static, CC BY-NC 4.0)",
            url="https://maxar-opendata.s3.amazonaws.com/events/catalog.json",
        ),
        ImageryCatalog(
            name="vantor",
            title="Vantor Open Data (Maxar's successor, events from 2026; static, CC BY-NC 4.0)",
            url="https://vantor-opendata.s3.amazonaws.com/events/catalog.json",
        ),
        ImageryCatalog(
            name="openaerialmap",
            title="OpenAerialMap by HOT (drone and aerial imagery; each scene states its licence)",
            url="https://api.imagery.hotosm.org/stac",
        ),
        ImageryCatalog(
            name="earth-search",
            title="Earth Search: Sentinel-2, 10 m (for orientation; too coarse for single buildings)",
            url="https://earth-search.aws.element84.com/v1",
            collections=("sentinel-2-l2a",),
        ),
        ImageryCatalog(
            name="naip",
            title="NAIP aerial imagery of the USA, 0.3-1 m, on the Planetary Computer (public domain)",
            url="https://planetarycomputer.microsoft.com/api/stac/v1",
            collections=("naip",),
            note="its files need a signed address: https://planetarycomputer.microsoft.com/docs/concepts/sas/",
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class ImagerySearch:
    """What to look for; `start` and `end` are days or times in UTC, `max_cloud` is a percentage."""

    box: BoundingBox
    start: datetime | None = None
    end: datetime | None = None
    max_cloud: float | None = None
    collections: tuple[str, ...] = ()
    limit: int = 100
    max_documents: int = 3000


@dataclass(frozen=True, kw_only=True)
class ImageryFound:
    """The scenes, in the order of their times, and how the catalogue was read.

    `complete` is False where there are more than `limit` scenes, or more documents than were allowed to be read.
    """

    catalog: str
    title: str
    scenes: tuple[ImageryScene, ...]
    searchable: bool
    complete: bool
    documents: int
    cloudier: int
    note: str


def search_imagery(catalog: str, search: ImagerySearch, move: Move) -> ImageryFound:
    """Scenes of a place and a time; `catalog` is a known name, a URL or a path of a STAC catalogue, collection or API.

    Raises:
        InputError: the catalogue's name is unknown, it is not STAC, or the extra `fetch` is not installed.
        ServiceError: the catalogue cannot be reached or refuses.
    """
    known = CATALOGS.get(catalog)
    if known is None and "/" not in catalog and not catalog.endswith(".json"):
        names = "\n".join(f"  {entry.name:<15}{entry.title}" for entry in CATALOGS.values())
        raise InputError(f"--catalog {catalog}: give the address of a STAC catalogue or API, or one of\n{names}")
    url = known.url if known else catalog
    wanted = search.collections or (known.collections if known else ())
    stac_io = open_io()
    with _stac_errors(url), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the clients warn of catalogues that keep to an older STAC version
        root = stac_io.read_json(url)
        if root.get("type") not in {"Catalog", "Collection"} and "stac_version" not in root:
            raise InputError(f"--catalog {shown_href(url)}: is not a STAC catalogue, collection or API")
        searchable = _is_api(root)
        if searchable:
            scenes, complete, documents = _ask(stac_io, url, wanted, search, move)
        else:
            walked = walk(stac_io, url, root, search.box, search.start, search.end, search.max_documents, wanted, move)
            scenes, complete, documents = walked.scenes, walked.complete, walked.documents
    clear = [scene for scene in scenes if not _cloudier(scene, search.max_cloud)]
    clear.sort(key=lambda scene: (scene.datetime or datetime.max.replace(tzinfo=UTC), scene.id))
    return ImageryFound(
        catalog=shown_href(url),
        title=known.title if known else str(root.get("title") or root.get("id") or shown_href(url)),
        scenes=tuple(clear[: search.limit]),
        searchable=searchable,
        complete=complete and len(clear) <= search.limit,
        documents=documents,
        cloudier=len(scenes) - len(clear),
        note=known.note if known else "",
    )


def read_document(url: str) -> dict[str, Any]:
    """One STAC document.

    Raises:
        InputError: the extra `fetch` is not installed, or there is no such file.
        ServiceError: it cannot be reached, or is not JSON.
    """
    stac_io = open_io()
    with _stac_errors(url):
        return dict(stac_io.read_json(url))


def scenes_below(url: str, document: dict[str, Any], max_documents: int = 3000) -> tuple[list[ImageryScene], bool]:
    """The scenes of a static collection and whether all of them were read; one on disk needs no extra.

    Raises:
        ServiceError: a document of it cannot be read.
    """
    world = BoundingBox(-180, -90, 180, 90)
    stac_io = open_io() if find_spec("pystac_client") else pystac.StacIO.default()
    with _stac_errors(url):
        walked = walk(stac_io, url, document, world, None, None, max_documents, (), silent)
    return walked.scenes, walked.complete


def _ask(
    stac_io: "StacApiIO", url: str, collections: tuple[str, ...], search: ImagerySearch, move: Move
) -> tuple[list[ImageryScene], bool, int]:
    from pystac_client import Client

    client = Client.open(url, stac_io=stac_io)
    times = None if not (search.start or search.end) else (search.start, search.end)
    # One more than asked for tells whether there are more; cloud is looked at here, because `query` is an extension
    # that not every API has.
    asked = client.search(
        bbox=list(search.box.bounds),
        datetime=times,
        collections=list(collections) or None,
        max_items=search.limit * (5 if search.max_cloud is not None else 1) + 1,
    )
    licences: dict[str, str | None] = {}
    scenes: list[ImageryScene] = []
    for item in asked.items():
        name = item.collection_id or ""
        if name not in licences:
            licences[name] = _licence_of(client, name)
        scenes.append(read_scene(item, licences[name]))
        move(len(scenes), 0, f"{len(scenes)} scenes")
    most = search.limit * (5 if search.max_cloud is not None else 1)
    return scenes[:most], len(scenes) <= most, len(licences) + 1


def _licence_of(client: Any, collection: str) -> str | None:
    """The collection's licence; an API that does not show its collections gives none."""
    from pystac_client.exceptions import APIError

    if not collection:
        return None
    try:
        found = client.get_collection(collection)
    except (APIError, KeyError, ValueError):
        return None
    return found.license if found is not None else None


def _is_api(root: dict[str, Any]) -> bool:
    conforms = any("item-search" in str(name) for name in root.get("conformsTo") or [])
    return conforms and any(link.get("rel") == "search" for link in root.get("links") or [])


def _cloudier(scene: ImageryScene, limit: float | None) -> bool:
    return limit is not None and scene.cloud_percent is not None and scene.cloud_percent > limit


def open_io() -> "StacApiIO":
    """Reads STAC documents by address or path, with time limits and retries."""
    need_extra("pystac_client")
    from pystac_client.stac_api_io import StacApiIO

    return StacApiIO(
        headers={"User-Agent": USER_AGENT}, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S), max_retries=retries()
    )


@contextmanager
def _stac_errors(url: str) -> Iterator[None]:
    """Turn what pystac-client and pystac raise into errors with a message meant for the user."""
    url = shown_href(url)
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"--catalog {url}: there is no such file") from error
    except (ValueError, KeyError, TypeError, AttributeError, pystac.STACError, pystac.STACTypeError) as error:
        raise ServiceError(
            f"STAC catalogue ({url}): its answer is not valid STAC ({_short(without_secrets(repr(error)))}); give the "
            "address of a catalogue.json, a collection.json or an API's landing page"
        ) from error
    except Exception as error:
        if type(error).__name__ != "APIError":  # of pystac-client, which need not be installed
            raise
        status = getattr(error, "status_code", None)
        if status is not None:
            raise_status("STAC catalogue", url, int(status), detail=_short(str(error)))
        raise ServiceError(f"STAC catalogue ({url}): {explain(str(error))}") from error


def _short(text: str) -> str:
    flat = " ".join(re.sub(r"<style.*?</style>|<[^>]*>", " ", text, flags=re.DOTALL).split())  # servers answer in HTML
    return flat if len(flat) <= 200 else flat[:200] + " …"

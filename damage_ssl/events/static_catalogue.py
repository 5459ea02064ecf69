"""Reading a static STAC catalogue (files in a bucket, nothing to search) without reading all of it.

A child whose collection lies elsewhere or at another time is not entered. Of several boxes in `extent.spatial.bbox`
any may match: STAC wants the whole first, and some catalogues give only the parts.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Protocol

import pystac
from pystac.utils import make_absolute_href

from damage_ssl.geography import BoundingBox
from damage_ssl.progress import Move

_PREFERRED = ("visual", "image", "rgb", "true-color", "ortho", "data", "analytic")
_RASTER_TYPES = ("geotiff", "tiff", "jp2", "vrt")


@dataclass(frozen=True, kw_only=True)
class ImageryScene:
    """One scene of a catalogue: `href` is the raster to read, None where the item has no raster asset.

    `gsd_m` are metres a pixel, `cloud_percent` is 0-100, `role` is pre or post; None where the item does not say.
    """

    id: str
    collection: str | None
    datetime: datetime | None
    gsd_m: float | None
    cloud_percent: float | None
    licence: str | None
    asset: str | None
    href: str | None
    bbox: tuple[float, float, float, float] | None
    role: str | None
    item: str | None


def read_scene(item: pystac.Item, licence: str | None) -> ImageryScene:
    """Read an item; `licence` is its collection's, used where the item states none."""
    key, asset = _raster_asset(item)
    values = item.properties
    return ImageryScene(
        id=item.id,
        collection=item.collection_id,
        datetime=item.datetime or item.common_metadata.start_datetime,
        gsd_m=_number(values.get("gsd")) or _number((asset.extra_fields if asset else {}).get("gsd")),
        cloud_percent=_first_number(values, "eo:cloud_cover", "tile:clouds_percent", "cloud_percent"),
        licence=values.get("license") or licence,
        asset=key,
        href=_absolute(asset.href, item.get_self_href()) if asset else None,
        bbox=_flat_bbox(item.bbox),
        role=values.get("damage_ssl:role"),
        item=item.get_self_href(),
    )


def _raster_asset(item: pystac.Item) -> tuple[str | None, pystac.Asset | None]:
    """The picture for the eye first: its key or role says so; else the only or first raster of the data."""
    rasters = {key: asset for key, asset in item.assets.items() if _is_raster(asset)}
    for name in _PREFERRED:
        for key, asset in rasters.items():
            if key == name or name in (asset.roles or []):
                return key, asset
    return next(iter(rasters.items()), (None, None))


def _is_raster(asset: pystac.Asset) -> bool:
    kind = (asset.media_type or "").lower()
    name = asset.href.split("?")[0].lower()
    if {"thumbnail", "overview", "metadata"} & set(asset.roles or []):
        return False
    return any(sign in kind for sign in _RASTER_TYPES) or name.endswith((".tif", ".tiff", ".jp2", ".vrt"))


def _absolute(href: str, base: str | None) -> str:
    return make_absolute_href(href, base, start_is_dir=False) if base else href


def _first_number(values: dict[str, Any], *names: str) -> float | None:
    for name in names:
        found = _number(values.get(name))
        if found is not None:
            return found
    return None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _flat_bbox(bbox: list[float] | None) -> tuple[float, float, float, float] | None:
    """West, south, east, north, also of a box with heights."""
    if bbox is None or len(bbox) not in {4, 6}:
        return None
    half = len(bbox) // 2
    return (bbox[0], bbox[1], bbox[half], bbox[half + 1])


_READERS = 8  # requests at a time; buckets serve hundreds


class Reads(Protocol):
    """Reads a JSON document by its address or path (pystac's `StacIO` does)."""

    def read_json(self, source: str, /) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Walked:
    """The scenes found; `complete` is False where `max_documents` ended the walk."""

    scenes: list[ImageryScene]
    complete: bool
    documents: int


@dataclass(frozen=True)
class _Place:
    """A catalogue or collection that was read."""

    href: str
    values: dict[str, Any]
    licence: str | None
    wanted: bool  # it is, or lies in, one of the collections asked for


def walk(
    stac_io: Reads,
    url: str,
    root: dict[str, Any],
    box: BoundingBox,
    start: datetime | None,
    end: datetime | None,
    max_documents: int,
    collections: Sequence[str],
    move: Move,
) -> Walked:
    """All items in the box and between the times that lie under `root`, the document at `url`.

    Raises:
        APIError: a document cannot be read (of pystac-client).
        STACError: a document is not STAC.
    """
    places = deque([_place(url, root, None, not collections, collections)])
    seen = {url}
    scenes: list[ImageryScene] = []
    documents = 1
    complete = True
    with ThreadPoolExecutor(_READERS) as pool:
        while places:
            place = places.popleft()
            hrefs = [
                (rel, href) for rel, href in _links(place) if href not in seen and (rel == "child" or place.wanted)
            ]
            seen.update(href for _, href in hrefs)
            for part in _parts(hrefs, _READERS * 4):
                part = part[: max_documents - documents]
                complete = complete and bool(part)
                for (rel, href), values in zip(part, pool.map(lambda it: stac_io.read_json(it[1]), part), strict=True):
                    documents += 1
                    if rel == "item":
                        item = pystac.Item.from_dict(values, href=href, migrate=True, preserve_dict=False)
                        item.set_self_href(href)
                        scene = read_scene(item, place.licence)
                        if _matches(scene, box, start, end):
                            scenes.append(scene)
                    elif _may_hold(values, box, start, end):
                        places.append(_place(href, values, place.licence, place.wanted, collections))
                move(documents, 0, f"{documents:,} documents, {len(scenes):,} scenes")
                if not complete:
                    return Walked(scenes, False, documents)
    return Walked(scenes, complete, documents)


def _place(href: str, values: dict[str, Any], licence: str | None, wanted: bool, collections: Sequence[str]) -> _Place:
    return _Place(href, values, values.get("license") or licence, wanted or values.get("id") in collections)


def _links(place: _Place) -> Iterator[tuple[str, str]]:
    for link in place.values.get("links") or []:
        if link.get("rel") in {"child", "item"} and link.get("href"):
            yield link["rel"], make_absolute_href(link["href"], place.href, start_is_dir=False)


def _parts(hrefs: list[tuple[str, str]], size: int) -> Iterator[list[tuple[str, str]]]:
    rest = iter(hrefs)
    while part := list(islice(rest, size)):
        yield part


def _matches(scene: ImageryScene, box: BoundingBox, start: datetime | None, end: datetime | None) -> bool:
    if scene.bbox is not None and not box.meets(scene.bbox):
        return False
    if scene.datetime is None:
        return True
    time = scene.datetime if scene.datetime.tzinfo else scene.datetime.replace(tzinfo=UTC)
    return (start is None or time >= start) and (end is None or time <= end)


def _may_hold(values: dict[str, Any], box: BoundingBox, start: datetime | None, end: datetime | None) -> bool:
    """Whether a catalogue (no extent: yes) or collection can hold items of the place and time."""
    extent = values.get("extent") or {}
    bboxes = (extent.get("spatial") or {}).get("bbox") or []
    if bboxes and not any(_meets(box, one) for one in bboxes):
        return False
    intervals = (extent.get("temporal") or {}).get("interval") or []
    return not intervals or any(_overlaps(interval, start, end) for interval in intervals)


def _meets(box: BoundingBox, bbox: list[float]) -> bool:
    flat = _flat_bbox(bbox)
    return flat is None or box.meets(flat)


def _overlaps(interval: list[str | None], start: datetime | None, end: datetime | None) -> bool:
    first, last = ([_time(value) for value in interval] + [None, None])[:2]
    return not ((end and first and first > end) or (start and last and last < start))


def _time(text: str | None) -> datetime | None:
    """Maxar writes `2023-02-07 08:11:03Z`, with a blank for the T."""
    if not text:
        return None
    time = datetime.fromisoformat(text.strip())
    return time if time.tzinfo else time.replace(tzinfo=UTC)

"""What a STAC item says of one scene."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pystac
from pystac.utils import make_absolute_href

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

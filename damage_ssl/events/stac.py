"""An event as a STAC collection: one item a scene.

pystac writes them: it knows links, catalogue layout and the projection extension. Scenes are read from the JSON itself,
since they are read by every command and pystac is a tenth of a second of imports.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affine import Affine
from pyproj import CRS
from shapely.geometry import box, mapping, shape

from damage_ssl.errors import WorkspaceError
from damage_ssl.files import atomic_directory, link_or_copy, read_json, write_json
from damage_ssl.imagery.href import raster_suffix
from damage_ssl.imagery.scene import ROLE_PROPERTY, Fill, Overview, Scene

if TYPE_CHECKING:
    import pystac

_ASSET = "image"
_UNKNOWN_START = "1970-01-01T00:00:00Z"
_PREFIX = "damage_ssl:"


def write_collection(
    folder: Path, *, name: str, scenes: list[Scene], hazard: str | None, source: str | None, created: datetime
) -> None:
    """Write collection.json and items/<scene>.json (STAC 1.1; the rasters are referenced by absolute href).

    An href stands as the user gave it, a signature in it included, since the scene could not be read without; all else
    (names, messages, titles) is free of it.
    """
    collection = _collection(name, scenes, hazard, source, created)
    for item in collection.get_items():
        write_json(folder / "items" / f"{item.id}.json", item.to_dict(include_self_link=False))
    write_json(folder / "collection.json", collection.to_dict(include_self_link=False))


def write_more_scenes(folder: Path, added: list[Scene]) -> None:
    """Add scenes to an event's folder: their items appear together in one step, and all else stays as it is.

    What the collection says of its items (links, extent) is written after them. Readers take the items for what there
    is; a process that was killed between the two leaves links that the next call brings up to date, also without any
    new scene.

    Raises:
        WorkspaceError: the event cannot be read. StorageError: the disk is full or read-only.
    """
    if added:
        now = datetime.now(UTC)
        with atomic_directory(folder / "items") as items:
            for path in (folder / "items").glob("*.json"):
                link_or_copy(str(path), str(items / path.name))
            for item in _collection(folder.name, added, None, None, now).get_items():
                write_json(items / f"{item.id}.json", item.to_dict(include_self_link=False))
    values, scenes = read_json(folder / "collection.json"), read_scenes(folder)
    whole = _collection(values["id"], scenes, None, None, datetime.now(UTC)).to_dict(include_self_link=False)
    if {link["href"] for link in whole["links"]} != {link["href"] for link in values["links"]}:
        write_json(folder / "collection.json", {**values, "links": whole["links"], "extent": whole["extent"]})


def _collection(
    name: str, scenes: list[Scene], hazard: str | None, source: str | None, created: datetime
) -> "pystac.Collection":
    import pystac
    from pystac.layout import TemplateLayoutStrategy

    areas = [scene.extent.bounds for scene in scenes]
    whole = [min(a[0] for a in areas), min(a[1] for a in areas), max(a[2] for a in areas), max(a[3] for a in areas)]
    times = sorted(scene.datetime for scene in scenes if scene.datetime)
    interval: list[datetime | None] = [times[0], times[-1]] if times else [None, created]
    collection = pystac.Collection(
        id=name,
        description=f"Imagery before and after the event '{name}'" + (f". Source: {source}" if source else ""),
        extent=pystac.Extent(pystac.SpatialExtent([whole]), pystac.TemporalExtent([interval])),
        extra_fields={_PREFIX + "hazard": hazard, _PREFIX + "created": created.isoformat()},
        catalog_type=pystac.CatalogType.SELF_CONTAINED,
    )
    collection.add_items(_item(scene, created) for scene in scenes)
    # All links are relative; the folder's own name, with a dot perhaps, would be taken for a file's.
    collection.normalize_hrefs("/event", TemplateLayoutStrategy(item_template="items"))
    return collection


def read_scenes(folder: Path) -> list[Scene]:
    """All scenes of an event folder, in the order of their ids.

    Raises:
        WorkspaceError: an item cannot be read.
    """
    scenes = []
    for path in (folder / "items").glob("*.json"):
        try:
            scenes.append(_scene(read_json(path)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise WorkspaceError(f"{path}: is not a scene of an event ({error!r}); create the event again") from error
    return sorted(scenes, key=lambda scene: scene.scene_id)


def _item(scene: Scene, created: datetime) -> "pystac.Item":
    import pystac
    from pystac.extensions.projection import ProjectionExtension

    properties: dict[str, Any] = {
        "created": _text(created),
        "gsd": scene.gsd_m,
        ROLE_PROPERTY: scene.role,
        _PREFIX + "stretch": scene.stretch and [list(limits) for limits in scene.stretch],
        _PREFIX + "nodata": scene.nodata,
        _PREFIX + "overviews": [[overview.level, overview.factor] for overview in scene.overviews],
    }
    if scene.bands:
        properties[_PREFIX + "bands"] = list(scene.bands)
    if scene.fill:
        properties[_PREFIX + "fill"] = {"values": list(scene.fill.values), "everywhere": scene.fill.everywhere}
    if scene.notes:
        properties[_PREFIX + "notes"] = list(scene.notes)
    if scene.left_out:
        properties[_PREFIX + "left_out"] = list(scene.left_out)
    if scene.sensor:
        properties["instruments"] = [scene.sensor]
    if scene.datetime is None:
        # STAC wants an interval where the time is not known: some time before the event was set up.
        properties |= {"start_datetime": _UNKNOWN_START, "end_datetime": _text(created)}
    item = pystac.Item(
        id=scene.scene_id,
        geometry=mapping(scene.extent),
        bbox=list(scene.extent.bounds),
        datetime=scene.datetime,
        properties=properties,
    )
    ProjectionExtension.ext(item, add_if_missing=True).apply(
        code=_code(scene.crs),
        wkt2=scene.crs.to_wkt(),
        shape=[scene.height, scene.width],
        transform=list(scene.transform)[:6],
        bbox=list(scene.bounds),
    )
    media = pystac.MediaType.GEOTIFF if raster_suffix(scene.href) in {".tif", ".tiff"} else None
    item.add_asset(_ASSET, pystac.Asset(href=scene.href, media_type=media, roles=["data"]))
    return item


def _scene(item: dict[str, Any]) -> Scene:
    values = item["properties"]
    height, width = values["proj:shape"]
    fill = values.get(_PREFIX + "fill")
    stretch, time, geometry = values[_PREFIX + "stretch"], values["datetime"], item["geometry"]
    return Scene(
        scene_id=item["id"],
        role=values[ROLE_PROPERTY],
        href=item["assets"][_ASSET]["href"],
        datetime=None if time is None else datetime.fromisoformat(time),
        sensor=(values.get("instruments") or [None])[0],
        crs=CRS.from_wkt(values["proj:wkt2"]),
        transform=Affine(*values["proj:transform"]),
        width=width,
        height=height,
        gsd_m=values["gsd"],
        extent=shape(geometry) if geometry else box(*item["bbox"]),
        stretch=None if stretch is None else tuple((low, high) for low, high in stretch),
        nodata=values[_PREFIX + "nodata"],
        overviews=tuple(Overview(level, factor) for level, factor in values.get(_PREFIX + "overviews", [])),
        bands=tuple(values.get(_PREFIX + "bands") or ()) or None,
        fill=None if fill is None else Fill(tuple(fill["values"]), fill["everywhere"]),
        notes=tuple(values.get(_PREFIX + "notes", ())),
        left_out=tuple(values.get(_PREFIX + "left_out", ())),
    )


def _code(crs: CRS) -> str | None:
    authority = crs.to_authority()
    return ":".join(authority) if authority else None


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")

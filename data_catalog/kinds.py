"""The named kinds of source of events.toml, as the fields that an entry of the catalogue carries."""

from typing import Any

MAXAR_ROOT = "https://maxar-opendata.s3.amazonaws.com/events"
# The root catalogue as recorded in hotosm/stactools-hotosm, tests/maxar/data/catalog.json (2025); it names the licence.
MAXAR_SEEN = "https://github.com/hotosm/stactools-hotosm/blob/main/tests/maxar/data/catalog.json"
XBD = "https://arxiv.org/abs/1911.09296"
BRIGHT = "https://github.com/ChenHongruixuan/BRIGHT"
CEMS = "https://rapidmapping.emergency.copernicus.eu"

FOOTPRINTS: dict[str, dict[str, Any]] = {
    "overture": {
        "title": "Overture Maps buildings",
        "href": "https://docs.overturemaps.org/guides/buildings/",
        "licence": "ODbL-1.0",
        "confirmed_by": "https://docs.overturemaps.org/attribution/",
    },
    "osm": {
        "title": "OpenStreetMap buildings",
        "href": "https://www.openstreetmap.org/copyright",
        "licence": "ODbL-1.0",
        "confirmed_by": "https://www.openstreetmap.org/copyright",
    },
    "open-buildings": {
        "title": "Google Open Buildings v3",
        "href": "https://sites.research.google/open-buildings/",
        "licence": "CC-BY-4.0 OR ODbL-1.0",
        "confirmed_by": "https://sites.research.google/open-buildings/",
    },
}


def sources_of(event: dict[str, Any]) -> list[dict[str, Any]]:
    """All sources of one event of the table: its own, then those of the named kinds, then the footprints."""
    found = [dict(source) for source in event.get("source", [])]
    for kind, make in (("maxar", maxar), ("xbd", xbd), ("bright", bright), ("noaa", noaa), ("cems", cems)):
        if event.get(kind):
            found.append(make(event[kind]))
    if event.get("naip"):
        found.append(naip())
    note = {"note": event["footprints_note"]} if event.get("footprints_note") else {}
    found += [{"kind": "footprints", **FOOTPRINTS[name], **note} for name in event.get("footprints", [])]
    return found


def maxar(collection: str) -> dict[str, Any]:
    """A collection of Maxar's Open Data Program: whatever it released, mostly both sides."""
    return {
        "kind": "imagery",
        "title": "Maxar Open Data",
        "href": f"{MAXAR_ROOT}/{collection}/collection.json",
        "licence": "CC-BY-NC-4.0",
        "stac": True,
        "confirmed_by": MAXAR_SEEN,
    }


def xbd(name: str) -> dict[str, Any]:
    """An event of xBD: image pairs, footprints and grades of their buildings."""
    return {
        "kind": "imagery",
        "title": f"xBD, event '{name}': image pairs with footprints and damage grades",
        "href": "https://xview2.org/dataset",
        "licence": "CC-BY-NC-SA-4.0",
        "sides": ["pre", "post"],
        "note": "download wants an account; then: damage-ssl init NAME --from-xbd FOLDER",
        "confirmed_by": XBD,
    }


def bright(name: str) -> dict[str, Any]:
    """An event of BRIGHT: optical pre image, radar post image, damage labels."""
    licence = "see its README" if name == "hawaii-wildfire" else "CC-BY-NC-4.0"
    return {
        "kind": "labels",
        "title": f"BRIGHT, event '{name}': damage labels with an optical pre image",
        "href": BRIGHT,
        "licence": licence,
        "note": "its post images are radar, which damage_ssl does not read",
        "confirmed_by": "https://huggingface.co/datasets/torchgeo/bright/blob/main/README.md",
    }


def noaa(page: str) -> dict[str, Any]:
    """NOAA's aerial survey after a storm."""
    return {
        "kind": "imagery",
        "title": "NOAA NGS emergency response imagery",
        "href": page,
        "licence": "public domain (US government work)",
        "sides": ["post"],
        "confirmed_by": "https://dds-lab.github.io/disaster-damage-detection/data-collecting/",
    }


def naip() -> dict[str, Any]:
    """NAIP, flown over the conterminous USA every two or three years."""
    return {
        "kind": "imagery",
        "title": "NAIP aerial imagery, of some earlier (and some later) summer",
        "href": "https://planetarycomputer.microsoft.com/dataset/naip",
        "licence": "public domain (US government work)",
        "sides": ["pre"],
        "note": "damage-ssl imagery search ID --catalog naip",
        "confirmed_by": "https://azure.microsoft.com/de-de/services/open-datasets/catalog/naip/",
    }


def cems(code: str) -> dict[str, Any]:
    """Damage grades of buildings by Copernicus EMS Rapid Mapping."""
    return {
        "kind": "labels",
        "title": f"Copernicus EMS Rapid Mapping {code}: graded buildings",
        "href": f"{CEMS}/{code}",
        "licence": "free with credit: Copernicus Emergency Management Service (© European Union)",
        "note": "vector packages; their scale is Destroyed, Damaged, Possibly damaged",
        "confirmed_by": "the activation's code in public repositories that use its products",
    }

"""Write the catalogue: `python -m data_catalog.build`."""

import shutil
import tempfile
import tomllib
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pystac

from damage_ssl.events.event import Event
from damage_ssl.simulation.event import simulate
from damage_ssl.simulation.settings import SimulationSettings
from data_catalog.kinds import sources_of

HERE = Path(__file__).parent
SAMPLE = "simulated-earthquake"
DRAWN = {"buildings": 600, "hazard": "earthquake", "seed": 0}


def build(folder: Path, sample: pystac.Collection | None = None) -> None:
    """Write catalog.json and one collection an event into `folder`; collections of events that are gone are removed.

    `sample` is the entry of the sample event; drawn anew (some 15 s) where it is not given.
    """
    catalogue = pystac.Catalog(
        id="damage-ssl",
        title="Events for building damage assessment",
        description=(
            "Disasters of which imagery from before and after and building footprints can be had, and where, and under "
            "which licence; descriptions only, no imagery. One entry is synthetic."
        ),
    )
    collections = [sample or sample_event(), *real_events()]
    catalogue.add_children(collections)
    catalogue.normalize_and_save(str(folder), catalog_type=pystac.CatalogType.SELF_CONTAINED)
    for path in folder.glob("*/collection.json"):
        if path.parent.name not in {collection.id for collection in collections}:
            shutil.rmtree(path.parent)


def real_events() -> list[pystac.Collection]:
    """One collection an event of events.toml, in its order (by date)."""
    table = tomllib.loads((HERE / "events.toml").read_text(encoding="utf-8"))["event"]
    return [_collection(event) for event in table]


def sample_event() -> pystac.Collection:
    """The simulated earthquake as a collection, with extents and dates read off its own files."""
    with tempfile.TemporaryDirectory() as scratch:
        drawn = simulate(Path(scratch) / SAMPLE, SimulationSettings(**DRAWN))
        event = Event.create(
            Path(scratch) / "workspace", SAMPLE, pre=[drawn.pre], post=[drawn.post], footprints=drawn.footprints
        )
        scenes = event.scenes("pre") + event.scenes("post")
        bounds = [round(float(value), 5) for value in event.footprints().total_bounds]
    times: list[datetime] = sorted(scene.datetime.astimezone(UTC) for scene in scenes if scene.datetime)
    return pystac.Collection(
        id=SAMPLE,
        title="Simulated earthquake",
        description=(
            "A synthetic town of 600 buildings at an invented place, before and after an earthquake, with known "
            "grades. `damage-ssl init NAME --from-catalog simulated-earthquake` draws it; the same as "
            "damage-ssl simulate DIR --buildings 600 --hazard earthquake --seed 0"
        ),
        license="Apache-2.0",
        extent=pystac.Extent(pystac.SpatialExtent([bounds]), pystac.TemporalExtent([[times[0], times[-1]]])),
        extra_fields={
            "damage_ssl:hazard": "earthquake",
            "damage_ssl:place": "an invented place",
            "damage_ssl:synthetic": True,
            "damage_ssl:simulation": DRAWN,
        },
        keywords=["synthetic", "earthquake", "building damage"],
    )


def _collection(event: dict[str, Any]) -> pystac.Collection:
    day = datetime.combine(date.fromisoformat(event["date"]), time(), UTC)
    collection = pystac.Collection(
        id=event["id"],
        title=event["title"],
        description=f"{event['description']} The bounding box is approximate.",
        license="other",
        extent=pystac.Extent(
            pystac.SpatialExtent([[float(value) for value in event["bbox"]]]),
            pystac.TemporalExtent([[day, day + timedelta(days=1)]]),
        ),
        extra_fields={
            "damage_ssl:hazard": event["hazard"],
            "damage_ssl:place": event["place"],
            "damage_ssl:date": event["date"],
            "damage_ssl:sources": sources_of(event),
        },
        keywords=[event["hazard"], "building damage"],
    )
    collection.add_link(pystac.Link("about", event["about"], title="what happened, where and when"))
    for source in sources_of(event):
        rel = "derived_from" if source.get("stac") else "related"
        collection.add_link(pystac.Link(rel, source["href"], title=f"{source['title']} ({source['licence']})"))
    return collection


if __name__ == "__main__":
    build(HERE)

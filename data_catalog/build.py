"""Write the catalogue: `python -m data_catalog.build`."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pystac

from damage_ssl.event.catalog import Event
from damage_ssl.simulation import SimulationSettings, simulate

HERE = Path(__file__).parent
SAMPLE = "simulated-earthquake"


def build(folder: Path) -> None:
    """Write catalog.json and the sample event's collection into `folder`; extents and dates are read off its files."""
    catalogue = pystac.Catalog(
        id="damage-ssl",
        description="Events with imagery from before and after a disaster that damage_ssl can be tried on.",
    )
    catalogue.add_child(sample_event())
    catalogue.normalize_and_save(str(folder), catalog_type=pystac.CatalogType.SELF_CONTAINED)


def sample_event() -> pystac.Collection:
    """The simulated earthquake as a collection; its imagery is drawn by the command that it names."""
    with tempfile.TemporaryDirectory() as scratch:
        drawn = simulate(Path(scratch) / SAMPLE, SimulationSettings(buildings=600, hazard="earthquake", seed=0))
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
            "grades. Draw it with: "
            "damage-ssl simulate simulated-earthquake --buildings 600 --hazard earthquake --seed 0"
        ),
        license="Apache-2.0",
        extent=pystac.Extent(pystac.SpatialExtent([bounds]), pystac.TemporalExtent([[times[0], times[-1]]])),
        extra_fields={"damage_ssl:hazard": "earthquake", "damage_ssl:synthetic": True},
        keywords=["synthetic", "earthquake", "building damage"],
    )


if __name__ == "__main__":
    build(HERE)

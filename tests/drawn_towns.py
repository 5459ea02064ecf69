"""Simulated towns that are drawn once a test session, whichever of its workers asks first. They are only read."""

import pytest
from filelock import FileLock

from damage_ssl.simulation.event import SimulatedEvent, simulate
from damage_ssl.simulation.settings import SimulationSettings

FILES = ("pre.tif", "post.tif", "footprints.geojson", "truth.csv", "event.json")


def drawn_town(tmp_path_factory: pytest.TempPathFactory, buildings: int, seed: int) -> SimulatedEvent:
    """A town after an earthquake that damaged four buildings in ten."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base  # above the folders of pytest-xdist's workers
    folder = shared / f"town-{buildings}-{seed}"
    with FileLock(f"{folder}.lock"):
        if not (folder / "drawn").exists():
            simulate(folder, SimulationSettings(buildings=buildings, seed=seed, damaged_share=0.4))
            (folder / "drawn").touch()
    return SimulatedEvent(folder, *(folder / name for name in FILES))

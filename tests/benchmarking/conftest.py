"""A simulated town, drawn once a test session."""

from pathlib import Path

import pytest

from damage_ssl.events.event import Event
from damage_ssl.simulation.event import SimulatedEvent
from tests.drawn_towns import drawn_town


@pytest.fixture(scope="session")
def small_town(tmp_path_factory: pytest.TempPathFactory) -> tuple[Event, SimulatedEvent]:
    """Two hundred buildings after an earthquake, as an event without patches, and where its truth lies."""
    folder: Path = tmp_path_factory.mktemp("benchmark")
    drawn = drawn_town(tmp_path_factory, buildings=200, seed=3)
    event = Event.create(
        folder / "w", "town", pre=[str(drawn.pre)], post=[str(drawn.post)], footprints=drawn.footprints
    )
    return event, drawn

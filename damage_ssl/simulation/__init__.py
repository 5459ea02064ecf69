"""A synthetic event with known truth, for the demo, the tests and the measurement of intervals."""

from damage_ssl.simulation.event import SimulatedEvent, simulate
from damage_ssl.simulation.settings import HAZARDS, SimulationSettings

__all__ = ["HAZARDS", "SimulatedEvent", "SimulationSettings", "simulate"]

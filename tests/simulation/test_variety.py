"""Varied towns: light, sensor and surroundings differ from seed to seed; without variety nothing changes."""

import numpy as np
import pytest

from damage_ssl.simulation.event import looks
from damage_ssl.simulation.rendering.camera import Camera
from damage_ssl.simulation.settings import HAZARDS, SimulationSettings
from damage_ssl.simulation.town.layout import lay_out
from damage_ssl.simulation.town.surroundings import USUAL, surroundings_of
from damage_ssl.simulation.town.town import Town


def test_cameras_of_varied_towns_differ_as_acquisitions_do() -> None:
    pairs = [looks(SimulationSettings(seed=seed, variety=1.0)) for seed in range(40)]
    usual = [looks(SimulationSettings(seed=seed)) for seed in range(40)]

    def spread(pairs: list[tuple[Camera, Camera]], value: str) -> float:
        return float(np.std([getattr(camera, value) for pair in pairs for camera in pair]))

    for value in ("gamma", "paleness", "blur_px", "noise", "lushness"):
        assert spread(pairs, value) > 1.2 * spread(usual, value), value
    tilts = [np.hypot(*camera.lean) for pair in pairs for camera in pair]
    assert max(tilts) > 0.25 and min(tilts) < 0.08
    brightness = [sum(camera.tint) / 3 for pair in pairs for camera in pair]
    assert max(brightness) > 1.0 and min(brightness) < 0.7
    assert all(24 <= camera.sun.elevation_deg <= 75 and 0 <= camera.veil < 0.5 for pair in pairs for camera in pair)


def test_the_shift_of_the_post_picture_is_the_one_that_was_asked_for() -> None:
    _, post = looks(SimulationSettings(seed=3, shift_px=4.0, gsd_m=0.5, variety=1.0))
    assert np.hypot(post.shift_east_m, post.shift_north_m) == pytest.approx(2.0)


def test_surroundings_differ_by_seed_and_are_the_usual_ones_without_variety() -> None:
    assert surroundings_of(SimulationSettings(seed=5)) is USUAL
    for hazard in HAZARDS:
        found = [surroundings_of(SimulationSettings(hazard=hazard, seed=seed, variety=1.0)) for seed in range(30)]
        assert max(each.leafiness for each in found) > 2 and min(each.leafiness for each in found) < 0.8
        shares = [each.destroyed_share for each in found if each.destroyed_share is not None]
        assert len(shares) == 30 and max(shares) - min(shares) > 0.3


def test_roofs_lose_their_colour_where_the_surroundings_say_so() -> None:
    settings = SimulationSettings(buildings=30, seed=1)
    usual = lay_out(settings)
    grey = lay_out(settings, surroundings_of(settings.replace(variety=1.0)))

    def colourfulness(town: Town) -> float:
        return float(np.mean([max(b.colour) - min(b.colour) for b in town.buildings]))

    assert len(grey.buildings) == len(usual.buildings) == 30
    assert colourfulness(grey) < colourfulness(usual)

"""Cameras that differ from each other as real acquisitions do: light, air, season, sensor, angle of view."""

from dataclasses import replace

import numpy as np

from damage_ssl.simulation.rendering.camera import Camera
from damage_ssl.simulation.rendering.canvas import Sun
from damage_ssl.simulation.settings import SimulationSettings


def varied_looks(settings: SimulationSettings, pre: Camera, post: Camera) -> tuple[Camera, Camera]:
    """The two dates' cameras with everything that differs between acquisitions drawn anew."""
    rng = np.random.default_rng([settings.seed, 59])
    lushness = float(rng.uniform(0.2, 0.9))
    return _varied(pre, settings.variety, lushness, rng), _varied(post, settings.variety, lushness, rng)


def _varied(camera: Camera, wide: float, lushness: float, rng: np.random.Generator) -> Camera:
    exposure = float(np.exp(wide * rng.uniform(-0.5, 0.15)))
    tint = exposure * (1 + wide * rng.uniform(-0.08, 0.08, 3))
    angle, tilt = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.02, 0.07 + 0.28 * wide))
    sun = Sun(
        camera.sun.azimuth_deg + wide * float(rng.uniform(-60, 60)),
        float(np.clip(camera.sun.elevation_deg + wide * rng.uniform(-16, 20), 24, 75)),
    )
    return replace(
        camera,
        sun=sun,
        lean=(tilt * float(np.cos(angle)), tilt * float(np.sin(angle))),
        lushness=float(np.clip(lushness + wide * rng.normal(0, 0.2), 0, 1)),
        tint=(float(tint[0]), float(tint[1]), float(tint[2])),
        gamma=float(1 + wide * rng.uniform(-0.15, 0.35)),
        paleness=float(np.clip(0.25 + wide * rng.uniform(-0.45, 0.45), -0.2, 0.7)),
        blur_px=float(rng.uniform(0.35, 0.5 + 0.9 * wide)),
        noise=float(rng.uniform(0.004, 0.014 + 0.014 * wide)),
        veil=float(wide * rng.beta(1, 4) * 0.5),
    )

"""What a town stands in: its greenery, roofs and water, the same for all towns or drawn for each.

Domain randomisation (Tobin et al. 2017, arXiv:1703.06907). Beside real scenes, towns drawn without variety are bright,
dry and alike, with few trees and colourful roofs. With `SimulationSettings.variety` above 0 every seed draws its own; 1
is as wide as real scenes go and a little wider. `rendering/varied_cameras.py` does the same for light and sensor.
"""

from dataclasses import dataclass

import numpy as np

from damage_ssl.simulation.settings import SimulationSettings
from damage_ssl.simulation.town import palette
from damage_ssl.simulation.town.palette import Colour

_WATERS: tuple[Colour, ...] = (palette.FLOOD, (0.36, 0.34, 0.27), (0.22, 0.25, 0.22), (0.44, 0.43, 0.40))
_DESTROYED = {"earthquake": (0.2, 0.7), "fire": (0.5, 0.95), "flood": (0.1, 0.8), "wind": (0.2, 0.7)}
"""Share of the heavily damaged that is destroyed, from and to; a tsunami is a flood that destroys most."""


@dataclass(frozen=True)
class TownSurroundings:
    """What a town's surroundings are like: `leafiness` times the usual trees, roofs of `roof_colour` times the usual
    saturation, the colour of flood water, and the share of heavy damage that is total (None: as usual)."""

    leafiness: float = 1.0
    roof_colour: float = 1.0
    water: Colour = palette.FLOOD
    destroyed_share: float | None = None


USUAL = TownSurroundings()


def surroundings_of(settings: SimulationSettings) -> TownSurroundings:
    """The surroundings that the settings draw; the usual ones without variety."""
    wide = settings.variety
    if not wide:
        return USUAL
    rng = np.random.default_rng([settings.seed, 53])
    least, most = _DESTROYED[settings.hazard]
    return TownSurroundings(
        leafiness=float(np.exp(wide * rng.uniform(-0.7, 1.3))),
        roof_colour=float(1 - wide * rng.uniform(0.0, 0.85)),
        water=_WATERS[int(rng.integers(len(_WATERS)))],
        destroyed_share=float(rng.uniform(least, most)),
    )

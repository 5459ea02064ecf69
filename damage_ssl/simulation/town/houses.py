"""Houses, halls and sheds by style."""

from dataclasses import dataclass

import numpy as np

from damage_ssl.simulation.town import palette
from damage_ssl.simulation.town.palette import Colour
from damage_ssl.simulation.town.town import Building, Covering, RoofKind, Wing


@dataclass(frozen=True)
class HouseStyle:
    """What the houses of one block have in common."""

    roofs: tuple[RoofKind, ...]
    covering: Covering
    colours: tuple[Colour, ...]
    setback_m: float
    depth_m: float
    wing_share: float


_COLOURS: dict[Covering, tuple[Colour, ...]] = {
    "shingle": palette.SHINGLES,
    "tile": palette.TILES,
    "tin": palette.TINS,
    "membrane": palette.MEMBRANES,
}


def draw_style(rng: np.random.Generator, *, dense: bool) -> HouseStyle:
    """A block's style."""
    coverings: list[Covering] = ["shingle", "tile", "tin", "membrane"]
    covering = coverings[int(rng.choice(4, p=[0.3, 0.35, 0.15, 0.2] if dense else [0.52, 0.28, 0.14, 0.06]))]
    colours = _COLOURS[covering]
    some = tuple(colours[k] for k in rng.permutation(len(colours))[: int(rng.integers(2, 5))])
    mixes: list[tuple[RoofKind, ...]] = [("gable",), ("hip",), ("gable", "hip"), ("hip", "hip", "gable")]
    roofs = ("flat",) if covering == "membrane" else mixes[int(rng.integers(len(mixes)))]
    if covering == "tin":
        roofs = ("gable", "shed", "gable")
    return HouseStyle(roofs, covering, some, float(rng.uniform(4.2, 6.5)), float(rng.uniform(8.5, 12.5)), 0.7)


def detached(
    x: float,
    y: float,
    angle: float,
    width_m: float,
    depth_m: float,
    out: float,
    style: HouseStyle,
    rng: np.random.Generator,
) -> Building:
    """A free-standing house; (x, y) is the middle of the plot's street side, `out` the street's sign along b."""
    half_a = 0.5 * float(np.clip(rng.uniform(0.64, 0.86) * width_m, 7.5, 17.0))
    half_b = 0.5 * float(np.clip(style.depth_m * rng.uniform(0.85, 1.15), 6.5, depth_m - style.setback_m - 3))
    inward = style.setback_m + half_b + float(rng.normal(0, 0.5))
    wings = [Wing(0.0, 0.0, half_a, half_b, bool(half_a >= half_b))]
    if rng.random() < style.wing_share:
        side, towards = float(rng.choice([-1, 1])), float(rng.choice([out, out, -out]))
        wing_a = float(rng.uniform(0.36, 0.55)) * half_a
        reach = float(rng.uniform(1.2, min(3.2, style.setback_m - 1.5) if towards == out else 3.6))
        wings.append(
            Wing(side * (half_a - wing_a), towards * reach, wing_a, half_b, False, float(rng.choice([0.0, 0.0, 0.5])))
        )
        if rng.random() < 0.25:
            wing_b = 0.45 * half_b
            wings.append(Wing(-side * (half_a + 1.0), 0.0, 1.6, wing_b, True, 0.8))
    x, y = _inward(x, y, angle, out, inward, float(rng.normal(0, 0.04)) * width_m)
    return _building(
        x, y, angle + float(rng.normal(0, 0.012)), tuple(wings), style, rng, float(rng.choice([3, 3.2, 5.6]))
    )


def terraced(
    x: float, y: float, angle: float, width_m: float, out: float, style: HouseStyle, rng: np.random.Generator
) -> Building:
    """A house of a row: the plot's whole width."""
    half_b = 0.5 * style.depth_m * float(rng.uniform(0.97, 1.06))
    wings = [Wing(0.0, 0.0, width_m / 2 - 0.12, half_b, True)]
    if rng.random() < 0.4:
        wings.append(Wing(width_m * 0.2, -out * (half_b + 1.2), width_m * 0.26, 1.6, False, 2.4))
    x, y = _inward(x, y, angle, out, half_b + 2.2, 0.0)
    return _building(x, y, angle, tuple(wings), style, rng, float(rng.uniform(5.4, 6.2)))


def hall(x: float, y: float, angle: float, length_m: float, depth_m: float, rng: np.random.Generator) -> Building:
    """A shop, school or workshop: large, mostly flat."""
    wings = [Wing(0.0, 0.0, length_m / 2, depth_m / 2, True)]
    if rng.random() < 0.5:
        part = float(rng.uniform(0.2, 0.35)) * length_m
        wings.append(Wing(length_m / 2 - part, depth_m * 0.2, part, depth_m * 0.45, True, 1.0))
    tin = bool(rng.random() < 0.35)
    covering: Covering = "tin" if tin else "membrane"
    style = HouseStyle(("gable",) if tin else ("flat",), covering, _COLOURS[covering], 0, depth_m, 0)
    return _building(x, y, angle, tuple(wings), style, rng, float(rng.uniform(4.5, 8.0)), pitch=0.14)


def shed(x: float, y: float, angle: float, rng: np.random.Generator) -> Building:
    """A garden shed; no footprint is kept of it."""
    style = HouseStyle(("shed", "gable"), "tin", palette.TINS + palette.SHINGLES, 0, 0, 0)
    wing = Wing(0.0, 0.0, float(rng.uniform(1.1, 1.8)), float(rng.uniform(1.0, 1.6)), True)
    return _building(x, y, angle, (wing,), style, rng, 2.1)


def _inward(x: float, y: float, angle: float, out: float, inward: float, a: float) -> tuple[float, float]:
    b = -out * inward
    return x + a * float(np.cos(angle)) - b * float(np.sin(angle)), y + a * float(np.sin(angle)) + b * float(
        np.cos(angle)
    )


def _building(
    x: float,
    y: float,
    angle: float,
    wings: tuple[Wing, ...],
    style: HouseStyle,
    rng: np.random.Generator,
    eave_m: float,
    pitch: float | None = None,
) -> Building:
    base = np.array(style.colours[int(rng.integers(len(style.colours)))])
    red, green, blue = np.clip(base * rng.normal(1, 0.07) + rng.normal(0, 0.012, 3), 0.12, 0.92)
    return Building(
        x=x,
        y=y,
        angle=angle,
        wings=wings,
        roof=style.roofs[int(rng.integers(len(style.roofs)))],
        covering=style.covering,
        colour=(float(red), float(green), float(blue)),
        wall=palette.WALLS[int(rng.integers(len(palette.WALLS)))],
        eave_m=eave_m,
        pitch=float(rng.uniform(0.32, 0.62)) if pitch is None else pitch,
        salt=int(rng.integers(1, 2**31)),
    )

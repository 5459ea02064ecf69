"""What the network learns from: squares of imagery with their buildings, and the crops drawn from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from damage_ssl.detection.instances import draw_instances, targets
from damage_ssl.detection.search_grid import Area, read_square
from damage_ssl.errors import InputError
from damage_ssl.events.event import Event
from damage_ssl.imagery.scene import Scene
from damage_ssl.patches.store import PatchStore
from damage_ssl.registration.placement import placed_footprints
from damage_ssl.settings import PatchSettings

_LEAST_VALID_SHARE = 0.25
_PASTED_SHARE = 0.5
_PASTE_SMOOTHING_PX = 1.0


@dataclass(frozen=True)
class TrainingSource:
    """Scenes in which all buildings are known: pre imagery and footprints (EPSG:4326) of one event."""

    name: str
    scenes: Sequence[Scene]
    footprints: gpd.GeoDataFrame

    @classmethod
    def of(cls, event: Event) -> "TrainingSource":
        """An event's pre scenes, and its footprints where its registration (if there is one) finds them there.

        Raises:
            WorkspaceError: the event has no footprints.
        """
        settings = PatchStore.kept_settings(event.patches_path) or PatchSettings()
        return cls(event.name, event.scenes("pre"), placed_footprints(event, settings).table)


@dataclass(frozen=True)
class Tiles:
    """N squares in memory: `pixels` uint8 [N, 3, H, W], `valid` bool [N, H, W], `instances` int32 [N, H, W].

    `instances` numbers each square's buildings from 1; `confident` bool [N, H, W] says where they can be believed.
    """

    pixels: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    instances: NDArray[np.int32]
    confident: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pixels)

    @classmethod
    def joined(cls, parts: Sequence["Tiles"]) -> "Tiles":
        """All squares of several sets."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


def training_tiles(
    sources: Sequence[TrainingSource], *, gsd_m: float, size_px: int, most: int, rng: np.random.Generator
) -> Tiles:
    """Squares side by side over the scenes of all sources; a random `most` of them where there are more.

    Raises:
        InputError: no source has both imagery and a building.
    """
    places = [
        (source, area, square)
        for source in sources
        for area in [Area.of(source.scenes, gsd_m)]
        for square in area.squares(size_px, step_px=size_px)
    ]
    chosen = np.sort(rng.permutation(len(places))[:most])
    projected = {id(source): source.footprints.geometry.to_crs(area.crs).to_numpy() for source, area, _ in places}
    trees = {key: shapely.STRtree(geometry) for key, geometry in projected.items()}
    parts = []
    for index in chosen:
        source, area, square = places[index]
        pixels, valid = read_square(area, square, source.scenes)
        if valid.mean() < _LEAST_VALID_SHARE:
            continue
        near = np.sort(trees[id(source)].query(area.box_of(square)))
        instances = draw_instances(projected[id(source)][near], area.transform_of(square), size_px)
        parts.append(Tiles(pixels[None], valid[None], instances[None], valid[None]))
    if not parts or not any((part.instances > 0).any() for part in parts):
        names = ", ".join(source.name for source in sources)
        raise InputError(f"{names}: no footprint lies on the pre imagery, so there is nothing to learn buildings from")
    return Tiles.joined(parts)


@dataclass(frozen=True)
class Crops:
    """A batch: `image` float32 [B, 3, S, S] in [0, 1], `target` float32 [B, 2, S, S], `weight` float32 [B, S, S]."""

    image: NDArray[np.float32]
    target: NDArray[np.float32]
    weight: NDArray[np.float32]


def draw_crops(
    tiles: Tiles,
    count: int,
    size_px: int,
    rng: np.random.Generator,
    *,
    copy_paste_share: float,
    donors: Tiles | None = None,
) -> Crops:
    """Random crops, each turned, flipped and recoloured; some with buildings pasted in from a crop of `donors`.

    Donors are the tiles themselves where none are given.
    """
    images, goals, weights = [], [], []
    for _ in range(count):
        pixels, instances, weight = _crop(tiles, size_px, rng)
        if rng.random() < copy_paste_share:
            pixels, instances, weight = _paste((pixels, instances, weight), _crop(donors or tiles, size_px, rng), rng)
        images.append(recoloured(pixels, rng))
        goals.append(targets(instances))
        weights.append(weight)
    return Crops(
        np.stack(images).astype(np.float32), np.stack(goals).astype(np.float32), np.stack(weights).astype(np.float32)
    )


_Crop = tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.bool_]]


def _crop(tiles: Tiles, size_px: int, rng: np.random.Generator) -> _Crop:
    """Image [3, S, S] in [0, 1], instances and weight of a random place, in one of the eight orientations.

    Of a few places the first with a building is taken, so that empty country does not fill the batches.
    """
    for _ in range(3):
        tile = int(rng.integers(len(tiles)))
        side = tiles.pixels.shape[-1]
        row, column = rng.integers(0, side - size_px + 1, size=2)
        rows, columns = slice(row, row + size_px), slice(column, column + size_px)
        instances = tiles.instances[tile, rows, columns]
        if instances.any():
            break
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    pixels = turned(tiles.pixels[tile, :, rows, columns], turns, flip).astype(np.float32) / np.float32(255)
    confident = turned(tiles.confident[tile, rows, columns], turns, flip).astype(bool)
    return pixels, turned(instances, turns, flip).astype(np.int32), confident


def turned(values: NDArray[Any], turns: int, flip: bool) -> NDArray[Any]:
    """One of the eight orientations of [..., H, W]."""
    out = np.rot90(values, turns, axes=(-2, -1))
    return out[..., ::-1] if flip else out


def _paste(onto: _Crop, other: _Crop, rng: np.random.Generator) -> _Crop:
    """Simple Copy-Paste (Ghiasi et al. 2021, arXiv:2012.07177): a random half of the other crop's buildings, in place.

    As there, the cut is smoothed by a narrow Gaussian, and what is covered disappears from the target.
    """
    pixels, instances, weight = onto
    pixels2, instances2, weight2 = other
    numbers = np.unique(instances2[instances2 > 0])
    taken = numbers[rng.random(len(numbers)) < _PASTED_SHARE]
    cut = np.isin(instances2, taken) & weight2
    if not cut.any():
        return onto
    alpha = ndimage.gaussian_filter(cut.astype(np.float32), _PASTE_SMOOTHING_PX)
    return (
        (pixels * (1 - alpha) + pixels2 * alpha).astype(np.float32),
        np.where(cut, instances2 + instances.max(), instances).astype(np.int32),
        np.asarray(weight | cut),
    )


def recoloured(pixels: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Other light, air and sensor: gamma, gain and offset a band, a little blur or noise. Nodata (0) is left at 0."""
    empty = (pixels == 0).all(axis=0)
    gain = rng.uniform(0.75, 1.3) * rng.uniform(0.9, 1.1, size=(3, 1, 1))
    out = np.clip(pixels, 0, 1) ** rng.uniform(0.75, 1.35) * gain + rng.uniform(-0.08, 0.08, size=(3, 1, 1))
    if rng.random() < 0.2:
        grey = out.mean(axis=0, keepdims=True)
        out = grey + (out - grey) * rng.uniform(0.0, 1.0)
    if rng.random() < 0.2:
        out = ndimage.gaussian_filter(out, (0, *[rng.uniform(0.3, 1.0)] * 2))
    if rng.random() < 0.3:
        out = out + rng.normal(0, rng.uniform(0.0, 0.04), size=out.shape)
    out = np.clip(out, 0, 1)
    out[:, empty] = 0
    return out.astype(np.float32)

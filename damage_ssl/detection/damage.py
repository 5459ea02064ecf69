"""Damage of whole scenes by segmentation: pre and post stacked, intact, damaged or neither for every pixel.

Cf. the change segmentation of stacked dates in xBD's baselines (Gupta et al. 2019, arXiv:1911.09296). Here it is learnt
from the labelled footprints of the event itself. Footprints without a label count neither as damaged nor as intact
nor as background; everything outside of all footprints is background.
"""

from dataclasses import dataclass

import numpy as np
import shapely
import torch
from numpy.typing import NDArray

from damage_ssl.detection.area import Area, Square, read_square
from damage_ssl.detection.inference import tile_weight
from damage_ssl.detection.instances import draw_instances
from damage_ssl.detection.network import BuildingNet
from damage_ssl.detection.placing import PlacedFootprints
from damage_ssl.detection.samples import Crops, recoloured, turned
from damage_ssl.detection.settings import DetectionSettings, DetectionTraining
from damage_ssl.detection.training import Progress, fit
from damage_ssl.errors import InputError, LabelsError
from damage_ssl.event.imagery import Scene

UNLABELLED, INTACT, DAMAGED = -1, 0, 1
LEAST_LABELS = 5
"""Labelled buildings of each class, with imagery, that a training needs: fewer are a handful of roofs by heart."""
_BACKGROUND, _UNKNOWN = 2, 3  # pixel codes beside INTACT and DAMAGED


class TwoDates:
    """Pre and post imagery of an event with its footprints, read square by square on one grid.

    Raises:
        InputError: pre or post has no scenes.
    """

    def __init__(
        self, pre: list[Scene], post: list[Scene], placed: PlacedFootprints, known: NDArray[np.int8], *, gsd_m: float
    ) -> None:
        if not post:
            raise InputError("damage: there is no post imagery to look at")
        self.area = Area.of(pre, gsd_m)
        self.known = known
        self.geometry = placed.table.geometry.to_crs(self.area.crs).to_numpy()
        self._pre, self._post, self._shift_m = pre, post, placed.shift_m
        self._tree = shapely.STRtree(self.geometry)
        self._code = np.where(known == UNLABELLED, _UNKNOWN, known).astype(np.uint8)

    def near(self, square: Square) -> NDArray[np.intp]:
        """Rows of the footprints that meet a square."""
        return np.sort(self._tree.query(self.area.box_of(square), predicate="intersects"))

    def around(self, row: int, size_px: int) -> Square:
        """The square with a building in its middle."""
        middle = shapely.centroid(self.geometry[row])
        column, line = ~self.area.grid.transform @ (middle.x, middle.y)
        return Square(round(line) - size_px // 2, round(column) - size_px // 2, size_px)

    def read(self, square: Square) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Both dates [6, H, W], and where both are valid [H, W]; post where the registration finds these buildings.

        A square is moved by the median shift of its buildings, to a whole pixel: within a square of some 250 m the
        shifts of the roofs differ by less than the pixels of a building.
        """
        pre, pre_valid = read_square(self.area, square, self._pre)
        rows = self.near(square)
        east, north = np.median(self._shift_m[rows], axis=0) / self.area.grid.gsd_m if len(rows) else (0.0, 0.0)
        moved = Square(square.row - round(north), square.column + round(east), square.size_px)
        post, post_valid = read_square(self.area, moved, self._post)
        return np.concatenate([pre, post]), pre_valid & post_valid

    def codes(self, square: Square, valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """What is known of each pixel [H, W]: `INTACT`, `DAMAGED`, background or unknown."""
        rows = self.near(square)
        numbers = draw_instances(self.geometry[rows], self.area.transform_of(square), square.size_px)
        codes = np.concatenate([[_BACKGROUND], self._code[rows]]).astype(np.uint8)[numbers]
        return np.where(valid, codes, _UNKNOWN).astype(np.uint8)


@dataclass(frozen=True)
class DamageTiles:
    """Squares around labelled buildings: `pixels` uint8 [N, 6, S, S], `codes` uint8 [N, S, S], `damaged` bool [N]."""

    pixels: NDArray[np.uint8]
    codes: NDArray[np.uint8]
    damaged: NDArray[np.bool_]


def damage_tiles(dates: TwoDates, *, crop_px: int, most: int, rng: np.random.Generator) -> DamageTiles:
    """A square around each labelled building that both dates show; at random `most`, half of them damaged if possible.

    A tile is half as large again as a crop, so that every crop holds its middle.

    Raises:
        LabelsError: fewer than `LEAST_LABELS` of a class can be seen.
    """
    tiles: dict[int, list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]] = {INTACT: [], DAMAGED: []}
    for value, kept in tiles.items():
        for row in rng.permutation(np.flatnonzero(dates.known == value)):
            if len(kept) >= max(LEAST_LABELS, most // 2):
                break
            square = dates.around(int(row), crop_px * 3 // 2)
            pixels, valid = dates.read(square)
            codes = dates.codes(square, valid)
            if (codes == value).any():
                kept.append((pixels, codes))
    if min(len(kept) for kept in tiles.values()) < LEAST_LABELS:
        raise LabelsError(
            f"damage: {len(tiles[INTACT])} intact and {len(tiles[DAMAGED])} damaged buildings are labelled and seen on "
            f"both dates; {LEAST_LABELS} of each are needed, and some dozens are better: label some more"
        )
    both = tiles[INTACT] + tiles[DAMAGED]
    damaged = np.repeat([False, True], [len(tiles[INTACT]), len(tiles[DAMAGED])])
    return DamageTiles(np.stack([pixels for pixels, _ in both]), np.stack([codes for _, codes in both]), damaged)


def train_damage(
    dates: TwoDates, settings: DetectionTraining, *, progress: Progress | None = None
) -> tuple[BuildingNet, int]:
    """A network of six channels with the maps intact and damaged, and the steps of its training.

    Raises:
        LabelsError: too few labels. SettingsError: no such encoder or device.
    """
    rng = np.random.default_rng([settings.seed, 13])
    tiles = damage_tiles(dates, crop_px=settings.crop_px, most=settings.max_tiles, rng=rng)
    network = BuildingNet(settings.encoder, torch.Generator().manual_seed(settings.seed), in_channels=6, outputs=2)
    steps = fit(network, lambda used, steps: _crops(tiles, settings, rng), settings, progress=progress)
    return network.eval(), steps


@torch.inference_mode()
def damaged_shares(
    network: BuildingNet, dates: TwoDates, settings: DetectionSettings, *, progress: Progress | None = None
) -> NDArray[np.float64]:
    """[N]: the share of each footprint that looks damaged; NaN where not both dates show any of it.

    A pixel counts by P(damaged) / (P(damaged) + P(intact)). Tiles are blended as in detection; as the weights of all
    tiles add up to 1 everywhere, nothing but two sums a building is kept, whatever the size of the event.
    """
    device, weight = next(network.parameters()).device, tile_weight(settings)
    damaged, seen = np.zeros(len(dates.geometry)), np.zeros(len(dates.geometry))
    start = -(settings.margin_px + settings.overlap_px)
    squares = list(dates.area.squares(settings.tile_px, step_px=settings.stride_px, start_px=start))
    for number, square in enumerate(squares, start=1):
        rows = dates.near(square)
        if len(rows):
            pixels, valid = dates.read(square)
            images = (torch.from_numpy(pixels[None]).to(device).float() / 255).contiguous(
                memory_format=torch.channels_last
            )
            intact, harmed = torch.sigmoid(network(images)[0].float()).cpu().numpy().astype(np.float64)
            buildings = draw_instances(dates.geometry[rows], dates.area.transform_of(square), square.size_px).ravel()
            counted = (weight * valid).ravel()
            share = (harmed / np.maximum(harmed + intact, 1e-9)).ravel()
            damaged[rows] += np.bincount(buildings, weights=counted * share, minlength=len(rows) + 1)[1:]
            seen[rows] += np.bincount(buildings, weights=counted, minlength=len(rows) + 1)[1:]
        if progress is not None:
            progress(number, len(squares), "looking")
    return np.where(seen > 0, damaged / np.maximum(seen, 1e-12), np.nan)


def _crops(tiles: DamageTiles, settings: DetectionTraining, rng: np.random.Generator) -> Crops:
    """A batch, half of it around damaged buildings; both dates turned alike and recoloured each for itself."""
    images, targets, weights = [], [], []
    for number in range(settings.batch):
        tile = int(rng.choice(np.flatnonzero(tiles.damaged == bool(number % 2))))
        row, column = rng.integers(0, tiles.codes.shape[-1] - settings.crop_px + 1, size=2)
        where = (slice(row, row + settings.crop_px), slice(column, column + settings.crop_px))
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))
        pixels = turned(tiles.pixels[tile][:, *where], turns, flip).astype(np.float32) / np.float32(255)
        codes = turned(tiles.codes[tile][where], turns, flip)
        images.append(np.concatenate([recoloured(pixels[:3], rng), recoloured(pixels[3:], rng)]))
        targets.append(np.stack([codes == INTACT, codes == DAMAGED]))
        weights.append(codes != _UNKNOWN)
    return Crops(
        np.stack(images).astype(np.float32), np.stack(targets).astype(np.float32), np.stack(weights).astype(np.float32)
    )

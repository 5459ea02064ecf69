"""What others feed a FixMatch step with: PIL views of pairs, made one by one by the workers of a DataLoader.

Knows nothing of damage_ssl, so that the environment of a peer can import it.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

Change = Callable[[Image.Image], Image.Image]


def drawn_pairs(count: int, size_px: int) -> NDArray[np.uint8]:
    """Smooth random pairs [count, size, size, 6]: what they show does not matter for the time."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 8, 8, 6), dtype=np.uint8)
    factor = size_px // 8
    return coarse.repeat(factor, axis=1).repeat(factor, axis=2)


def _affine(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix)


def random_strengths(operations: int, rng: np.random.Generator) -> Change:
    """RandAugment as FixMatch uses it: `operations` of its 14 at random strengths, then a cutout of up to half."""

    def enhanced(kind: Any) -> Callable[[Image.Image, float], Image.Image]:
        return lambda image, u: kind(image).enhance(0.05 + 0.9 * u)

    table: list[Callable[[Image.Image, float], Image.Image]] = [
        lambda image, u: ImageOps.autocontrast(image),
        enhanced(ImageEnhance.Brightness),
        enhanced(ImageEnhance.Color),
        enhanced(ImageEnhance.Contrast),
        enhanced(ImageEnhance.Sharpness),
        lambda image, u: ImageOps.equalize(image),
        lambda image, u: image,
        lambda image, u: ImageOps.posterize(image, 4 + int(4 * u)),
        lambda image, u: ImageOps.solarize(image, int(256 * u)),
        lambda image, u: image.rotate(60 * u - 30),
        lambda image, u: _affine(image, (1, 0.6 * u - 0.3, 0, 0, 1, 0)),
        lambda image, u: _affine(image, (1, 0, 0, 0.6 * u - 0.3, 1, 0)),
        lambda image, u: _affine(image, (1, 0, image.width * (0.6 * u - 0.3), 0, 1, 0)),
        lambda image, u: _affine(image, (1, 0, 0, 0, 1, image.height * (0.6 * u - 0.3))),
    ]

    def change(image: Image.Image) -> Image.Image:
        for index in rng.integers(len(table), size=operations):
            image = table[index](image, float(rng.random()))
        side = int(image.width * 0.5 * rng.random())
        left, top = (int(each) for each in rng.integers(0, image.width, 2))
        box = (left - side // 2, top - side // 2, left + side // 2, top + side // 2)
        image = image.copy()
        image.paste((127, 127, 127), box)
        return image

    return change


class PilPairs(Dataset[dict[str, Tensor]]):
    """One pair at a time: a weak view (mirror, padded shift, both dates alike), and a strong view where `strong`."""

    def __init__(self, pairs: NDArray[np.uint8], *, strong: bool, change: Change | None = None) -> None:
        self._pairs = pairs
        self._rng = np.random.default_rng(1)
        self._strong = strong
        self._change = change or random_strengths(2, self._rng)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        dates = [Image.fromarray(self._pairs[index, :, :, channels]) for channels in (slice(0, 3), slice(3, 6))]
        mirror, shift = self._rng.random() < 0.5, self._rng.integers(0, dates[0].width // 4 + 1, 2)
        views = {"weak": _stacked([self._weak(date, mirror, shift) for date in dates])}
        if self._strong:
            views["strong"] = _stacked([self._change(self._weak(date, mirror, shift)) for date in dates])
        return views | {"index": torch.tensor(index)}

    def _weak(self, image: Image.Image, mirror: bool, shift: NDArray[np.int64]) -> Image.Image:
        pad, size = image.width // 8, image.width
        image = ImageOps.mirror(image) if mirror else image
        padded = Image.fromarray(np.pad(np.asarray(image), ((pad, pad), (pad, pad), (0, 0)), mode="reflect"))
        left, top = int(shift[0]), int(shift[1])
        return padded.crop((left, top, left + size, top + size))


def _stacked(dates: list[Image.Image]) -> Tensor:
    """Float32 [6, H, W] in 0 to 1, as `ToTensor` makes it."""
    return torch.cat(
        [torch.from_numpy(np.array(date)).permute(2, 0, 1).contiguous().float().div(255) for date in dates]
    )


def batches(pairs: Dataset[dict[str, Tensor]], size: int, workers: int, steps: int) -> Iterator[dict[str, Tensor]]:
    """Random batches of `size` pairs from that many worker processes, one batch a worker ahead."""
    ahead = {"prefetch_factor": 1} if workers else {}
    sampler = RandomSampler(pairs, replacement=True, num_samples=size * steps)  # type: ignore[arg-type]
    loader = DataLoader(pairs, size, sampler=sampler, num_workers=workers, drop_last=True, **ahead)  # type: ignore[arg-type]
    return iter(loader)

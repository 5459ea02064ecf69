"""One table of all that a view may do to a pair, in batches: each sample has its own operation and strength.

Photometry of `photometry.py` on both dates, one knob of the affine map each, the grey square of cutout (DeVries &
Taylor 2017, arXiv:1708.04552). A photometric name and `cutout` may end in `@building` or `@context`: the footprint then
says where. Geometry moves pre, post and footprint alike; nothing else touches the footprint. At strength 0 every
operation is the identity (up to the 8 bits of an image).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from damage_ssl.errors import SettingsError
from damage_ssl.learning.augmentation.geometry import AFFINE_KNOBS, AffineRanges, affine_maps, centred, resample
from damage_ssl.learning.augmentation.photometry import AUGMENTATIONS, Operation, blended, check_operation, square
from damage_ssl.learning.device import to_device
from damage_ssl.learning.pair_tensor import FOOTPRINT, VIEW_CHANNELS

PairOperation = Callable[[Tensor, Tensor, Tensor, torch.Generator], Tensor]
"""Views [n, V, 7, S, S], strengths [n, 2] in −1 to 1 (of pre and post; what has no date takes the first), hues
[n, 2, 3], a generator on their device → new views."""

RANGES = AffineRanges(rotation_deg=30.0, zoom=1.25, shear=0.1, shift=0.125)
"""What strength 1 is of each knob: the ranges of a strong view."""

CUTOUT_SHARE = 0.5

NAMES = (*AUGMENTATIONS, "cutout", *AFFINE_KNOBS)
"""All operations, without endings and own ones."""


def operation_named(name: str) -> PairOperation:
    """The operation of this name.

    Raises:
        SettingsError: there is none; the message says which is nearest.
    """
    base, _, region = name.partition("@")
    regional = (*AUGMENTATIONS, "cutout")
    if base in AFFINE_KNOBS and region:
        raise SettingsError(
            f"views: operation '{name}' cannot be for a region: geometry moves the whole pair; use '{base}', or one of "
            f"{', '.join(regional)}"
        )
    if base in AFFINE_KNOBS:
        return _moving(AFFINE_KNOBS.index(base))
    check_operation(name, regional if region else (*regional, *AFFINE_KNOBS), "views")
    return _cutting(region) if base == "cutout" else _colouring(AUGMENTATIONS[base], region)


def apply_table(
    x: Tensor, operations: Sequence[str], chosen: Tensor, strength: Tensor, generator: torch.Generator
) -> Tensor:
    """Give each sample of `x`, float32 [N, 7 or 14, S, S] in [0, 1], its own operation; the input is never changed.

    Args:
        x: pairs as in `channels.py`.
        operations: names.
        chosen: which of them each sample gets, int64 [N] on the CPU.
        strength: −1 to 1, [N], or [N, 2] for pre and post each, on the CPU.
        generator: on the CPU; hues, noise and places of squares are drawn from it.

    Raises:
        SettingsError: an unknown name.
    """
    table = [operation_named(name) for name in operations]
    both = strength if strength.dim() == 2 else strength[:, None].expand(-1, 2)  # [N, 2]
    hue = torch.rand(len(x), 1, 3, generator=generator) * 2 - 1  # [N, 1, 3]
    pixels = torch.Generator(x.device).manual_seed(int(torch.randint(2**62, (), generator=generator)))
    order = chosen.argsort(stable=True)
    sizes = chosen.bincount(minlength=len(table)).tolist()
    strengths = to_device(both[order].to(x.dtype), x.device)  # [N, 2]
    hues = to_device((hue[order] * both[order][..., None]).to(x.dtype), x.device)  # [N, 2, 3]: 0 at strength 0
    views = x.view(len(x), -1, VIEW_CHANNELS, *x.shape[2:])[to_device(order, x.device)]  # [N, V, 7, S, S]
    parts = [
        operation(part, u, colour, pixels)
        for operation, part, u, colour in zip(
            table, torch.split(views, sizes), torch.split(strengths, sizes), torch.split(hues, sizes), strict=True
        )
        if len(part)
    ]
    return torch.cat(parts)[to_device(order.argsort(), x.device)].view_as(x)


def _colouring(operation: Operation, region: str) -> PairOperation:
    def coloured(views: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
        n, kinds, _, height, width = views.shape
        images = views[:, :, : FOOTPRINT.start].reshape(n, kinds, 2, 3, height, width).transpose(1, 2).flatten(0, 1)
        strength = u.reshape(-1, 1, 1, 1, 1)  # [2n, 1, 1, 1, 1], as images [2n, V, 3, S, S]: a draw for each date
        changed = operation(images, strength, colour.reshape(-1, 1, 3, 1, 1), generator).clamp(0, 1)
        changed = changed.view(n, 2, kinds, 3, height, width).transpose(1, 2).flatten(2, 3)  # [n, V, 6, S, S]
        return _recoloured(views, changed, region)

    return coloured


def _cutting(region: str) -> PairOperation:
    def cut(views: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
        centre = torch.rand(len(views), 2, device=views.device, dtype=views.dtype, generator=generator)
        inside = square(centre, CUTOUT_SHARE * u[:, 0].abs(), views.shape[-1])[:, None, None]  # [n, 1, 1, S, S]
        colours = views[:, :, : FOOTPRINT.start]
        return _recoloured(views, torch.where(inside > 0, colours.new_full((), 0.5), colours), region)

    return cut


def _moving(knob: int) -> PairOperation:
    def moved(views: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
        draws = u.new_zeros(len(u), len(AFFINE_KNOBS))
        draws[:, knob] = u[:, 0]
        maps = affine_maps(draws, torch.zeros_like(u[:, 0]), torch.ones_like(u[:, 0]), RANGES)
        each = [maps, centred(maps)]  # the context view stays centred on its building
        out = torch.stack([resample(view, each[min(i, 1)]) for i, view in enumerate(views.unbind(1))], dim=1)
        return torch.where(u[:, :1, None, None, None] == 0, views, out)  # resampling by nothing rounds

    return moved


def _recoloured(views: Tensor, colours: Tensor, region: str) -> Tensor:
    footprint = views[:, :, FOOTPRINT]
    before = views[:, :, : FOOTPRINT.start]
    return torch.cat([blended(before, colours, footprint, region), footprint], dim=2)

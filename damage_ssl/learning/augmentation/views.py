"""Weak and strong views of pairs, as batched tensor operations on the device that holds the pairs.

The layout of a pair is that of `damage_ssl.learning.pair_tensor`. Geometry is shared by both dates and the footprint;
the context view has the same without the shift, so that it stays centred on its building. The footprint is moved but
keeps its values: no photometry, no cutout. Per-sample parameters are drawn on the CPU; nothing waits for the device.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor

from damage_ssl.learning.augmentation.ctaugment import CTAugment, Probe, Strengths
from damage_ssl.learning.augmentation.geometry import (
    AFFINE_KNOBS,
    AffineRanges,
    WeakDraws,
    centred,
    draw_affine,
    draw_weak,
    move_pixels,
    resample,
)
from damage_ssl.learning.augmentation.mixing import mix_chains
from damage_ssl.learning.augmentation.photometry import (
    AUGMENTATIONS,
    NOT_BY_DEFAULT,
    apply_drawn,
    check_operation,
    with_footprint,
)
from damage_ssl.learning.device import to_device
from damage_ssl.learning.pair_tensor import FOOTPRINT, VIEW_CHANNELS
from damage_ssl.settings import Settings

DEFAULT_OPERATIONS = " ".join(name for name in AUGMENTATIONS if name not in NOT_BY_DEFAULT)


class ViewSettings(Settings, title="views"):
    """How far views may go from the pair.

    Weak: `weak_shift` is the largest shift as a share of the side. Strong: rotation up to ±`rotation_deg` beside the
    quarter turns, zoom up to `zoom` times in or out, `shear`, `strong_shift`; `operations_per_sample` photometric
    operations out of `operations` (names with spaces between), their ranges multiplied by `photometric_strength`; then
    a grey square of up to `cutout` of the side in both dates. `per_date_photometry` draws the operations of pre and
    post separately: another sensor, sun and haze is what separates two acquisitions of an intact building.
    Without `quarter_turns` views stay upright, mirrored left to right only: for images that are not taken from above.
    An operation whose name ends in `@building` or `@context` changes only the building, or only its surroundings.
    `strong_policy`: strengths within these ranges are `random` (RandAugment), or learned while training (`ctaugment`);
    `augmix` mixes chains of the operations on a weak view (`mixing.py`); `auto` is what the algorithm's paper does, or
    `random`.
    """

    weak_shift: float = Field(0.125, ge=0.0, le=0.125)
    rotation_deg: float = Field(30.0, ge=0.0, le=45.0)
    zoom: float = Field(1.25, ge=1.0, le=2.0)
    shear: float = Field(0.1, ge=0.0, le=0.5)
    strong_shift: float = Field(0.125, ge=0.0, le=0.5)
    operations: str = DEFAULT_OPERATIONS
    operations_per_sample: int = Field(2, ge=0)
    photometric_strength: float = Field(1.0, ge=0.0, le=1.0)
    per_date_photometry: bool = True
    cutout: float = Field(0.5, ge=0.0, le=1.0)
    quarter_turns: bool = True
    strong_policy: Literal["auto", "random", "ctaugment", "augmix"] = "auto"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name in self.operations.split():
            check_operation(name, AUGMENTATIONS, "operations")
        if not self.operations.split():
            raise ValueError("operations is empty; name 'identity' for none")
        return self


class Views:
    """Draws views of `x`, float32 [N, 7 or 14, S, S] in [0, 1]; the input is never changed.

    `generator` is on the CPU; the same state gives the same views.
    """

    def __init__(self, settings: ViewSettings | None = None) -> None:
        self.settings = settings or ViewSettings()
        self.policy: CTAugment | None = None
        self._regional = "@" in self.settings.operations
        if self.settings.strong_policy == "ctaugment":
            self.policy = CTAugment([*self.settings.operations.split(), *AFFINE_KNOBS, "cutout"])

    def weak(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Flip, quarter turn and a shift of whole pixels: values are moved, never changed."""
        close, context = _split(x)
        draws = draw_weak(len(x), x.shape[-1], self.settings.weak_shift, generator)
        if not self.settings.quarter_turns:
            draws = replace(draws, turns=torch.zeros_like(draws.turns))
        views = [move_pixels(close, draws)]
        if context is not None:
            still = WeakDraws(turns=draws.turns, mirror=draws.mirror, shift_px=torch.zeros_like(draws.shift_px))
            views.append(move_pixels(context, still))
        return torch.cat(views, dim=1) if len(views) > 1 else views[0]

    def strong(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """An affine map, then photometric operations, each sample its own, then cutout; or what the policy does."""
        if self.settings.strong_policy == "augmix":
            x = self.weak(x, generator)
            out = x.view(len(x), -1, VIEW_CHANNELS, *x.shape[2:])
            out[:, :, : FOOTPRINT.start] = self._recoloured(out, generator, None)
            return out.flatten(1, 2)
        return self._strong(x, generator, self.policy)

    def probe(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Probe]:
        """Strong views of uniform strengths, and which these were, for `policy` to learn from.

        Raises:
            ValueError: strengths are not learned here.
        """
        if self.policy is None:
            raise ValueError("views: only the strong policy 'ctaugment' learns from probes")
        probe = self.policy.probe()
        return self._strong(x, generator, probe), probe

    def _strong(self, x: Tensor, generator: torch.Generator, policy: Strengths | None) -> Tensor:
        settings = self.settings
        close, context = _split(x)
        ranges = AffineRanges(
            rotation_deg=settings.rotation_deg,
            zoom=settings.zoom,
            shear=settings.shear,
            shift=settings.strong_shift,
            quarter_turns=settings.quarter_turns,
        )
        maps = draw_affine(len(x), ranges, generator, self._affine_draws(policy, x.device, generator))
        views = [resample(close, maps)]
        if context is not None:
            views.append(resample(context, centred(maps)))
        out = torch.stack(views, dim=1)  # [N, V, 7, S, S]
        out[:, :, : FOOTPRINT.start] = self._recoloured(out, generator, policy)
        _cut_out(out, settings.cutout, generator, self._cutout_draws(policy, out, generator))
        return out.flatten(1, 2)

    def _recoloured(self, pairs: Tensor, generator: torch.Generator, policy: Strengths | None) -> Tensor:
        """The colours [N, V, 6, S, S] of pairs [N, V, 7, S, S] after photometry."""
        count, views, _, height, width = pairs.shape
        colours = pairs[:, :, : FOOTPRINT.start]
        images = colours.reshape(count, views, 2, 3, height, width).transpose(1, 2)  # [N, date, V, 3, S, S]
        if self._regional:
            footprint = pairs[:, None, :, FOOTPRINT].expand(-1, 2, -1, -1, -1, -1)  # [N, date, V, 1, S, S]
            images = torch.cat([images, footprint], dim=3)
        per_date = self.settings.per_date_photometry
        shared = images.flatten(0, 1) if per_date else images.flatten(1, 2)
        names = self.settings.operations.split()
        table = [with_footprint(name) if self._regional else AUGMENTATIONS[name] for name in names]

        def strengths(operation: Tensor, image: Tensor, generator: torch.Generator) -> Tensor:
            row = image // 2 if per_date else image
            return cast(Strengths, policy).draw(operation, row, generator, colours.device)

        strength = self.settings.photometric_strength
        if self.settings.strong_policy == "augmix":
            changed = mix_chains(shared, table, strength, generator)
        else:
            per_sample = self.settings.operations_per_sample
            changed = apply_drawn(shared, table, per_sample, strength, generator, strengths if policy else None)
        return changed.view(*images.shape)[:, :, :, :3].transpose(1, 2).flatten(2, 3)

    def _affine_draws(
        self, policy: Strengths | None, device: torch.device, generator: torch.Generator
    ) -> Callable[[Tensor], Tensor] | None:
        if policy is None:
            return None
        first = len(self.settings.operations.split())

        def draws(u: Tensor) -> Tensor:
            knob = first + torch.arange(len(AFFINE_KNOBS)).repeat(len(u))
            row = torch.arange(len(u)).repeat_interleave(len(AFFINE_KNOBS))
            return policy.draw(knob, row, generator, device).view(u.shape)

        return draws

    def _cutout_draws(self, policy: Strengths | None, views: Tensor, generator: torch.Generator) -> Tensor | None:
        if policy is None:
            return None
        count, kinds = views.shape[:2]
        knob = torch.full((count * kinds,), len(self.settings.operations.split()) + len(AFFINE_KNOBS))
        row = torch.arange(count).repeat_interleave(kinds)
        return policy.draw(knob, row, generator, views.device).view(count, kinds, 1)


def _split(x: Tensor) -> tuple[Tensor, Tensor | None]:
    channels, height, width = x.shape[1:]
    if channels not in (VIEW_CHANNELS, 2 * VIEW_CHANNELS) or height != width:
        raise ValueError(f"views: pairs are [N, 7 or 14, S, S], but these are {list(x.shape)}")
    return x[:, :VIEW_CHANNELS], x[:, VIEW_CHANNELS:] if channels > VIEW_CHANNELS else None


def _cut_out(views: Tensor, largest: float, generator: torch.Generator, strength: Tensor | None) -> None:
    """Grey one square in the colour channels of each view [N, V, 7, S, S], in place; side uniform up to `largest`.

    `strength` [N, V, 1] in −1 to 1 decides the side instead, from 0 to `largest`.
    """
    count, kinds, _, size, _ = views.shape
    u = torch.rand(count, kinds, 3, generator=generator)
    u = to_device(u, views.device)
    share = u[..., 2:] if strength is None else (strength + 1) / 2  # [N, V, 1]
    half = share * (largest / 2)  # [N, V, 1]
    at = (torch.arange(size, device=views.device) + 0.5) / size  # [S]
    rows = (at - u[..., :1]).abs() < half  # [N, V, S]
    columns = (at - u[..., 1:2]).abs() < half  # [N, V, S]
    square = rows[..., :, None] & columns[..., None, :]  # [N, V, S, S]
    views[:, :, : FOOTPRINT.start].masked_fill_(square[:, :, None], 0.5)


def resolved(settings: ViewSettings, policy: Literal["random", "ctaugment"]) -> ViewSettings:
    """The settings of views with `policy` where they leave the policy to the algorithm."""
    return settings.replace(strong_policy=policy) if settings.strong_policy == "auto" else settings

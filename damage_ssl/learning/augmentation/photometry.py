"""Photometric operations for strong views: one table, applied in batches; operation and strength drawn per sample.

After RandAugment (Cubuk et al. 2020, arXiv:1909.13719) as FixMatch uses it (arXiv:2001.07685, appendix), with ranges
narrowed and haze, tint, gamma and sensor noise added for aerial imagery: how dark, grey or rough a roof is carries the
damage, so an operation must not make an intact roof look burnt.

An operation takes images [n, k, 3, H, W] in [0, 1] (k images share a draw), a strength `u` [n, 1, 1, 1, 1] in −1 to 1,
`colour` [n, 1, 3, 1, 1] in −1 to 1 and a generator on the images' device, and returns new images, clamped afterwards.
"""

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from damage_ssl.errors import SettingsError, nearest_name
from damage_ssl.learning.device import to_device

PATCH_SHARE, PATCH_DEVIATION = 25 / 32, 0.1

Operation = Callable[[Tensor, Tensor, Tensor, torch.Generator], Tensor]
Magnitudes = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""Operation numbers and samples, int64 [n] each on the CPU → strengths [n] in −1 to 1 on the images' device."""


def identity(x: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
    """Nothing: RandAugment's table holds it too."""
    return x


def autocontrast(x: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
    """Stretch the image to its full range, blended by 0.7 |u|; all channels alike, so that the hue stays."""
    low, high = x.amin((-3, -2, -1), keepdim=True), x.amax((-3, -2, -1), keepdim=True)
    return torch.lerp(x, (x - low) / (high - low).clamp_min(1e-3), 0.7 * u.abs())


def brightness(x: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
    """Times 0.6 to 1.4."""
    return x * (1 + 0.4 * u)


def contrast(x: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
    """Distance from the image's mean grey times 0.5 to 1.5."""
    mean = x.mean((-3, -2, -1), keepdim=True)
    return torch.lerp(mean, x, 1 + 0.5 * u)


def saturation(x: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
    """Distance from grey times 0.3 to 1.7."""
    return torch.lerp(_grey(x).expand_as(x), x, 1 + 0.7 * u)


def gamma(x: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
    """To the power of 0.6 to 1.65."""
    return x.clamp_min(1e-4) ** torch.exp(0.5 * u)


def tint(x: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
    """Each channel times 0.85 to 1.15: another sensor or sun."""
    return x * (1 + 0.15 * colour)


def haze(x: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
    """Up to 40 % of a veil that is nearly white: thin smoke or cloud."""
    return torch.lerp(x, 0.77 + 0.05 * colour, 0.4 * u.abs())


def posterize(x: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
    """Round to between 4 and 8 bits."""
    levels = 2 ** (8 - 4 * u.abs()) - 1
    return (x * levels).round() / levels


def equalize(x: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
    """Flatten the histogram of grey values (256 bins), blended by |u|/2.

    The change in grey is added to all channels: equalizing each, as PIL does, paints dim images purple.
    """
    grey = _grey(x)  # [n, k, 1, H, W]
    bins = (grey * 255).long().clamp_(0, 255).flatten(-2)  # [n, k, 1, H·W]
    histogram = x.new_zeros(*bins.shape[:-1], 256).scatter_add_(-1, bins, x.new_ones(bins.shape))
    rank = (histogram.cumsum(-1) / bins.shape[-1]).gather(-1, bins).view_as(grey)
    return x + (rank - grey) * (0.5 * u.abs())


def solarize(x: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
    """Invert what is brighter than 1 − |u|/2. Not in the default table: no sensor shows a roof's negative."""
    return torch.where(x > 1 - 0.5 * u.abs(), 1 - x, x)


def sharpness(x: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
    """Between a 3 × 3 blur (u = −1) and twice the detail (u = 1)."""
    return torch.lerp(_smooth(x), x, 1 + u)


def blur(x: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
    """Blend with the image smoothed twice: a coarser sensor."""
    return torch.lerp(x, _smooth(_smooth(x)), u.abs())


def noise(x: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
    """Sensor noise, standard deviation up to 0.04."""
    drawn = torch.randn(x.shape, device=x.device, dtype=x.dtype, generator=generator)
    return torch.addcmul(x, drawn, 0.04 * u.abs())


def patch_gaussian(x: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
    """Noise within one square only (Lopes et al. 2019, arXiv:1906.02611): 25/32 of the side, deviation up to 0.1.

    Both are the paper's for CIFAR-10. The centre is uniform over the image, so that the square may stick out of it.
    """
    draws = torch.rand(len(x), 2, device=x.device, dtype=x.dtype, generator=generator)
    inside = square(draws, u.new_full((len(x),), PATCH_SHARE), x.shape[-1])[:, None, None]  # [n, 1, 1, H, W]
    drawn = torch.randn(x.shape, device=x.device, dtype=x.dtype, generator=generator)
    return torch.addcmul(x, drawn, PATCH_DEVIATION * u.abs() * inside)


def square(centre: Tensor, side: Tensor, size_px: int) -> Tensor:
    """1 inside a square, else 0: [n, S, S], of centres [n, 2] (row, column) and sides [n], as shares of the image."""
    at = (torch.arange(size_px, device=centre.device) + 0.5) / size_px  # [S]
    near = (at - centre[..., None]).abs() < side[:, None, None] / 2  # [n, 2, S]
    return (near[:, 0, :, None] & near[:, 1, None, :]).to(centre.dtype)


def _grey(x: Tensor) -> Tensor:
    red, green, blue = torch.split(x, 1, dim=-3)
    return 0.299 * red + 0.587 * green + 0.114 * blue  # Rec. 601, as PIL


def _smooth(x: Tensor) -> Tensor:
    return F.avg_pool2d(x.flatten(0, 1), 3, stride=1, padding=1, count_include_pad=False).view_as(x)


class Augmentations(dict[str, Operation]):
    """The photometric operations that strong views are drawn from, by name.

    An operation takes images [n, k, 3, H, W] in [0, 1], a strength `u` [n, 1, 1, 1, 1] in −1 to 1, `colour`
    [n, 1, 3, 1, 1] in −1 to 1 and a generator on the images' device, and returns new images; at strength 0 it is the
    identity. An own one is entered by its name and can then be named in a run's `operations`, also with `@building` or
    `@context` behind it. Flips, turns, zoom, shear and cutout are settings of the views.

    Examples:
        >>> import torch
        >>> x, u, colour = torch.full((1, 1, 3, 2, 2), 0.5), torch.ones(1, 1, 1, 1, 1), torch.zeros(1, 1, 3, 1, 1)
        >>> AUGMENTATIONS["brightness"](x, u, colour, torch.Generator()).unique()
        tensor([0.7000])
        >>> AUGMENTATIONS["dusk"] = lambda x, u, colour, generator: x * (1 - 0.3 * u.abs())
        >>> TrainSettings(options={"operations": "dusk blur noise@context"}).algorithm
        'mixmatch'
    """


AUGMENTATIONS = Augmentations(
    {
        "identity": identity,
        "autocontrast": autocontrast,
        "brightness": brightness,
        "contrast": contrast,
        "saturation": saturation,
        "gamma": gamma,
        "tint": tint,
        "haze": haze,
        "posterize": posterize,
        "equalize": equalize,
        "solarize": solarize,
        "sharpness": sharpness,
        "blur": blur,
        "noise": noise,
        "patch-gaussian": patch_gaussian,
    }
)

NOT_BY_DEFAULT = ("solarize", "patch-gaussian")
"""Those that a strong view draws only where its settings name them."""

BUILDING, CONTEXT = "@building", "@context"
"""Endings of the name of an operation that is to change only the building, or only what surrounds it."""


def check_operation(name: str, allowed: Collection[str], where: str) -> None:
    """Check the name of an operation, with or without an ending.

    Raises:
        SettingsError: there is none of that name; the message says which is nearest.
    """
    known = [*allowed, *(f"{each}{ending}" for ending in (BUILDING, CONTEXT) for each in allowed if each != "identity")]
    if name not in known:
        nearest = nearest_name(name, known if "@" in name else allowed)
        raise SettingsError(f"{where}: operation '{name}' is unknown: {nearest}")


def with_footprint(name: str) -> Operation:
    """The operation of this name on images with the footprint (0 to 1) as fourth channel, which stays as it is."""
    base, _, region = name.partition("@")
    operation = AUGMENTATIONS[base]

    def changed(x: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
        image, footprint = x[..., :3, :, :], x[..., 3:, :, :]
        out = operation(image, u, colour, generator).clamp(0, 1)
        return torch.cat([blended(image, out, footprint, region), footprint], dim=-3)

    return changed


def blended(before: Tensor, after: Tensor, footprint: Tensor, region: str) -> Tensor:
    """`after` where the region is (`building`, `context`, or everywhere: ''), `before` elsewhere, to the bit."""
    if not region:
        return after
    share = footprint if region == BUILDING[1:] else 1 - footprint
    return torch.lerp(before, after, share.expand_as(before))


def apply_drawn(
    x: Tensor,
    operations: Sequence[Operation],
    per_sample: int,
    strength: float,
    generator: torch.Generator,
    magnitudes: Magnitudes | None = None,
) -> Tensor:
    """Apply to each sample of `x` [n, k, 3, H, W] its own `per_sample` operations, drawn uniformly from the table.

    The choice is drawn on the CPU, so sorting samples by operation costs no wait for the device; each operation then
    runs once a round on the samples that drew it. `magnitudes` decides the strengths (None: uniform).
    """
    count = len(x)
    seed = int(torch.randint(2**62, (), generator=generator))
    pixels = torch.Generator(x.device).manual_seed(seed)
    place = torch.arange(count)  # [n] sample that each row of x now holds
    for _ in range(per_sample):
        chosen = torch.randint(len(operations), (count,), generator=generator)  # [n]
        u = (torch.rand(count, 4, generator=generator) * 2 - 1) * strength  # [n, 4]
        order = chosen.argsort(stable=True)
        sizes = chosen.bincount(minlength=len(operations)).tolist()
        u = to_device(u, x.device)  # rows are alike, so need no sorting
        place = place[order]
        if magnitudes is not None:
            u = torch.cat([strength * magnitudes(chosen[order], place, generator)[:, None], u[:, 1:]], dim=1)
        values = torch.split(u, sizes)
        parts = [
            operation(part, value[:, 0].view(-1, 1, 1, 1, 1), value[:, 1:].view(-1, 1, 3, 1, 1), pixels)
            for operation, part, value in zip(
                operations, torch.split(x[to_device(order, x.device)], sizes), values, strict=True
            )
            if len(part)
        ]
        x = torch.cat(parts).clamp_(0, 1)
    return x[to_device(place.argsort(), x.device)]

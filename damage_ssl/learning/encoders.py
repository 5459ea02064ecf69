"""Encoders by name: images → feature maps at several depths. None of them takes statistics from a training batch."""

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from damage_ssl.errors import SettingsError, nearest_name
from damage_ssl.learning.lite0 import Lite0
from damage_ssl.learning.random_features import RandomFeatures
from damage_ssl.learning.torchvision_compat import ensure_torchvision

SMP_PREFIX = "smp:"


class Encoder(Protocol):
    """Images [B, C, H, W] in [0, 1] → one feature map a tap, shallow to deep."""

    tap_channels: tuple[int, ...]
    pretrained: bool

    def __call__(self, x: Tensor) -> list[Tensor]: ...


class SmallCNN(nn.Module):
    """Eight 3 × 3 convolutions with group norm (Wu & He 2018), 0.5 M parameters; trains from scratch on a laptop.

    Taps at strides 4, 8 and 16 with 64, 96 and 128 channels.
    """

    tap_channels = (64, 96, 128)
    pretrained = False
    widths = (32, 32, 64, 64, 96, 96, 128, 128)

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        previous = in_channels
        for index, width in enumerate(self.widths):
            stride = 2 if index % 2 == 0 else 1
            conv = nn.Conv2d(previous, width, 3, stride=stride, padding=1, bias=False)
            layers.append(nn.Sequential(conv, nn.GroupNorm(8, width), nn.ReLU(inplace=True)))
            previous = width
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = (x - 0.5) / 0.25
        taps = []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in (3, 5, 7):
                taps.append(x)
        return taps


class SmpEncoder(nn.Module):
    """Any encoder of segmentation-models-pytorch by name, untrained, its batch norms replaced by group norms.

    Taps are its three deepest feature maps.

    Raises:
        SettingsError: smp has no encoder of that name.
    """

    pretrained = False

    def __init__(self, name: str, in_channels: int = 3) -> None:
        super().__init__()
        ensure_torchvision()
        import segmentation_models_pytorch as smp

        try:
            encoder = smp.encoders.get_encoder(name, in_channels=in_channels, weights=None)
        except (KeyError, ValueError, RuntimeError) as error:
            raise SettingsError(
                f"network '{SMP_PREFIX}{name}': segmentation-models-pytorch has no such encoder; "
                f"{nearest_name(name, smp.encoders.get_encoder_names())}"
            ) from error
        self.encoder = group_norms(encoder)
        self.tap_channels = tuple(int(count) for count in encoder.out_channels[-3:])

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.encoder((x - 0.5) / 0.25)
        return list(maps[-3:])


def group_norms(module: nn.Module) -> nn.Module:
    """Replace every batch norm inside by a group norm of about 8 channels a group, keeping a fused activation."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        channels = module.num_features
        norm = nn.GroupNorm(math.gcd(channels, max(channels // 8, 1)), channels)
        activation = getattr(module, "act", None)
        return norm if activation is None else nn.Sequential(norm, activation)
    for name, child in module.named_children():
        setattr(module, name, group_norms(child))
    return module


ENCODERS: dict[str, Callable[[int], nn.Module]] = {
    "efficientnet-lite0": Lite0,
    "small-cnn": SmallCNN,
    "random-features": RandomFeatures,
}


def encoder_named(name: str, in_channels: int) -> nn.Module:
    """Build an encoder: `efficientnet-lite0`, `small-cnn` or `smp:<encoder>`.

    Raises:
        SettingsError: no such encoder.
    """
    if name.startswith(SMP_PREFIX):
        return SmpEncoder(name.removeprefix(SMP_PREFIX), in_channels)
    if name not in ENCODERS:
        raise SettingsError(
            f"network '{name}' is unknown: {nearest_name(name, [*ENCODERS, f'{SMP_PREFIX}resnet18'])} "
            f"(any encoder of segmentation-models-pytorch as '{SMP_PREFIX}<encoder>')"
        )
    return ENCODERS[name](in_channels)


def is_pretrained(name: str) -> bool:
    """True where an encoder of this name comes with weights that are worth standing on."""
    return bool(getattr(ENCODERS.get(name), "pretrained", False)) and name != "random-features"


def seeded(build: Callable[[], nn.Module], generator: torch.Generator) -> nn.Module:
    """Build a module with initial weights drawn from `generator`, leaving torch's global generator as it was.

    The initialisers of torch.nn know only the global generator.
    """
    seed = int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()

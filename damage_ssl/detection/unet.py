"""The U-Net: an encoder with or without ImageNet weights, and the decoder of segmentation-models-pytorch.

Ronneberger et al. 2015 (arXiv:1505.04597). Two maps come out: whether a pixel is building, and whether it is the core
of one, farther than a metre from its outline; the cores are what tells touching roofs apart.
"""

from typing import Any

import torch
from torch import Tensor, nn

from damage_ssl.errors import SettingsError, nearest_name
from damage_ssl.learning.networks.efficientnet_lite0 import Lite0
from damage_ssl.learning.networks.encoders import SMP_PREFIX, seeded
from damage_ssl.learning.networks.torchvision_compat import ensure_torchvision

CHANNELS = ("building", "core")
LITE0, LITE0_SCRATCH = "efficientnet-lite0", "efficientnet-lite0-scratch"
_DECODER_CHANNELS = (96, 64, 32, 16)
_LITE0_NAME = "tu-tf_efficientnet_lite0"
_DEPTH = 4
_RARE = 0.1


class BuildingNet(nn.Module):
    """Images uint8-valued in [0, 1], [B, C, H, W] with H and W multiples of 16 → logits [B, outputs, H, W].

    Batch norms of pretrained encoders keep their statistics; those of the decoder and of untrained encoders are
    trained, not replaced by group norms: a group norm would make a pixel depend on all of its tile, and tiles would
    not fit together. Initial weights are drawn from `generator`.

    Raises:
        SettingsError: no such encoder.
    """

    def __init__(
        self, encoder: str, generator: torch.Generator, *, in_channels: int = 3, outputs: int = len(CHANNELS)
    ) -> None:
        super().__init__()
        self.encoder: Any = seeded(lambda: _encoder_named(encoder, in_channels), generator)
        ensure_torchvision()
        from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

        channels = (in_channels, *_taps_of(self.encoder))
        self.decoder = seeded(lambda: UnetDecoder(channels, _DECODER_CHANNELS, n_blocks=_DEPTH), generator)
        self.head = seeded(lambda: nn.Conv2d(_DECODER_CHANNELS[-1], outputs, 3, padding=1), generator)
        # Buildings cover a small part of most imagery: starting from that share spares the first steps.
        nn.init.constant_(self.head.bias, float(torch.logit(torch.tensor(_RARE))))  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        maps = self.encoder(x)  # strides 2, 4, 8, 16
        logits: Tensor = self.head(self.decoder([x, *maps]))
        return logits


class Lite0Taps(nn.Module):
    """`learning.lite0.Lite0` with its weights, also giving the map at stride 2: [16, 24, 40, 112] channels."""

    tap_channels = (16, 24, 40, 112)
    pretrained = True
    taps = (0, 2, 4, 10)

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.net = Lite0(in_channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.net.stem((x * 255.0 - 127.0) / 128.0)  # the weights' own normalisation
        maps = []
        for index, block in enumerate(self.net.blocks):
            x = block(x)
            if index in self.taps:
                maps.append(x)
        return maps


class SmpTaps(nn.Module):
    """An encoder of segmentation-models-pytorch down to stride 16, untrained.

    Raises:
        SettingsError: smp has no encoder of that name that can be cut off there.
    """

    pretrained = False

    def __init__(self, name: str, in_channels: int = 3) -> None:
        super().__init__()
        ensure_torchvision()
        import segmentation_models_pytorch as smp

        try:
            self.net: Any = smp.encoders.get_encoder(name, in_channels=in_channels, depth=_DEPTH, weights=None)
        except (KeyError, ValueError, RuntimeError) as error:
            raise SettingsError(
                f"encoder '{SMP_PREFIX}{name}': segmentation-models-pytorch has no such encoder; "
                f"{nearest_name(name, smp.encoders.get_encoder_names())}"
            ) from error
        self.tap_channels = tuple(int(count) for count in self.net.out_channels[1:])

    def forward(self, x: Tensor) -> list[Tensor]:
        return list(self.net((x - 0.5) / 0.25)[1:])


def _taps_of(encoder: Any) -> tuple[int, ...]:
    return tuple(encoder.tap_channels)


def is_pretrained(encoder: str) -> bool:
    """True where an encoder of this name starts from ImageNet weights."""
    return encoder == LITE0


def _encoder_named(name: str, in_channels: int) -> Any:
    if name == LITE0:
        return Lite0Taps(in_channels)
    if name == LITE0_SCRATCH:
        return SmpTaps(_LITE0_NAME, in_channels)
    if name.startswith(SMP_PREFIX):
        return SmpTaps(name.removeprefix(SMP_PREFIX), in_channels)
    raise SettingsError(
        f"encoder '{name}' is unknown: {nearest_name(name, [LITE0, LITE0_SCRATCH, f'{SMP_PREFIX}resnet18'])} "
        f"(any encoder of segmentation-models-pytorch as '{SMP_PREFIX}<encoder>')"
    )

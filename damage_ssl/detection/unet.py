"""The U-Net: an encoder with or without ImageNet weights, and the decoder of segmentation-models-pytorch.

Ronneberger et al. 2015 (arXiv:1505.04597). Two maps come out: whether a pixel is building, and whether it is the core
of one, farther than a metre from its outline; the cores are what tells touching roofs apart.
"""

from typing import Any

import torch
from torch import Tensor, nn

from damage_ssl.learning.networks.encoders import pyramid_named, seeded
from damage_ssl.learning.networks.torchvision_compat import ensure_torchvision

CHANNELS = ("building", "core")
_DECODER_CHANNELS = (96, 64, 32, 16)
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
        pyramid: Any = seeded(lambda: pyramid_named(encoder, in_channels), generator)
        self.encoder = pyramid
        ensure_torchvision()
        from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

        channels = (in_channels, *pyramid.tap_channels)
        self.decoder = seeded(lambda: UnetDecoder(channels, _DECODER_CHANNELS, n_blocks=_DEPTH), generator)
        self.head = seeded(lambda: nn.Conv2d(_DECODER_CHANNELS[-1], outputs, 3, padding=1), generator)
        # Buildings cover a small part of most imagery: starting from that share spares the first steps.
        nn.init.constant_(self.head.bias, float(torch.logit(torch.tensor(_RARE))))  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        maps = self.encoder(x)  # strides 2, 4, 8, 16
        logits: Tensor = self.head(self.decoder([x, *maps]))
        return logits

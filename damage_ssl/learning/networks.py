"""The network: a pair of dates → class logits.

A pair's channels are in `channels.py`. Each feature map is pooled twice, over the footprint and over the whole patch,
at several depths: the building itself decides, its surroundings (debris, burnt trees, a washed-out yard) help.
"""

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from damage_ssl.learning.channels import FOOTPRINT, POST, PRE, VIEW_CHANNELS
from damage_ssl.learning.encoders import Encoder, encoder_named, seeded
from damage_ssl.learning.random_features import RandomFeatures

Fusion = Literal["siamese", "change", "stacked", "post"]

IMAGE_CHANNELS: dict[Fusion, int] = {"siamese": 3, "change": 3, "stacked": VIEW_CHANNELS, "post": 3}
"""Channels of one image that the encoder sees."""

PARTS: dict[Fusion, int] = {"siamese": 3, "change": 2, "stacked": 1, "post": 1}
"""How many image's worth of features a pair has."""

TEXTURE_WEIGHT = 0.5
"""Scale of standardised texture features beside the encoder's, for a head under one common penalty.

Regression on 10 labels a class, mean AUROC of 8 draws, weight 0 / 0.5 / 1: flood 0.749 / 0.818 / 0.839, wildfire
0.998 / 0.997 / 0.994, hurricane (5 a class) 0.993 / 0.997 / 0.993.
"""

OUTSIDE_WEIGHT = 1e-3
"""Weight of a pixel outside the footprint in the masked pool: an empty mask then falls back to the plain average."""


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """All that is needed to build the network again before its weights are loaded.

    `channels` is 7, or 14 with a context view. `input_px` is the size that patches are resized to (bilinear).
    `footprint_pool` adds the average over the footprint to the one over the whole patch. `texture_filters` adds that
    many random convolutional features (see `random_features.py`) of each image to the encoder's.
    """

    network: str
    fusion: Fusion
    channels: int
    input_px: int
    classes: int
    footprint_pool: bool = True
    texture_filters: int = 0


class PairNetwork(nn.Module):
    """Pairs [B, 7 or 14, H, W] in [0, 1] → logits [B, classes].

    Siamese: one encoder sees pre and post; the features are [pre, post, post − pre] (Daudt et al. 2018,
    arXiv:1810.08462, with both dates kept). Change: the same without pre, [post, post − pre]: what a roof looked like
    says little of damage. Stacked: the encoder sees all seven channels. Post: it sees only the post date. A context
    view goes through the same encoder, its features are appended.

    The head is linear on features standardised by `feature_mean` and `feature_scale`, constants of the event set by
    `set_feature_statistics`; without them features pass unchanged. `auxiliary` holds heads that an algorithm trains
    beside it (`add_head`); a finished network has none.
    """

    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = encoder_named(spec.network, IMAGE_CHANNELS[spec.fusion])
        per_image = sum(cast(Encoder, self.encoder).tap_channels) * (2 if spec.footprint_pool else 1)
        self.texture = None
        if spec.texture_filters:
            self.texture = RandomFeatures(IMAGE_CHANNELS[spec.fusion], spec.texture_filters, stride=2)
            per_image += 2 * spec.texture_filters
        per_view = per_image * PARTS[spec.fusion]
        self.feature_count = per_view * (spec.channels // VIEW_CHANNELS)
        self.register_buffer("feature_mean", torch.zeros(self.feature_count))
        self.register_buffer("feature_scale", torch.ones(self.feature_count))
        self.head = nn.Linear(self.feature_count, spec.classes)
        self.auxiliary = nn.ModuleDict()
        self.train(False)

    @property
    def random_features(self) -> list[RandomFeatures]:
        """The parts whose filters are to be drawn from the event's imagery before anything else."""
        return [module for module in self.modules() if isinstance(module, RandomFeatures)]

    @property
    def pretrained(self) -> bool:
        """True where the encoder starts from pretrained weights."""
        return bool(self.encoder.pretrained)

    def train(self, mode: bool = True) -> "PairNetwork":
        """Always evaluation mode: no batch statistics and no dropout from the global generator anywhere."""
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.features(x))

    def classify(self, features: Tensor, head: str | None = None) -> Tensor:
        """Features [B, F] → logits [B, classes] in float32, whatever precision the encoder ran in.

        With `head`, those of the auxiliary head of that name.
        """
        with torch.autocast(features.device.type, enabled=False):
            standard = (features.float() - self.feature_mean) * self.feature_scale
            logits: Tensor = self.head(standard) if head is None else self.auxiliary[head](standard)
        return logits

    def add_head(self, name: str, outputs: int, generator: torch.Generator) -> None:
        """An auxiliary head on the same features, drawn from `generator`."""
        made = seeded(lambda: nn.Linear(self.feature_count, outputs), generator)
        self.auxiliary[name] = made.to(self.feature_mean.device)

    def features(self, x: Tensor) -> Tensor:
        """Pooled features [B, F] in float32, not standardised; context features follow those of the close view."""
        views = torch.split(x, VIEW_CHANNELS, dim=1)
        footprints = torch.cat([view[:, FOOTPRINT] for view in views])  # [V·B, 1, H, W]
        close_and_context = torch.cat(views) if len(views) > 1 else x
        if self.spec.fusion == "stacked":
            pooled = self._pooled(close_and_context, footprints)
        elif self.spec.fusion == "post":
            pooled = self._pooled(close_and_context[:, POST], footprints)
        else:
            dates = torch.cat([close_and_context[:, PRE], close_and_context[:, POST]])  # [2·V·B, 3, H, W]
            pre, post = self._pooled(dates, footprints.repeat(2, 1, 1, 1)).chunk(2)
            both = [post, post - pre]
            pooled = torch.cat([pre, *both] if self.spec.fusion == "siamese" else both, dim=1)
        return torch.cat(pooled.chunk(len(views)), dim=1)

    def _pooled(self, images: Tensor, footprints: Tensor) -> Tensor:
        averages = [] if self.texture is None else [self.texture(images)[0].flatten(1)]
        images = resized(images, self.spec.input_px)
        if images.device.type == "cpu":
            images = images.contiguous(memory_format=torch.channels_last)
        maps: list[Tensor] = self.encoder(images)
        averages += [each.float().mean(dim=(2, 3)) for each in maps]
        if self.spec.footprint_pool:
            averages += [footprint_average(each.float(), footprints) for each in maps]
        return torch.cat(averages, dim=1)

    @torch.no_grad()
    def set_feature_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Standardise features by these from now on, texture to `TEXTURE_WEIGHT`, and divide by √F.

        The division keeps a step of an adaptive optimiser, which moves every weight by the same amount, from
        moving the logits by more the more features there are.
        """
        self.feature_mean.copy_(mean)
        self.feature_scale.copy_(self._weights().to(std) / (std * self.feature_count**0.5))

    def _weights(self) -> Tensor:
        texture = 2 * self.spec.texture_filters
        parts = PARTS[self.spec.fusion] * (self.spec.channels // VIEW_CHANNELS)
        weights = torch.ones(parts, self.feature_count // parts)  # texture comes first in the features of an image
        weights[:, :texture] = TEXTURE_WEIGHT
        return weights.flatten()

    @torch.no_grad()
    def set_head(self, coefficients: Tensor, intercept: Tensor) -> None:
        """Put a linear classifier of the standardised features into the head: [classes, F] and [classes]."""
        self.head.weight.copy_(coefficients * self.feature_count**0.5)
        self.head.bias.copy_(intercept)


def build_network(spec: NetworkSpec, generator: torch.Generator) -> PairNetwork:
    """A network whose untrained parts are drawn from `generator`."""
    return cast(PairNetwork, seeded(lambda: PairNetwork(spec), generator))


def resized(images: Tensor, size_px: int) -> Tensor:
    """Images [B, C, H, W] at `size_px` pixels a side, bilinear, with antialiasing where that makes them smaller."""
    if images.shape[-1] == size_px:
        return images
    return F.interpolate(
        images, size=(size_px, size_px), mode="bilinear", align_corners=False, antialias=images.shape[-1] > size_px
    )


def footprint_average(maps: Tensor, footprints: Tensor) -> Tensor:
    """Average of feature maps [B, C, h, w] over the footprint [B, 1, H, W]: [B, C].

    The footprint is brought to the map's size by area, so a cell weighs by the share of it that is building.
    """
    share = F.adaptive_avg_pool2d(footprints.float(), (maps.shape[2], maps.shape[3]))[:, 0]  # [B, h, w]
    weights = share + OUTSIDE_WEIGHT
    weights = weights / weights.sum(dim=(1, 2), keepdim=True)
    return torch.einsum("bchw,bhw->bc", maps, weights)

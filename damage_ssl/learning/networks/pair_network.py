"""The network: a pair of dates → class logits.

A pair's channels are in `channels.py`. Each feature map is pooled twice, over the footprint and over the whole patch,
at several depths: the building itself decides, its surroundings (debris, burnt trees, a washed-out yard) help.
"""

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from damage_ssl.learning.networks.encoders import Encoder, Norm, encoder_named, seeded
from damage_ssl.learning.networks.fusion import (
    ATTENDED_TAPS,
    IMAGE_CHANNELS,
    PARTS,
    CrossAttention,
    Fusion,
    centre_crop,
    combined,
)
from damage_ssl.learning.networks.heads import HEADS, OrdinalHead
from damage_ssl.learning.networks.random_features import RandomFeatures
from damage_ssl.learning.pair_tensor import FOOTPRINT, POST, PRE, VIEW_CHANNELS
from damage_ssl.settings import Settings

__all__ = ["IMAGE_CHANNELS", "PARTS", "Fusion", "NetworkSpec", "PairNetwork", "build_network"]


TEXTURE_WEIGHT = 0.5
"""Scale of standardised texture features beside the encoder's, for a head under one common penalty.

Regression on 10 labels a class, mean AUROC of 8 draws, weight 0 / 0.5 / 1: flood 0.749 / 0.818 / 0.839, wildfire
0.998 / 0.997 / 0.994, hurricane (5 a class) 0.993 / 0.997 / 0.993.
"""

OUTSIDE_WEIGHT = 1e-3
"""Weight of a pixel outside the footprint in the masked pool: an empty mask then falls back to the plain average."""


class NetworkSpec(Settings):
    """All that is needed to build the network again before its weights are loaded.

    `channels` is 7, or 14 with a context view. `input_px` is the size that patches are resized to (bilinear).
    `footprint_pool` adds the average over the footprint to the one over the whole patch. `texture_filters` adds that
    many random convolutional features (see `random_features.py`) of each image to the encoder's. `head` is `ordinal`
    for classes in an order, `hidden` has a hidden layer (`heads.py`). `norm` says what became of the encoder's batch
    norms (`encoders.py`).
    `closeup` cuts that share of the side out of the middle of a patch without a context view as the close view, the
    whole patch being its context; 0 does not.
    """

    network: str
    fusion: Fusion
    channels: int
    input_px: int
    classes: int
    footprint_pool: bool = True
    texture_filters: int = 0
    head: Literal["linear", "hidden", "ordinal"] = "linear"
    norm: Norm = "group"
    closeup: float = 0.0

    @property
    def views(self) -> int:
        """How many views of a building the encoder sees."""
        return max(self.channels // VIEW_CHANNELS, 2 if self.closeup else 1)


class PairNetwork(nn.Module):
    """Pairs [B, 7 or 14, H, W] in [0, 1] → logits [B, classes].

    Siamese: one encoder sees pre and post; the features are [pre, post, post − pre] (Daudt et al. 2018,
    arXiv:1810.08462, with both dates kept). Change: the same without pre, [post, post − pre]: what a roof looked like
    says little of damage. Concatenate: [pre, post]. Subtract: [post − pre] alone. Cross-attention: those of change, and
    what post tokens that attend to pre tokens do not find there (`fusion.py`). Stacked: the encoder sees all seven
    channels. Post: it sees only the post date. A context view goes through the same encoder, its features are appended.

    The head is linear (or ordinal) on features standardised by `feature_mean` and `feature_scale`, constants of the
    event set by `set_feature_statistics`; without them features pass unchanged. `auxiliary` holds heads that an
    algorithm trains beside it (`add_head`); a finished network has none.
    """

    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.input_px = spec.input_px
        self.encoder = encoder_named(spec.network, IMAGE_CHANNELS[spec.fusion], spec.norm)
        pools = 2 if spec.footprint_pool else 1
        taps = cast(Encoder, self.encoder).tap_channels
        self.per_image = sum(taps) * pools
        self.texture = None
        if spec.texture_filters:
            self.texture = RandomFeatures(IMAGE_CHANNELS[spec.fusion], spec.texture_filters, stride=2)
            self.per_image += 2 * spec.texture_filters
        attended = taps[-ATTENDED_TAPS:] if spec.fusion == "cross-attention" else ()
        self.attention = nn.ModuleList(CrossAttention(channels) for channels in attended)
        self.unexplained = sum(attended) * pools
        self.feature_count = (self.per_image * PARTS[spec.fusion] + self.unexplained) * spec.views
        self.register_buffer("feature_mean", torch.zeros(self.feature_count))
        self.register_buffer("feature_scale", torch.ones(self.feature_count))
        self.head: nn.Linear | OrdinalHead = HEADS[spec.head](self.feature_count, spec.classes)
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
        if self.spec.closeup:
            views = (centre_crop(x, self.spec.closeup), x)
            return torch.cat([self._of_view(view) for view in views], dim=1)
        pooled = self._of_view(torch.cat(views) if len(views) > 1 else x)
        return torch.cat(pooled.chunk(len(views)), dim=1)

    def _of_view(self, view: Tensor) -> Tensor:
        """Features of one view [B, 7, H, W], or of several one after the other."""
        footprints, fusion = view[:, FOOTPRINT], self.spec.fusion
        if fusion in ("stacked", "post"):
            images = view if fusion == "stacked" else view[:, POST]
            return self._pooled(images, self._maps(images), footprints)
        dates = torch.cat([view[:, PRE], view[:, POST]])  # [2·B, 3, H, W]
        maps = self._maps(dates)
        pre, post = self._pooled(dates, maps, footprints.repeat(2, 1, 1, 1)).chunk(2)
        features = combined(fusion, pre, post)
        if not self.attention:
            return features
        attended = zip(self.attention, maps[-len(self.attention) :], strict=True)
        return torch.cat([features, *self._averages([part(*each.chunk(2)) for part, each in attended], footprints)], 1)

    def _maps(self, images: Tensor) -> list[Tensor]:
        images = resized(images, self.input_px)
        if images.device.type == "cpu":
            images = images.contiguous(memory_format=torch.channels_last)
        maps: list[Tensor] = self.encoder(images)
        return maps

    def _pooled(self, images: Tensor, maps: list[Tensor], footprints: Tensor) -> Tensor:
        texture = [] if self.texture is None else [self.texture(images)[0].flatten(1)]
        return torch.cat(texture + self._averages(maps, footprints), dim=1)

    def _averages(self, maps: list[Tensor], footprints: Tensor) -> list[Tensor]:
        averages = [each.float().mean(dim=(2, 3)) for each in maps]
        if self.spec.footprint_pool:
            averages += [footprint_average(each.float(), footprints) for each in maps]
        return averages

    @torch.no_grad()
    def set_feature_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Standardise features by these from now on, texture to `TEXTURE_WEIGHT`, and divide by √F.

        The division keeps a step of an adaptive optimiser, which moves every weight by the same amount, from
        moving the logits by more the more features there are.
        """
        self.feature_mean.copy_(mean)
        self.feature_scale.copy_(self._weights().to(std) / (std * self.feature_count**0.5))

    def _weights(self) -> Tensor:
        image = torch.ones(self.per_image)
        image[: 2 * self.spec.texture_filters] = TEXTURE_WEIGHT  # texture comes first in the features of an image
        view = torch.cat([image.repeat(PARTS[self.spec.fusion]), torch.ones(self.unexplained)])
        return view.repeat(self.spec.views)

    @torch.no_grad()
    def set_head(self, coefficients: Tensor, intercept: Tensor) -> None:
        """Put a linear classifier of the standardised features into the head: [classes, F] and [classes]."""
        if isinstance(self.head, OrdinalHead):
            raise ValueError("set_head: the network's head is ordinal; use `set_ordinal_head`")
        self.head.weight.copy_(coefficients * self.feature_count**0.5)
        self.head.bias.copy_(intercept)

    def set_ordinal_head(self, direction: Tensor, first: Tensor, gaps: Tensor) -> None:
        """Put a proportional-odds model of the standardised features into the head, see `OrdinalHead.set`."""
        if not isinstance(self.head, OrdinalHead):
            raise ValueError("set_ordinal_head: the network's head is linear; use `set_head`")
        self.head.set(direction * self.feature_count**0.5, first, gaps)


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


@dataclass(frozen=True, kw_only=True)
class InitialNetwork:
    """Which network an algorithm works with; `texture` adds random features beside the encoder's."""

    encoder: str
    fusion: Fusion
    texture: bool = False


FROZEN: dict[str, InitialNetwork] = {
    "frozen-random-post": InitialNetwork(encoder="random-features", fusion="post"),
    "frozen-random": InitialNetwork(encoder="random-features", fusion="siamese"),
    "frozen-lite0": InitialNetwork(encoder="efficientnet-lite0", fusion="siamese"),
    "frozen-start": InitialNetwork(encoder="efficientnet-lite0", fusion="change", texture=True),
}
"""Algorithms that train nothing but the head. `frozen-start` is what training the default network begins with."""

"""Encoders by name, for classifier and detector: images → feature maps at several depths.

No classifier takes statistics from a training batch, so that a pair's logits depend on that pair alone in fused and
split passes alike: the batch norms of `efficientnet-lite0` are frozen (`efficientnet_lite0.py`). Those of a `timm:` or
`smp:` encoder are replaced by group norms where it starts at random (`group`: untrained running statistics are worth
nothing), and keep the running statistics of their pretraining for good where it starts from weights that have some
(`frozen`: always in evaluation mode, gain and shift learn). An untrained encoder of the detector trains its batch norms
(`trained`): a group norm would make a pixel depend on all of its tile, and tiles would not fit together.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from damage_ssl.errors import SettingsError, nearest_name
from damage_ssl.learning.networks.efficientnet_lite0 import TAPS_AT_EVERY_STRIDE, Lite0
from damage_ssl.learning.networks.random_features import RandomFeatures
from damage_ssl.learning.networks.torchvision_compat import ensure_torchvision

SMP_PREFIX = "smp:"
TIMM_PREFIX = "timm:"
Norm = Literal["group", "frozen"]

DEEPEST_STRIDE = 16
TAPS = 3
"""Taps of timm's encoders are the three deepest maps down to stride 16, as in `Lite0`; what is behind is left out."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CACHED_PREFIX = "cached:"
LITE0, LITE0_SCRATCH = "efficientnet-lite0", "efficientnet-lite0-scratch"
CACHED_LITE0 = "cached-lite0"
"""Short for `cached:efficientnet-lite0`: the encoder stays as it is, and its features of some views are kept."""


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


class _Wrapped(nn.Module):
    """An encoder of a library behind a normalisation of its input, in evaluation mode unless its norms are trained."""

    pretrained = False
    mean: Tensor
    std: Tensor

    def __init__(
        self, encoder: nn.Module, norm: Norm | Literal["trained"], mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        super().__init__()
        self._evaluates = norm != "trained"
        self.encoder = group_norms(encoder) if norm == "group" else encoder
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)
        self.train(False)

    def train(self, mode: bool = True) -> "_Wrapped":
        """Evaluation mode, so that batch norms that stayed use the statistics of their pretraining, or as asked for."""
        return super().train(mode and not self._evaluates)


class SmpEncoder(_Wrapped):
    """Any encoder of segmentation-models-pytorch by name. Taps are its three deepest feature maps.

    With trained norms it is cut off at stride 16 and gives the maps of all four strides down to there.

    Raises:
        SettingsError: smp has no encoder of that name, or none that can be cut off there.
    """

    def __init__(self, name: str, in_channels: int = 3, norm: Norm | Literal["trained"] = "group") -> None:
        ensure_torchvision()
        import segmentation_models_pytorch as smp

        self.name = name
        depth, taps = (4, 4) if norm == "trained" else (5, TAPS)
        try:
            encoder = smp.encoders.get_encoder(name, in_channels=in_channels, depth=depth, weights=None)
        except (KeyError, ValueError, RuntimeError) as error:
            raise SettingsError(
                f"network '{SMP_PREFIX}{name}': segmentation-models-pytorch has no such encoder; "
                f"{nearest_name(name, smp.encoders.get_encoder_names())}"
            ) from error
        known = norm == "frozen" and in_channels == 3  # weights of a hub or a file expect ImageNet's normalisation
        super().__init__(encoder, norm, IMAGENET_MEAN if known else (0.5,), IMAGENET_STD if known else (0.25,))
        self.tap_channels = tuple(int(count) for count in encoder.out_channels[-taps:])

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.encoder((x - self.mean) / self.std)
        return list(maps[-len(self.tap_channels) :])

    def from_hub(self) -> nn.Module:
        """The same encoder with the ImageNet weights that smp names, fetched if they are not in the cache."""
        import segmentation_models_pytorch as smp

        return _module(smp.encoders.get_encoder(self.name, in_channels=3, weights="imagenet"))

    def unused_names(self, names: set[str]) -> set[str]:
        """Those names of a published file that belong to what comes behind the encoder."""
        return {name for name in names if name.split(".")[0] in _CLASSIFIERS}


class TimmEncoder(_Wrapped):
    """Any pyramid of convolutions of timm by name, e.g. `resnetrs50`, `efficientnet_b0`, `convnext_tiny`.

    Raises:
        SettingsError: timm has no model of that name, or one without maps at several strides.
    """

    def __init__(self, name: str, in_channels: int = 3, norm: Norm = "group") -> None:
        ensure_torchvision()
        import timm

        self.name = name
        if not timm.is_model(name):
            raise SettingsError(
                f"network '{TIMM_PREFIX}{name}': timm has no such model; {nearest_name(name, timm.list_models())}"
            )
        try:
            strides = _timm(name).feature_info.reduction()
        except (RuntimeError, AttributeError, TypeError) as error:
            raise SettingsError(f"network '{TIMM_PREFIX}{name}': timm gives no feature maps of it ({error})") from error
        self.taps = tuple(index for index, stride in enumerate(strides) if stride <= DEEPEST_STRIDE)[-TAPS:]
        if len(set(strides)) < TAPS:
            raise SettingsError(
                f"network '{TIMM_PREFIX}{name}': its feature maps have strides {strides}; a pyramid of at least {TAPS} "
                "is needed, as of resnetrs50 or convnext_tiny"
            )
        encoder = _timm(name, out_indices=self.taps, in_chans=in_channels)
        cfg = timm.get_pretrained_cfg(name)
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if cfg is None else (cfg.mean, cfg.std)
        plain = in_channels != 3
        super().__init__(encoder, norm, (0.5,) if plain else mean, (0.25,) if plain else std)
        self.tap_channels = tuple(int(count) for count in encoder.feature_info.channels())

    def forward(self, x: Tensor) -> list[Tensor]:
        return list(self.encoder((x - self.mean) / self.std))

    def from_hub(self) -> nn.Module:
        """The same encoder with the weights that timm names, fetched if they are not in the cache."""
        return _module(_timm(self.name, pretrained=True, out_indices=self.taps))

    def unused_names(self, names: set[str]) -> set[str]:
        """Those names of a published file that belong to what comes behind the encoder."""
        import timm

        return names & set(timm.create_model(self.name).state_dict())


_CLASSIFIERS = {"fc", "classifier", "head", "last_linear", "_fc", "conv_head", "_conv_head", "bn2", "_bn1"}


def _timm(name: str, **options: Any) -> Any:
    import timm

    return timm.create_model(name, features_only=True, **options)


def _module(made: Any) -> nn.Module:
    assert isinstance(made, nn.Module)  # noqa: S101 - for the type checker
    return made


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
    LITE0: Lite0,
    "small-cnn": SmallCNN,
    "random-features": RandomFeatures,
}


def is_cached(name: str) -> bool:
    """True for a network of which only the head is trained, on cached features."""
    return name == CACHED_LITE0 or name.startswith(CACHED_PREFIX)


def encoder_of(name: str) -> str:
    """The encoder of a network by the name in the settings: `cached-lite0` and `cached:<network>` mean another's."""
    return LITE0 if name == CACHED_LITE0 else name.removeprefix(CACHED_PREFIX)


def encoder_named(name: str, in_channels: int, norm: Norm = "group") -> nn.Module:
    """Build an encoder: `efficientnet-lite0`, `small-cnn`, `timm:<model>` or `smp:<encoder>`.

    `norm` says what becomes of the batch norms of the latter two.

    Raises:
        SettingsError: no such encoder.
    """
    if name.startswith(SMP_PREFIX):
        return SmpEncoder(name.removeprefix(SMP_PREFIX), in_channels, norm)
    if name.startswith(TIMM_PREFIX):
        return TimmEncoder(name.removeprefix(TIMM_PREFIX), in_channels, norm)
    if name not in ENCODERS:
        raise SettingsError(
            f"network '{name}' is unknown: "
            f"{nearest_name(name, [*ENCODERS, f'{SMP_PREFIX}resnet18', f'{TIMM_PREFIX}resnetrs50'])} "
            f"(any encoder of timm as '{TIMM_PREFIX}<model>' or of segmentation-models-pytorch as "
            f"'{SMP_PREFIX}<encoder>')"
        )
    return ENCODERS[name](in_channels)


def pyramid_named(name: str, in_channels: int) -> nn.Module:
    """An encoder with a map at each of the strides 2, 4, 8 and 16, as a U-Net needs.

    `efficientnet-lite0`, `efficientnet-lite0-scratch` (the same, whole and without its weights) or `smp:<encoder>`,
    untrained.

    Raises:
        SettingsError: no such encoder.
    """
    if name == LITE0:
        return Lite0(in_channels, TAPS_AT_EVERY_STRIDE)
    known = f"{SMP_PREFIX}tu-tf_efficientnet_lite0" if name == LITE0_SCRATCH else name
    if not known.startswith(SMP_PREFIX):
        raise SettingsError(
            f"encoder '{name}' is unknown: {nearest_name(name, [LITE0, LITE0_SCRATCH, f'{SMP_PREFIX}resnet18'])} "
            f"(any encoder of segmentation-models-pytorch as '{SMP_PREFIX}<encoder>')"
        )
    return SmpEncoder(known.removeprefix(SMP_PREFIX), in_channels, "trained")


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

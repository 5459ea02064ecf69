"""Convolution followed by a batch norm whose statistics never change.

In the few-label regime a batch of 16 labelled and 128 unlabelled views has no statistics worth taking, and MixMatch,
FixMatch and AdaMatch would each need a rule for which group they come from. With the statistics of the pretraining
kept, a pair's logits depend on that pair alone, and fused and split forward passes are identical.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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

"""Random convolutional features: filters are patches of the event's own imagery, nothing is trained.

MOSAIKS (Rolf et al. 2021, doi:10.1038/s41467-021-24638-z), after Coates & Ng 2012: patches are contrast-normalised,
ZCA-whitened and used as filters; both signs of the response pass a rectifier and are averaged over the image.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FILTERS = 512
KERNEL_PX = 3
BIAS = 1.0
"""Subtracted from a response before rectifying, as in the paper's code."""

ZCA_BIAS = 1e-3
IMAGES_AT_ONCE = 16
"""The responses of 512 filters to one 64 px image take 8 MB."""


class RandomFeatures(nn.Module):
    """Encoder: images [B, C, H, W] in [0, 1] → averaged rectified responses [B, 2·count, 1, 1].

    Responses are taken at every `stride`-th pixel. The filters are zero until `set_filters`; they are a buffer and
    travel with the weights.
    """

    pretrained = True
    filters: Tensor

    def __init__(self, in_channels: int = 3, count: int = FILTERS, stride: int = 1) -> None:
        super().__init__()
        self.tap_channels = (2 * count,)
        self.stride = stride
        self.register_buffer("filters", torch.zeros(count, in_channels, KERNEL_PX, KERNEL_PX))

    def set_filters(self, filters: Tensor) -> None:
        """Use these filters [count, C, KERNEL_PX, KERNEL_PX] from now on."""
        self.filters.copy_(filters)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [torch.cat([self._averages(part) for part in torch.split(x, IMAGES_AT_ONCE)])[:, :, None, None]]

    def _averages(self, x: Tensor) -> Tensor:
        response = F.conv2d(x, self.filters, stride=self.stride)  # [b, count, h, w]
        positive = F.relu(response - BIAS).mean(dim=(2, 3))
        negative = F.relu(-response - BIAS).mean(dim=(2, 3))
        return torch.cat([positive, negative], dim=1)


def draw_filters(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Filters [count, C, KERNEL_PX, KERNEL_PX] from random places of images uint8 [N, C, H, W].

    Whitening needs more patches than a patch has values: `FILTERS` are drawn and the first `count` returned.
    """
    available, channels, height, width = images.shape
    drawn = max(count, FILTERS)
    image = torch.randint(available, (drawn,), generator=generator)
    top = torch.randint(height - KERNEL_PX + 1, (drawn,), generator=generator)
    left = torch.randint(width - KERNEL_PX + 1, (drawn,), generator=generator)
    offset = torch.arange(KERNEL_PX)
    rows = (top[:, None] + offset)[:, :, None]  # [n, k, 1]
    columns = (left[:, None] + offset)[:, None, :]  # [n, 1, k]
    patches = images.cpu()[image[:, None, None], :, rows, columns]  # [n, k, k, C]
    flat = patches.permute(0, 3, 1, 2).reshape(drawn, -1).double() / 255.0
    return whitened(flat)[:count].float().view(count, channels, KERNEL_PX, KERNEL_PX)


def whitened(patches: Tensor) -> Tensor:
    """Contrast-normalised, ZCA-whitened patches as filters, float64 [n, d] → [n, d].

    A filter meets images that are not whitened, so the whitening is applied twice: <Zp, Zx> = <ZZp, x>.
    """
    patches = patches - patches.mean(dim=1, keepdim=True)
    norms = patches.norm(dim=1, keepdim=True)
    patches = patches / norms.clamp_min(1e-8)
    patches = patches - patches.mean(dim=0)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    zca = vectors @ torch.diag((values.clamp_min(0) + ZCA_BIAS).rsqrt()) @ vectors.T
    filters: Tensor = patches @ zca @ zca.T
    return filters

"""The packaged ImageNet weights sit where they belong."""

from itertools import chain

import pytest
import torch
from sklearn.datasets import load_sample_image
from torch.nn import functional as F

from damage_ssl.learning.networks import efficientnet_lite0
from damage_ssl.learning.networks.efficientnet_lite0 import Lite0, timm_names
from damage_ssl.learning.networks.pair_network import resized


@pytest.fixture(scope="module")
def packaged() -> dict[str, torch.Tensor]:
    return efficientnet_lite0._packaged_weights()


def test_every_packaged_tensor_lands_on_exactly_one_of_timm_s_with_the_same_shape(
    packaged: dict[str, torch.Tensor],
) -> None:
    mapped, own = timm_names(packaged), efficientnet_lite0._timm_lite0().state_dict()
    assert len(mapped) == len(packaged) == 296
    assert {name: tensor.shape for name, tensor in mapped.items()} == {k: v.shape for k, v in own.items()}


def test_a_name_of_another_network_is_refused() -> None:
    with pytest.raises(KeyError):
        timm_names({"_blocks.16._bn0.weight": torch.zeros(1)})


def test_the_whole_encoder_agrees_with_a_plain_forward_written_from_the_packaged_names(
    packaged: dict[str, torch.Tensor],
) -> None:
    """An independent forward pass: TensorFlow's padding, batch norm with eps 1e-3, ReLU6, by lukemelas' own names."""
    images = torch.rand(2, 3, 45, 45, generator=torch.Generator().manual_seed(0))  # odd: padding differs by side
    expected = _plain_forward(packaged, images.double())
    found = Lite0()(images)
    assert [tuple(each.shape[1:]) for each in found] == [(24, 12, 12), (40, 6, 6), (112, 3, 3)]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("photo", "imagenet_class"), [("china.jpg", 698), ("flower.jpg", 985)])
def test_a_photo_of_a_palace_is_a_palace_and_of_a_flower_a_daisy(photo: str, imagenet_class: int) -> None:
    """scikit-learn's two sample photos; the classes are ImageNet's palace and daisy."""
    pixels = torch.from_numpy(load_sample_image(photo).copy()).permute(2, 0, 1)[None] / 255.0  # [1, 3, 427, 640]
    image = resized(pixels[:, :, :, 106:533], 224)
    logits = efficientnet_lite0._timm_lite0()((image * 255 - 127) / 128)
    assert int(logits.argmax()) == imagenet_class


def test_stacked_dates_that_are_equal_give_the_features_of_one_date() -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    grey = torch.full((2, 1, 32, 32), 0.3)
    stacked = torch.cat([images, images, grey], dim=1)
    torch.testing.assert_close(Lite0(7)(stacked)[-1], Lite0(3)(images)[-1], rtol=1e-4, atol=1e-4)


def test_the_fixed_statistics_are_no_parameters_but_kernel_gain_and_shift_are() -> None:
    encoder = Lite0()
    kinds = {name.rsplit(".", 1)[-1] for name, _ in encoder.named_parameters()}
    assert kinds == {"kernel", "gain", "shift"}
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    encoder.train()(torch.rand(2, 3, 32, 32))[-1].sum().backward()
    assert all(torch.equal(buffer, before[name]) for name, buffer in encoder.named_buffers())
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def _plain_forward(weights: dict[str, torch.Tensor], images: torch.Tensor) -> list[torch.Tensor]:
    def conv_norm(x: torch.Tensor, conv: str, norm: str, stride: int = 1, act: bool = True) -> torch.Tensor:
        kernel = weights[f"{conv}.weight"].double()
        size, k = x.shape[-1], kernel.shape[-1]
        total = max((-(-size // stride) - 1) * stride + k - size, 0)
        x = F.pad(x, [total // 2, total - total // 2] * 2)
        x = F.conv2d(x, kernel, stride=stride, groups=x.shape[1] if kernel.shape[1] == 1 and k > 1 else 1)
        mean, variance, gain, shift = (
            weights[f"{norm}.{key}"].double()[:, None, None]
            for key in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / (variance + 1e-3).sqrt() * gain + shift
        return x.clamp(0, 6) if act else x

    x = conv_norm((images * 255 - 127) / 128, "_conv_stem", "_bn0", 2)
    strides = list(
        chain.from_iterable(
            [s] + [1] * (n - 1) for s, n in zip((1, 2, 2, 2, 1, 2, 1), efficientnet_lite0.STAGE_BLOCKS, strict=True)
        )
    )
    taps = []
    for index, stride in enumerate(strides):
        block, shortcut = f"_blocks.{index}.", x
        if f"{block}_expand_conv.weight" in weights:
            x = conv_norm(x, f"{block}_expand_conv", f"{block}_bn0")
        x = conv_norm(x, f"{block}_depthwise_conv", f"{block}_bn1", stride)
        x = conv_norm(x, f"{block}_project_conv", f"{block}_bn2", act=False)
        if stride == 1 and x.shape == shortcut.shape:
            x = x + shortcut
        if index in (2, 4, 10):
            taps.append(x)
    return taps

"""Photometric operations one by one, and their drawing per sample."""

import numpy as np
import pytest
import torch
from torch import Tensor

from damage_ssl.learning.augmentation.photometry import AUGMENTATIONS, apply_drawn
from damage_ssl.learning.augmentation.views import ViewSettings


def images(count: int = 6, size: int = 16) -> Tensor:
    return torch.rand(count, 2, 3, size, size, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1


def run(name: str, x: Tensor, strength: float, colour: float | tuple[float, float, float] = 0.0) -> Tensor:
    u = torch.full((len(x), 1, 1, 1, 1), strength)
    tinted = torch.tensor(colour).expand(3).view(1, 1, 3, 1, 1).expand(len(x), -1, -1, -1, -1)
    return AUGMENTATIONS[name](x, u, tinted, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_strength_zero_changes_nothing(name: str) -> None:
    x = (images() * 255).round() / 255
    torch.testing.assert_close(run(name, x, 0.0), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(AUGMENTATIONS) - {"identity"}))
@pytest.mark.parametrize("strength", [-1.0, 1.0])
def test_full_strength_changes_the_image_and_leaves_its_input(name: str, strength: float) -> None:
    x = images()
    kept = x.clone()
    out = run(name, x, strength, strength)
    assert out.shape == x.shape
    assert torch.isfinite(out).all()
    assert (out - x).abs().mean() > 0.01
    assert torch.equal(x, kept)


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_uniform_image_stays_finite(name: str) -> None:
    for value in (0.0, 0.5, 1.0):
        out = run(name, torch.full((2, 1, 3, 8, 8), value), 1.0, 1.0)
        assert torch.isfinite(out).all()


def test_hand_worked_values() -> None:
    x = torch.full((1, 1, 3, 4, 4), 0.5)
    assert run("brightness", x, 0.5).unique().item() == pytest.approx(0.6)
    assert run("gamma", x, -1.0).unique().item() == pytest.approx(0.5 ** np.exp(-0.5))
    assert run("solarize", torch.full_like(x, 0.8), 1.0).unique().item() == pytest.approx(0.2)
    torch.testing.assert_close(run("tint", x, 0.0, (1.0, 0.0, -1.0))[0, 0, :, 0, 0], torch.tensor([0.575, 0.5, 0.425]))
    torch.testing.assert_close(run("haze", x, 1.0)[0, 0, :, 0, 0], torch.full((3,), 0.5 + 0.4 * 0.27))


def test_saturation_keeps_the_grey_value_and_blur_the_mean() -> None:
    x = images()
    rec601 = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    torch.testing.assert_close((run("saturation", x, -1.0) * rec601).sum(2), (x * rec601).sum(2))
    assert run("blur", x, 1.0).var() < 0.2 * x.var()
    torch.testing.assert_close(run("blur", x, 1.0).mean(), x.mean(), atol=0.01, rtol=0)


def test_equalizing_moves_grey_values_half_way_to_their_ranks() -> None:
    ramp = torch.linspace(0, 0.5, 256).view(1, 1, 1, 16, 16).expand(1, 1, 3, 16, 16)
    out = run("equalize", ramp, 1.0)
    half_way = (ramp[0, 0, 0].flatten() + torch.arange(1, 257) / 256) / 2
    torch.testing.assert_close(out[0, 0, 0].flatten(), half_way, atol=2 / 256, rtol=0)


@pytest.mark.parametrize("name", ["autocontrast", "equalize", "haze", "contrast", "brightness", "gamma"])
def test_tone_operations_keep_a_grey_image_nearly_grey(name: str) -> None:
    grey = images()[:, :, :1].expand(-1, -1, 3, -1, -1)
    out = run(name, grey, 1.0)
    assert (out.amax(2) - out.amin(2)).max() < 0.04


def test_posterize_leaves_sixteen_levels_at_full_strength() -> None:
    assert len(run("posterize", images(2, 64), 1.0).unique()) <= 16


def test_each_sample_keeps_its_place_and_has_its_own_operation_and_strength() -> None:
    def scaled(x: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
        return x * (0.5 + 0.1 * u)

    def unchanged(x: Tensor, u: Tensor, colour: Tensor, generator: torch.Generator) -> Tensor:
        return x

    x = torch.linspace(0.2, 0.9, 200).view(200, 1, 1, 1, 1).expand(200, 2, 3, 4, 4)
    out = apply_drawn(x, [unchanged, scaled], 1, 1.0, torch.Generator().manual_seed(0))
    factor = (out / x).flatten(1)
    assert (factor.amax(1) - factor.amin(1)).max() < 1e-5  # all images of a sample alike
    one = factor[:, 0]
    is_scaled = one < 0.99
    assert 0.35 < is_scaled.float().mean() < 0.65
    assert ((one[is_scaled] >= 0.399) & (one[is_scaled] <= 0.601)).all()
    torch.testing.assert_close(one[~is_scaled], torch.ones_like(one[~is_scaled]))
    assert len(one[is_scaled].unique()) > 50


def test_order_of_samples_survives_several_rounds() -> None:
    x = torch.linspace(0, 1, 100).view(100, 1, 1, 1, 1).expand(100, 1, 3, 4, 4)
    same = [AUGMENTATIONS["identity"]] * 3
    assert torch.equal(apply_drawn(x, same, 4, 1.0, torch.Generator().manual_seed(0)), x)


def test_no_operation_leaves_the_images_alone() -> None:
    x = images()
    assert torch.equal(apply_drawn(x, [AUGMENTATIONS["noise"]], 0, 1.0, torch.Generator().manual_seed(0)), x)


def test_drawn_operations_keep_the_range() -> None:
    x = torch.rand(300, 1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    table = [AUGMENTATIONS[name] for name in ViewSettings().operations.split()]
    out = apply_drawn(x, table, 2, 1.0, torch.Generator().manual_seed(0))
    assert out.min() >= 0
    assert out.max() <= 1

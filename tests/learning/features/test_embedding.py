"""Frozen features and the regression on them."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from damage_ssl.learning.features.embedding import embed, fit_head, standardise_on
from damage_ssl.learning.networks.pair_network import NetworkSpec, PairNetwork, build_network
from damage_ssl.learning.networks.random_features import BIAS, FILTERS, RandomFeatures, draw_filters, whitened
from damage_ssl.learning.pair_tensor import pair_bytes
from tests.learning.trainer.drawn_pairs import draw_pairs


def small_network(classes: int = 2) -> PairNetwork:
    spec = NetworkSpec(network="small-cnn", fusion="siamese", channels=7, input_px=32, classes=classes)
    return build_network(spec, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("classes", [2, 3])
def test_the_fitted_head_gives_scikit_learn_s_own_probabilities(classes: int) -> None:
    network = small_network(classes)
    rng = np.random.default_rng(0)
    features = rng.normal(3, 5, (60, network.feature_count)).astype(np.float32)
    labels = rng.integers(0, classes, 60)
    standardise_on(network, torch.from_numpy(features))
    fit_head(network, torch.from_numpy(features), labels, regularisation=0.01)
    z = StandardScaler().fit_transform(features.astype(np.float64))
    reference = LogisticRegression(C=0.01, class_weight="balanced", max_iter=2000).fit(z, labels)
    found = network.classify(torch.from_numpy(features)).softmax(dim=1).numpy(force=True)
    np.testing.assert_allclose(found, reference.predict_proba(z), atol=2e-3)


def test_a_class_without_labels_gets_next_to_no_probability() -> None:
    network = small_network(4)
    features = torch.randn(20, network.feature_count)
    standardise_on(network, features)
    fit_head(network, features, np.array([1, 3] * 10), regularisation=0.01)
    p = network.classify(features).softmax(dim=1)
    assert p[:, [0, 2]].max() < 1e-3


def test_a_constant_feature_stays_zero_instead_of_growing_without_bound() -> None:
    network = small_network()
    features = torch.randn(20, network.feature_count)
    features[:, 0] = 4.0
    standardise_on(network, features)
    standard = (features - network.feature_mean) * network.feature_scale
    assert standard[:, 0].abs().max() == 0
    assert standard.isfinite().all()


def test_whitened_patches_have_the_inverse_covariance() -> None:
    """ZCA applied twice: the covariance of the filters is Σ·(Σ + ε)⁻² for the Σ of the normalised patches."""
    patches = torch.randn(4000, 6, generator=torch.Generator().manual_seed(0)).double() @ torch.randn(6, 6).double()
    centred = patches - patches.mean(dim=1, keepdim=True)
    normal = centred / centred.norm(dim=1, keepdim=True)
    normal = normal - normal.mean(dim=0)
    covariance = normal.T @ normal / len(normal)
    inverse = torch.linalg.inv(covariance + 1e-3 * torch.eye(6).double())
    filters = whitened(patches)
    torch.testing.assert_close(filters.T @ filters / len(filters), inverse @ covariance @ inverse)


def test_random_features_are_averages_of_both_rectified_signs() -> None:
    encoder = RandomFeatures()
    images = torch.randint(0, 256, (5, 3, 12, 12), dtype=torch.uint8)
    encoder.set_filters(draw_filters(images, FILTERS, torch.Generator().manual_seed(0)))
    x = images / 255.0
    found = encoder(x)[0][:, :, 0, 0]
    patches = torch.nn.functional.unfold(x, 3)  # [5, 27, 100]
    response = encoder.filters.flatten(1) @ patches  # [5, FILTERS, 100]
    torch.testing.assert_close(found[:, :FILTERS], (response - BIAS).clamp_min(0).mean(dim=2), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found[:, FILTERS:], (-response - BIAS).clamp_min(0).mean(dim=2), rtol=1e-3, atol=1e-3)


def test_filters_are_drawn_from_the_generator() -> None:
    images = torch.randint(0, 256, (5, 3, 12, 12), dtype=torch.uint8)
    one, same, other = (draw_filters(images, 16, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_features_are_the_same_in_one_batch_or_many_and_turned_pixels_are_turned() -> None:
    network = small_network()
    pixels = pair_bytes(draw_pairs(70)[0])
    done: list[int] = []
    features = embed(network, pixels, on_batch=done.append)
    assert done == [16, 32, 48, 64, 70]
    torch.testing.assert_close(features[64:], embed(network, pixels[64:]), rtol=1e-4, atol=1e-5)
    turned = embed(network, pixels[:4], quarter_turns=1)
    torch.testing.assert_close(turned, embed(network, pixels[:4].rot90(1, (2, 3))), rtol=1e-4, atol=1e-5)

"""Encoders, fusion, pooling and the head."""

import pytest
import torch
from torch import Tensor, nn

from damage_ssl.errors import SettingsError
from damage_ssl.learning.networks.efficientnet_lite0 import FrozenNormConv
from damage_ssl.learning.networks.encoders import SmallCNN, encoder_named, group_norms, seeded
from damage_ssl.learning.networks.fusion import Fusion
from damage_ssl.learning.networks.pair_network import (
    NetworkSpec,
    PairNetwork,
    build_network,
    footprint_average,
    resized,
)


def spec(network: str = "small-cnn", fusion: Fusion = "siamese", channels: int = 7, **changes: int) -> NetworkSpec:
    values = {"input_px": 32, "classes": 2} | changes
    return NetworkSpec(network=network, fusion=fusion, channels=channels, **values)


def built(**changes: object) -> PairNetwork:
    return build_network(spec(**changes), torch.Generator().manual_seed(0))  # type: ignore[arg-type]


def pairs(count: int = 3, channels: int = 7, size: int = 32) -> Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("network", ["small-cnn", "efficientnet-lite0", "smp:resnet18"])
@pytest.mark.parametrize("fusion", ["siamese", "change", "stacked", "post"])
@pytest.mark.parametrize("channels", [7, 14])
def test_every_network_and_fusion_gives_finite_logits_of_the_right_shape(
    network: str, fusion: Fusion, channels: int
) -> None:
    net = built(network=network, fusion=fusion, channels=channels, classes=4)
    x = pairs(channels=channels)
    assert net.features(x).shape == (3, net.feature_count)
    logits = net(x)
    assert logits.shape == (3, 4)
    assert logits.isfinite().all()


def test_the_small_network_has_half_a_million_parameters() -> None:
    assert sum(each.numel() for each in SmallCNN().parameters()) == pytest.approx(5e5, rel=0.1)


@pytest.mark.parametrize("network", ["small-cnn", "efficientnet-lite0", "smp:resnet18", "smp:tu-mobilenetv3_small_100"])
def test_a_pair_s_logits_do_not_depend_on_the_rest_of_the_batch_even_in_training(network: str) -> None:
    net = built(network=network).train()
    x = pairs(4)
    torch.testing.assert_close(net(x)[:1], net(x[:1]), rtol=1e-4, atol=1e-4)
    assert not any(module.training for module in net.modules())


def test_siamese_features_are_pre_post_and_their_difference() -> None:
    net = built()
    x = pairs()
    pre, post, difference = net.features(x).chunk(3, dim=1)
    torch.testing.assert_close(difference, post - pre)
    swapped = torch.cat([x[:, 3:6], x[:, 0:3], x[:, 6:]], dim=1)
    torch.testing.assert_close(net.features(swapped).chunk(3, dim=1)[0], post)


def test_change_features_are_post_and_the_difference() -> None:
    siamese, change, x = built(), built(fusion="change"), pairs()
    change.encoder.load_state_dict(siamese.encoder.state_dict())
    _, post, difference = siamese.features(x).chunk(3, dim=1)
    torch.testing.assert_close(change.features(x), torch.cat([post, difference], dim=1))


def test_texture_features_stand_beside_the_encoder_s() -> None:
    plain, net = built(fusion="post"), built(fusion="post", texture_filters=16)
    net.texture.set_filters(torch.randn(16, 3, 3, 3) * 20)  # type: ignore[union-attr]
    net.encoder.load_state_dict(plain.encoder.state_dict())
    x = pairs()
    texture, encoded = net.features(x).split([32, plain.feature_count], dim=1)
    torch.testing.assert_close(encoded, plain.features(x))
    torch.testing.assert_close(texture, net.texture(x[:, 3:6])[0].flatten(1))  # type: ignore[misc]
    assert texture.std() > 0


def test_standardised_texture_features_weigh_half() -> None:
    net = built(fusion="change", texture_filters=16, channels=14)
    net.set_feature_statistics(torch.zeros(net.feature_count), torch.full((net.feature_count,), 2.0))
    scale = (net.feature_scale * net.feature_count**0.5).view(4, -1)  # post and difference, of both views
    torch.testing.assert_close(scale[:, :32], torch.full((4, 32), 0.25))
    torch.testing.assert_close(scale[:, 32:], torch.full_like(scale[:, 32:], 0.5))


def test_the_post_network_does_not_see_the_pre_image() -> None:
    net, x = built(fusion="post"), pairs()
    other = x.clone()
    other[:, 0:3] = 0
    assert torch.equal(net(x), net(other))


def test_context_features_follow_those_of_the_close_view() -> None:
    net, x = built(channels=14), pairs(channels=14)
    close, context = net.features(x).chunk(2, dim=1)
    alone = built()
    alone.encoder.load_state_dict(net.encoder.state_dict())
    torch.testing.assert_close(close, alone.features(x[:, :7]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(context, alone.features(x[:, 7:]), rtol=1e-4, atol=1e-5)


def test_the_footprint_average_weighs_a_cell_by_its_share_of_building() -> None:
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    footprint = torch.zeros(1, 1, 4, 4)
    footprint[:, :, :2, :2] = 1  # all of the first cell
    footprint[:, :, 0, 2:] = 1  # half of the second
    expected = (1 * 1.001 + 2 * 0.501 + (3 + 4) * 0.001) / (1.001 + 0.501 + 0.002)
    assert float(footprint_average(maps, footprint)) == pytest.approx(expected)


def test_an_empty_footprint_falls_back_to_the_plain_average() -> None:
    maps = torch.rand(2, 5, 4, 4)
    torch.testing.assert_close(footprint_average(maps, torch.zeros(2, 1, 32, 32)), maps.mean(dim=(2, 3)))


def test_patches_are_brought_to_the_encoder_s_size_whatever_their_own() -> None:
    torch.testing.assert_close(resized(torch.full((1, 3, 20, 20), 0.4), 48), torch.full((1, 3, 48, 48), 0.4))
    assert built(input_px=64)(pairs(size=24)).shape == (3, 2)


def test_a_uniform_change_of_feature_units_is_taken_out_by_the_statistics() -> None:
    """With mean and deviation of the features set, logits are those of a linear classifier of z-scores."""
    net = built()
    features = torch.randn(50, net.feature_count) * 7 + 3
    net.set_feature_statistics(features.mean(dim=0), features.std(dim=0))
    weight, bias = torch.randn(2, net.feature_count), torch.tensor([0.5, -0.5])
    net.set_head(weight, bias)
    z = (features - features.mean(dim=0)) / features.std(dim=0)
    torch.testing.assert_close(net.classify(features), z @ weight.T + bias, rtol=1e-3, atol=1e-3)


def test_initial_weights_follow_the_generator_and_leave_the_global_one_alone() -> None:
    state = torch.get_rng_state()
    one, same = (seeded(lambda: nn.Linear(3, 3), torch.Generator().manual_seed(5)) for _ in range(2))
    other = seeded(lambda: nn.Linear(3, 3), torch.Generator().manual_seed(6))
    assert torch.equal(one.weight, same.weight) and not torch.equal(one.weight, other.weight)  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("stride", "kernel_px", "groups"), [(1, 3, 1), (2, 3, 8), (2, 5, 1)])
def test_the_fused_layer_is_convolution_then_batch_norm_in_value_and_gradient(
    stride: int, kernel_px: int, groups: int
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 8, kernel_px, stride=stride, padding=kernel_px // 2, groups=groups, bias=False).double()
    norm = nn.BatchNorm2d(8, eps=1e-3).double().eval()
    for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
        assert tensor is not None
        tensor.data.uniform_(0.5, 2.0)
    fused = FrozenNormConv(conv, norm, nn.ReLU6(), same_padding=False)
    x = torch.randn(2, 8, 9, 9, dtype=torch.float64)
    expected = nn.functional.relu6(norm(conv(x)))
    found = fused(x)
    torch.testing.assert_close(found, expected)
    expected.square().sum().backward()
    found.square().sum().backward()
    for own, reference in ((fused.kernel, conv.weight), (fused.gain, norm.weight), (fused.shift, norm.bias)):
        torch.testing.assert_close(own.grad, reference.grad)


def test_batch_norms_become_group_norms_and_keep_their_activation() -> None:
    module = group_norms(nn.Sequential(nn.Conv2d(3, 24, 1), nn.BatchNorm2d(24), nn.Sequential(nn.BatchNorm2d(7))))
    norms = [each for each in module.modules() if isinstance(each, nn.GroupNorm)]
    assert [(each.num_groups, each.num_channels) for each in norms] == [(3, 24), (1, 7)]
    assert not any(isinstance(each, nn.BatchNorm2d) for each in module.modules())


@pytest.mark.parametrize("name", ["small-cn", "smp:resnet19", "resnet18"])
def test_an_unknown_network_is_an_error_that_names_a_known_one(name: str) -> None:
    with pytest.raises(SettingsError, match=r"small-cnn|resnet18"):
        encoder_named(name, 3)

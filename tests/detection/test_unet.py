import numpy as np
import pytest
import torch

from damage_ssl.detection.detector import Detector, DetectorCard
from damage_ssl.detection.unet import BuildingNet
from damage_ssl.errors import InputError, SettingsError
from damage_ssl.learning.networks.efficientnet_lite0 import _packaged_weights, timm_names
from damage_ssl.learning.networks.encoders import pyramid_named
from damage_ssl.learning.networks.torchvision_compat import ensure_torchvision


def made(encoder="efficientnet-lite0", seed=0):
    return BuildingNet(encoder, torch.Generator().manual_seed(seed))


def test_the_encoder_gives_the_maps_of_the_reference_network():
    ensure_torchvision()
    import timm

    reference = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(0, 1, 2, 3))
    weights = timm_names(_packaged_weights())
    reference.load_state_dict({name: weights[name] for name in reference.state_dict()}, strict=True)
    image = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = reference.eval()((image * 255 - 127) / 128)
        found = pyramid_named("efficientnet-lite0", 3).eval()(image)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("encoder", ["efficientnet-lite0", "efficientnet-lite0-scratch", "smp:resnet18"])
def test_logits_have_the_size_of_the_image(encoder):
    with torch.no_grad():
        assert made(encoder).eval()(torch.rand(1, 3, 64, 96)).shape == (1, 2, 64, 96)


def test_the_seed_alone_decides_the_first_weights():
    one, same, other = made(seed=3), made(seed=3), made(seed=4)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), same.state_dict().values(), strict=True))
    assert not torch.equal(one.head.weight, other.head.weight)


def test_a_far_pixel_has_no_say_in_an_answer():
    network = made().eval()
    image = torch.rand(1, 3, 64, 1024, generator=torch.Generator().manual_seed(2))
    changed = image.clone()
    changed[..., 900:] = 0
    with torch.no_grad():
        assert torch.allclose(network(image)[..., :300], network(changed)[..., :300], atol=1e-5)


def test_an_unknown_encoder_is_named_with_the_nearest_one():
    with pytest.raises(SettingsError, match="did you mean 'efficientnet-lite0'"):
        made("efficientnet-lite")
    with pytest.raises(SettingsError, match="no such encoder"):
        made("smp:resnet-eighteen")


def test_a_saved_model_gives_the_same_answers(tmp_path):
    detector = Detector(made(seed=5).eval(), DetectorCard("efficientnet-lite0", 0.5, ("town",), "here", 7))
    detector.save(tmp_path / "model.safetensors")
    back = Detector.load(tmp_path / "model.safetensors", device="cpu")
    pixels = np.random.default_rng(0).integers(0, 255, (1, 3, 64, 64)).astype(np.uint8)
    assert back.card == detector.card
    assert np.array_equal(back.probabilities(pixels), detector.probabilities(pixels))


@pytest.mark.parametrize("encoder", ["efficientnet-lite0", "smp:resnet18"])
def test_weights_have_the_names_in_a_file_that_they_have_had_in_every_version(encoder, tmp_path):
    from safetensors import safe_open

    Detector(made(encoder).eval(), DetectorCard(encoder, 0.5, ("town",), None, 1)).save(tmp_path / "m.safetensors")
    with safe_open(tmp_path / "m.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert {name.split(".")[0] for name in names} == {"encoder", "decoder", "head"}
    own = {name.removeprefix("encoder.net.") for name in names if name.startswith("encoder")}
    assert {"efficientnet-lite0": "stem.kernel", "smp:resnet18": "conv1.weight"}[encoder] in own


def test_a_file_that_is_no_detector_is_refused_by_name(tmp_path):
    from safetensors.torch import save_file

    (tmp_path / "text.safetensors").write_text("hello")
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"text\.safetensors: is not a model file"):
        Detector.load(tmp_path / "text.safetensors")
    with pytest.raises(InputError, match=r"other\.safetensors: is no building detector"):
        Detector.load(tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="no such file"):
        Detector.load(tmp_path / "none.safetensors")


def test_weights_of_another_network_are_refused(tmp_path):
    wrong = Detector(made("smp:resnet18").eval(), DetectorCard("efficientnet-lite0", 0.5, ("town",), None, 1))
    wrong.save(tmp_path / "wrong.safetensors")
    with pytest.raises(InputError, match="do not fit its description"):
        Detector.load(tmp_path / "wrong.safetensors")

"""Where encoders start: timm and smp by name, files of ours and published ones, hubs that cannot be reached."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from damage_ssl.errors import DamageSSLError, InputError, SettingsError
from damage_ssl.learning.checkpoints import load_model
from damage_ssl.learning.networks import weights
from damage_ssl.learning.networks.encoders import TimmEncoder, encoder_named
from damage_ssl.learning.networks.weights import load_from_hub, load_weights, read_weights
from damage_ssl.learning.predictor import load_predictor
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.tensor_files import write_tensors
from damage_ssl.learning.training import check_settings, train
from damage_ssl.runs.run import Run
from tests.learning.trainer.drawn_pairs import draw_pairs, targets_of

RESNET = "timm:resnet10t"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def published(path: Path, model: str = "resnet10t", **changes: Any) -> dict[str, torch.Tensor]:
    """A whole classifier as timm publishes it, its batch norms with statistics of their own."""
    import timm

    torch.manual_seed(3)
    state = timm.create_model(model).state_dict()
    state = {name: torch.rand_like(each) + 0.5 if "running" in name else each for name, each in state.items()}
    state = {name: each.contiguous() for name, each in (state | changes).items() if each is not None}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": {f"module.{name}": each for name, each in state.items()}}, path)
    return state


@pytest.mark.parametrize(("name", "channels"), [("resnet10t", (64, 128, 256)), ("efficientnet_b0", (24, 40, 112))])
def test_timm_s_encoders_give_maps_at_strides_4_8_and_16(name: str, channels: tuple[int, ...]) -> None:
    encoder = encoder_named(f"timm:{name}", 3)
    maps = encoder(torch.rand(1, 3, 64, 64))
    assert [tuple(each.shape[1:]) for each in maps] == [
        (count, 64 // stride, 64 // stride) for count, stride in zip(channels, (4, 8, 16), strict=True)
    ]
    assert not any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in encoder.modules())


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_published_file_is_loaded_with_its_batch_statistics_frozen(suffix: str, tmp_path: Path) -> None:
    state = published(tmp_path / f"file.{suffix}")
    given = read_weights(tmp_path / f"file.{suffix}")
    assert given.norm == "frozen"
    encoder = encoder_named(RESNET, 3, given.norm)
    load_weights(encoder, RESNET, given)
    own = encoder.state_dict()
    torch.testing.assert_close(own["encoder.bn1.running_var"], state["bn1.running_var"])
    torch.testing.assert_close(own["encoder.conv1.0.weight"], state["conv1.0.weight"])
    assert encoder.pretrained
    x = torch.rand(4, 3, 64, 64)
    both, one = encoder.train()(x), encoder(x[:1])
    torch.testing.assert_close(both[-1][:1], one[-1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(encoder.state_dict()["encoder.bn1.running_var"], state["bn1.running_var"])


def test_names_that_timm_numbers_otherwise_are_found(tmp_path: Path) -> None:
    state = published(tmp_path / "file.safetensors", "convnext_atto")
    encoder = encoder_named("timm:convnext_atto", 3)
    load_weights(encoder, "timm:convnext_atto", read_weights(tmp_path / "file.safetensors"))
    torch.testing.assert_close(encoder.state_dict()["encoder.stem_0.weight"], state["stem.0.weight"])


def test_a_file_that_does_not_fit_names_what_is_missing_unexpected_and_misshapen(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    published(path, **{"conv1.0.weight": torch.zeros(2, 3, 3, 3), "layer1.0.bn1.bias": None, "odd": torch.zeros(1)})
    with pytest.raises(SettingsError) as error:
        load_weights(encoder_named(RESNET, 3, "frozen"), RESNET, read_weights(path))
    for part in ("layer1.0.bn1.bias", "unexpected odd", r"conv1.0.weight (2, 3, 3, 3)", "timm:resnet10t"):
        assert part in str(error.value)


def test_smp_s_encoders_take_published_files_too(tmp_path: Path) -> None:
    published(tmp_path / "file.safetensors", "resnet18")
    encoder = encoder_named("smp:resnet18", 3, "frozen")
    load_weights(encoder, "smp:resnet18", read_weights(tmp_path / "file.safetensors"))
    assert encoder.pretrained


def test_a_file_of_another_network_of_ours_is_refused(tmp_path: Path) -> None:
    facts = {"kind": weights.KIND, "network": "small-cnn", "norm": "group"}
    write_tensors(tmp_path / "own.safetensors", encoder_named("small-cnn", 3).state_dict(), facts)
    given = TrainSettings(network=RESNET, options={"weights": str(tmp_path / "own.safetensors")})
    with pytest.raises(SettingsError, match="are of the network 'small-cnn'"):
        check_settings(given, "test")


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": nn.Linear(2, 2)}, tmp_path / "code.pth")
    with pytest.raises(InputError, match="not a file of plain tensors"):
        read_weights(tmp_path / "code.pth")


def test_a_file_that_is_not_there_is_said_before_training() -> None:
    with pytest.raises(InputError, match=r"none\.pth: there is no such file"):
        check_settings(TrainSettings(options={"weights": "none.pth"}), "test")


@pytest.mark.parametrize("network", [RESNET, "smp:resnet18"])
def test_a_hub_that_cannot_be_reached_is_an_error_and_no_random_start(
    network: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(weights, "_answers", lambda address: False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DamageSSLError, match=r"cannot be reached.*option 'weights'"):
        load_from_hub(encoder_named(network, 3, "frozen"), network)
    assert not constants.HF_HUB_OFFLINE


def test_a_network_without_weights_on_a_hub_says_so() -> None:
    with pytest.raises(SettingsError, match="has no weights on a hub"):
        load_from_hub(encoder_named("small-cnn", 3), "small-cnn")


@pytest.mark.parametrize("name", ["timm:resnetrs5", "timm:vit_tiny_patch16_224"])
def test_what_is_no_pyramid_of_timm_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="resnetrs50"):
        encoder_named(name, 3)


@pytest.mark.parametrize("algorithm", ["fixmatch", "frozen-start"])
def test_training_starts_at_the_file_and_the_checkpoint_knows_its_norms(algorithm: str, tmp_path: Path) -> None:
    state = published(tmp_path / "file.safetensors")
    pairs, classes = draw_pairs(16)
    run = Run(tmp_path / "run")
    run.path.mkdir()
    given = TrainSettings(
        algorithm=algorithm,
        network=RESNET,
        input_px=32,
        steps=1,
        batch_labelled=4,
        unlabelled_ratio=1,
        device="cpu",
        options={"weights": str(tmp_path / "file.safetensors"), "texture_filters": 8},
    )
    train(pairs, targets_of(pairs, classes, train=8), given, run)
    network, card = load_model(run)
    assert isinstance(network.encoder, TimmEncoder) and card.spec.norm == "frozen" and card.spec.texture_filters == 8
    torch.testing.assert_close(network.encoder.state_dict()["encoder.bn1.running_var"], state["bn1.running_var"])
    assert np.isfinite(load_predictor(run).predict(pairs)).all()


@pytest.mark.parametrize("content", [b"", b"junk\n", b"%PDF-1.7 no weights", b"\x80\x02."])
@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_file_that_holds_no_weights_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        read_weights(tmp_path / name)

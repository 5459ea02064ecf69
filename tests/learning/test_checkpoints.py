"""Weights on disk and back."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from damage_ssl.errors import StorageError, WorkspaceError
from damage_ssl.learning.checkpoints import CheckpointCard, load_model, save_model
from damage_ssl.learning.networks.pair_network import NetworkSpec, PairNetwork, build_network
from damage_ssl.learning.tensor_files import (
    load_optimizer_tensors,
    optimizer_tensors,
    read_tensors,
    with_prefix,
    without_prefix,
    write_tensors,
)
from damage_ssl.runs.run import Run

SPEC = NetworkSpec(network="small-cnn", fusion="siamese", channels=7, input_px=32, classes=2)
CARD = CheckpointCard(
    spec=SPEC,
    scheme="binary-major",
    class_names=("intact", "damaged"),
    size_px=32,
    gsd_m=0.5,
    context_gsd_m=None,
    rotations=4,
    training={"seed": 3},
    steps=7,
    version="0",
)


def network(seed: int = 0) -> PairNetwork:
    return build_network(SPEC, torch.Generator().manual_seed(seed))


def test_a_saved_model_comes_back_with_its_weights_and_its_card(tmp_path: Path) -> None:
    run, net = Run(tmp_path), network()
    save_model(run, net, CARD, "abc")
    loaded, card = load_model(run)
    assert card == CARD
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in net.state_dict().items())
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["model.json", "model.safetensors"]


def test_a_run_without_a_model_says_to_train_first(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="damage-ssl train"):
        load_model(Run(tmp_path))


def test_a_truncated_weights_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    run = Run(tmp_path)
    save_model(run, network(), CARD, "abc")
    run.checkpoint_path.write_bytes(run.checkpoint_path.read_bytes()[:-100])
    with pytest.raises(WorkspaceError, match=r"model\.safetensors: is damaged"):
        load_model(run)


@pytest.mark.parametrize("change", [{"format": 99}, {"spec": {"network": "small-cnn"}}, {"colour": "red"}])
def test_a_card_of_another_version_is_an_error_that_names_it(change: dict[str, Any], tmp_path: Path) -> None:
    run = Run(tmp_path)
    save_model(run, network(), CARD, "abc")
    run.card_path.write_text(json.dumps(json.loads(run.card_path.read_text()) | change))
    with pytest.raises(WorkspaceError, match=r"model\.json"):
        load_model(run)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    run = Run(tmp_path)
    save_model(run, network(), CARD, "abc")
    write_tensors(run.checkpoint_path, {"head.weight": torch.zeros(2, 2)}, {})
    with pytest.raises(WorkspaceError, match="do not fit"):
        load_model(run)


def test_a_full_disk_is_a_storage_error_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.safetensors"
    write_tensors(path, {"a": torch.ones(2)}, {"step": 1})

    def no_room(self: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_room)
    with pytest.raises(StorageError, match="disk is full"):
        write_tensors(path, {"a": torch.zeros(2)}, {"step": 2})
    assert read_tensors(path)[1] == {"step": 1}
    assert list(tmp_path.glob("[!.]*")) == [path]


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_an_optimiser_goes_on_where_it_was(kind: str, tmp_path: Path) -> None:
    def optimizer_of(net: PairNetwork) -> torch.optim.Optimizer:
        if kind == "adamw":
            return torch.optim.AdamW(net.parameters(), lr=0.01)
        return torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True)

    def step(net: PairNetwork, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        net(torch.full((2, 7, 32, 32), 0.5)).square().sum().backward()
        optimizer.step()

    net = network()
    optimizer = optimizer_of(net)
    step(net, optimizer)
    path = tmp_path / "state.safetensors"
    write_tensors(path, with_prefix("optimizer", optimizer_tensors(optimizer)), {})
    other = network(seed=1)
    other.load_state_dict(net.state_dict())
    resumed = optimizer_of(other)
    load_optimizer_tensors(resumed, without_prefix("optimizer", read_tensors(path)[0]))
    for each, one in ((net, optimizer), (other, resumed)):
        step(each, one)
    assert torch.equal(net.head.weight, other.head.weight)

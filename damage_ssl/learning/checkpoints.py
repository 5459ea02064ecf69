"""Weights on disk: safetensors for tensors, JSON for all else, never pickle.

`model.safetensors` and `model.json` are the finished model. `resume.safetensors` is the whole state of a training
that has not ended; its JSON travels in the file's own header, so that the two can never be of different steps.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from damage_ssl.errors import WorkspaceError
from damage_ssl.files import atomic_path, read_json, write_json
from damage_ssl.learning.networks import NetworkSpec, PairNetwork
from damage_ssl.learning.runs import Run
from damage_ssl.settings import from_mapping

FORMAT = 1
_FACTS = "damage_ssl"


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What the weights of a run are and what they expect.

    `size_px`, `gsd_m` and `context_gsd_m` are those of the patches; `rotations` is the number of quarter turns
    averaged in prediction; `training` the settings, `steps` how many were done.
    """

    spec: NetworkSpec
    scheme: str
    class_names: tuple[str, ...]
    size_px: int
    gsd_m: float
    context_gsd_m: float | None
    rotations: int
    training: Mapping[str, Any]
    steps: int
    version: str


def save_model(run: Run, network: PairNetwork, card: ModelCard, fingerprint: str) -> None:
    """Write the final weights and their card; the weights come last, so that where they are the card is too.

    `fingerprint` is that of the training, see `trained_fingerprint`.

    Raises:
        StorageError: the disk is full or read-only.
    """
    write_json(card_path(run), {"format": FORMAT, **asdict(card)})
    write_tensors(run.checkpoint_path, network.state_dict(), {"fingerprint": fingerprint})


def load_model(run: Run) -> tuple[PairNetwork, ModelCard]:
    """The network of a finished run, on the CPU.

    Raises:
        WorkspaceError: the run has no model, or one that this version cannot read.
    """
    if not run.checkpoint_path.exists() or not card_path(run).exists():
        raise WorkspaceError(f"{run.path}: has no trained model; run `damage-ssl train` to its end first")
    card = _read_card(card_path(run))
    network = PairNetwork(card.spec)
    tensors, _ = read_tensors(run.checkpoint_path)
    try:
        network.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise WorkspaceError(
            f"{run.checkpoint_path}: its weights do not fit the network in {card_path(run).name}; train again"
        ) from error
    return network.requires_grad_(False), card


def trained_fingerprint(run: Run) -> str | None:
    """The fingerprint of the training that left its model in the run; None where there is no model."""
    if not run.checkpoint_path.exists():
        return None
    _, facts = read_tensors(run.checkpoint_path)
    return str(facts.get("fingerprint"))


def card_path(run: Run) -> Path:
    """The JSON beside the final weights."""
    return run.checkpoint_path.with_suffix(".json")


def resume_path(run: Run) -> Path:
    """The state of a training that has not ended."""
    return run.path / "resume.safetensors"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and, in the same file's header, JSON facts about them, atomically.

    Raises:
        StorageError: the disk is full or read-only.
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    content = save(plain, metadata={_FACTS: json.dumps(facts, allow_nan=False)})
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file, on the CPU, and the facts.

    Raises:
        WorkspaceError: the file is damaged.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            facts: dict[str, Any] = json.loads((file.metadata() or {}).get(_FACTS, "{}"))
    except (SafetensorError, json.JSONDecodeError) as error:
        raise WorkspaceError(f"{path}: cannot be read ({error}); delete it and train again") from error
    return tensors, facts


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's state by parameter number and name; learning rates are not kept, they follow from the step."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value for number, values in state.items() for name, value in values.items()}


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Take up what `optimizer_tensors` gave, for an optimiser made in the same way."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under `prefix/name`."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those tensors that stand under `prefix/`, by their own names."""
    start = f"{prefix}/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _read_card(path: Path) -> ModelCard:
    try:
        values = read_json(path)
        if values.pop("format") != FORMAT:
            raise WorkspaceError(f"{path}: was written by another version of damage_ssl; train again")
        spec = from_mapping(NetworkSpec, values.pop("spec"), f"{path}: spec")
        class_names = tuple(values.pop("class_names"))
        return ModelCard(spec=spec, class_names=class_names, **values)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise WorkspaceError(f"{path}: is not the description of a model ({error}); train again") from error

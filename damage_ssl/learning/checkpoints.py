"""Weights on disk: safetensors for tensors, JSON for all else, never pickle.

`model.safetensors` and `model.json` are the finished model. `resume.safetensors` is the whole state of a training
that has not ended; its JSON travels in the file's own header, so that the two can never be of different steps.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from damage_ssl.errors import SettingsError, WorkspaceError
from damage_ssl.files import read_json, write_json
from damage_ssl.learning.networks.pair_network import NetworkSpec, PairNetwork
from damage_ssl.learning.tensor_files import read_tensors, write_tensors
from damage_ssl.learning.training_folder import TrainingFolder
from damage_ssl.settings import from_mapping

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class CheckpointCard:
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


def save_model(folder: TrainingFolder, network: PairNetwork, card: CheckpointCard, fingerprint: str) -> None:
    """Write the final weights and their card; the weights come last, so that where they are the card is too.

    `fingerprint` is that of the training, see `trained_fingerprint`.

    Raises:
        StorageError: the disk is full or read-only.
    """
    write_json(folder.card_path, {"format": FORMAT, **asdict(card), "spec": card.spec.model_dump()})
    write_tensors(folder.checkpoint_path, network.state_dict(), {"fingerprint": fingerprint})


def load_model(folder: TrainingFolder) -> tuple[PairNetwork, CheckpointCard]:
    """The network of a finished run, on the CPU.

    Raises:
        WorkspaceError: the run has no model, or one that this version cannot read.
    """
    if not folder.checkpoint_path.exists() or not folder.card_path.exists():
        raise WorkspaceError(f"{folder.path}: has no trained model; run `damage-ssl train` to its end first")
    card = _read_card(folder.card_path)
    network = PairNetwork(card.spec)
    tensors, _ = read_tensors(folder.checkpoint_path)
    try:
        network.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise WorkspaceError(
            f"{folder.checkpoint_path}: its weights do not fit the network in {folder.card_path.name}; train again"
        ) from error
    return network.requires_grad_(False), card


def trained_fingerprint(folder: TrainingFolder) -> str | None:
    """The fingerprint of the training that left its model in the run; None where there is no model."""
    if not folder.checkpoint_path.exists():
        return None
    _, facts = read_tensors(folder.checkpoint_path)
    return str(facts.get("fingerprint"))


def _read_card(path: Path) -> CheckpointCard:
    try:
        values = read_json(path)
        if values.pop("format") != FORMAT:
            raise WorkspaceError(f"{path}: was written by another version of damage_ssl; train again")
        spec = from_mapping(NetworkSpec, values.pop("spec"), f"{path}: spec")
        class_names = tuple(values.pop("class_names"))
        return CheckpointCard(spec=spec, class_names=class_names, **values)
    except (ValueError, KeyError, TypeError, AttributeError, SettingsError) as error:
        raise WorkspaceError(f"{path}: is not the description of a model ({error}); train again") from error

"""A trained detector: the network, what it was trained on, and its file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from damage_ssl.detection.unet import CHANNELS, BuildingNet
from damage_ssl.errors import InputError
from damage_ssl.files import atomic_path
from damage_ssl.learning.device import device_named

_FORMAT = "damage-ssl building detector 1"
_PREFIX = "encoder.net."
"""Of the encoder's weights in a file, whatever they are called inside a network."""


@dataclass(frozen=True)
class DetectorCard:
    """What is written into a model's file. `trained_on` names events, `steps` counts optimiser steps."""

    encoder: str
    gsd_m: float
    trained_on: tuple[str, ...]
    self_trained_on: str | None
    steps: int


@dataclass(frozen=True)
class Detector:
    """A network in evaluation mode with its card."""

    network: BuildingNet
    card: DetectorCard

    @torch.inference_mode()
    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[B, 2, H, W] in [0, 1] (`network.CHANNELS`) of images uint8 [B, 3, H, W], H and W multiples of 16."""
        device = next(self.network.parameters()).device
        images = torch.from_numpy(pixels).to(device).float() / 255
        images = images.contiguous(memory_format=torch.channels_last)
        self.network.eval()
        return np.asarray(torch.sigmoid(self.network(images)).float().cpu().numpy())

    def save(self, path: Path) -> None:
        """Write weights and card as one safetensors file, atomically.

        Raises:
            StorageError: the disk is full or read-only.
        """
        own = _encoder_prefix(self.network)
        tensors = {
            name.replace(own, _PREFIX, 1) if name.startswith(own) else name: tensor.cpu().contiguous()
            for name, tensor in self.network.state_dict().items()
        }
        header = {"format": _FORMAT, "card": json.dumps(asdict(self.card))}
        with atomic_path(path) as temporary:
            temporary.write_bytes(save(tensors, metadata=header))

    @classmethod
    def load(cls, path: Path, *, device: str = "auto") -> "Detector":
        """Read a file written by `save`; nothing in it is executed.

        Raises:
            InputError: the file is missing, damaged or not a building detector.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"{path}: no such file; give a model that `footprints detect --save-model` wrote")
        try:
            with safe_open(path, framework="pt") as file:
                header: dict[str, Any] = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"{path}: is not a model file or is damaged ({error}); give one that `footprints detect --save-model` "
                "wrote"
            ) from error
        if header.get("format") != _FORMAT:
            raise InputError(
                f"{path}: is no building detector (its header says {header.get('format', 'nothing')!r}, expected "
                f"{_FORMAT!r}); give one that `footprints detect --save-model` wrote"
            )
        try:
            values = json.loads(header["card"])
            card = DetectorCard(**(values | {"trained_on": tuple(values["trained_on"])}))
            network = BuildingNet(card.encoder, torch.Generator().manual_seed(0), outputs=len(CHANNELS))
            own = _encoder_prefix(network)
            network.load_state_dict({name.replace(_PREFIX, own, 1): tensor for name, tensor in tensors.items()})
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"{path}: its weights do not fit its description ({error}); train a new one") from error
        return cls(network.to(device_named(device), memory_format=torch.channels_last).eval(), card)  # type: ignore[call-overload]


def _encoder_prefix(network: BuildingNet) -> str:
    return "encoder.encoder." if hasattr(network.encoder, "encoder") else "encoder."

"""Weights that an encoder starts from: a file of `damage-ssl pretrain`, a published file, or a hub.

Files are safetensors, or PyTorch's own format read without unpickling code (`weights_only`). Nothing starts at random
where weights were asked for: whatever does not fit is an error that names it.
"""

import re
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from damage_ssl.errors import DamageSSLError, InputError, SettingsError, WorkspaceError
from damage_ssl.learning.networks.encoders import Norm, SmpEncoder, TimmEncoder
from damage_ssl.learning.tensor_files import read_tensors

KIND = "encoder"
"""The fact `kind` of a file of ours that holds an encoder."""

_NAMED = 6
_HUB_SECONDS = 10.0
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class EncoderWeights:
    """Tensors of a file by their names there; `facts` are those of a file of ours, empty for a published one."""

    path: Path
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    @property
    def ours(self) -> bool:
        """True for a file of `damage-ssl pretrain`."""
        return self.facts.get("kind") == KIND

    @property
    def norm(self) -> Norm:
        """What the batch norms must be for these weights: running statistics in the file are kept."""
        if self.ours:
            return "frozen" if self.facts["norm"] == "frozen" else "group"
        return "frozen" if any(name.endswith("running_mean") for name in self.tensors) else "group"


def read_weights(path: Path) -> EncoderWeights:
    """Read a file of weights.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    if not path.is_file():
        raise InputError(f"weights: {path}: there is no such file; damage-ssl pretrain says where it writes one")
    if path.suffix == ".safetensors":
        try:
            return EncoderWeights(path, *read_tensors(path))
        except WorkspaceError as error:
            raise InputError(f"weights: {path}: is not a whole safetensors file; write it again") from error
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are no pickle make the reader fail in any way
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"weights: {path}: is not a file of plain tensors ({said}); save its state_dict") from error
    for key in ("state_dict", "model", "model_state_dict"):
        loaded = loaded[key] if isinstance(loaded, dict) and isinstance(loaded.get(key), dict) else loaded
    if not isinstance(loaded, dict) or not all(isinstance(each, Tensor) for each in loaded.values()):
        raise InputError(f"weights: {path}: holds no state_dict (names of tensors); save one and use that")
    return EncoderWeights(path, {name.removeprefix("module."): each for name, each in loaded.items()}, {})


def load_weights(encoder: nn.Module, network: str, weights: EncoderWeights) -> None:
    """Put the weights into the encoder of this name, and mark it as pretrained.

    Raises:
        SettingsError: they are of another encoder; names what is missing, unexpected or of another shape.
    """
    if weights.ours and weights.facts["network"] != network:
        raise SettingsError(
            f"weights: {weights.path}: are of the network '{weights.facts['network']}', not of '{network}'; "
            f"train with --network {weights.facts['network']}"
        )
    own = encoder.state_dict()
    taken, used = {}, set()
    for name in own:
        found = next((each for each in _names_in_file(name, weights.ours) if each in weights.tensors), None)
        if found is not None:
            taken[name] = weights.tensors[found]
            used.add(found)
    missing = [name for name in own if name not in taken and not name.endswith(_COUNTER)]
    misfits = [
        f"{name} {tuple(each.shape)} instead of {tuple(own[name].shape)}"
        for name, each in taken.items()
        if each.shape != own[name].shape
    ]
    rest = set(weights.tensors) - used
    if isinstance(encoder, SmpEncoder | TimmEncoder) and not weights.ours:
        rest -= encoder.unused_names(rest)
    if missing or misfits or rest:
        raise SettingsError(
            f"weights: {weights.path}: do not fit the network '{network}': missing {_some(missing)}; unexpected "
            f"{_some(sorted(rest))}; of another shape {_some(misfits)}. Give the network that they were made for"
        )
    encoder.load_state_dict({**own, **taken})
    _mark_pretrained(encoder)


def load_from_hub(encoder: nn.Module, network: str) -> None:
    """Put the ImageNet weights of timm's or smp's hub into the encoder; those in the hub's cache are used offline too.

    Raises:
        SettingsError: the network has none on a hub.
        DamageSSLError: the hub cannot be reached and the weights are not in its cache.
    """
    if not isinstance(encoder, SmpEncoder | TimmEncoder):
        raise SettingsError(f"network '{network}': has no weights on a hub; init 'hub' is for timm:… and smp:…")
    from huggingface_hub import constants

    reachable, before = _answers(constants.ENDPOINT), constants.HF_HUB_OFFLINE
    try:
        constants.HF_HUB_OFFLINE = before or not reachable  # or every file is tried for a minute
        state = encoder.from_hub().state_dict()
        encoder.encoder.load_state_dict(state)
    except (OSError, RuntimeError, ValueError) as error:
        said = str(error).splitlines()[0]
        why = said if reachable else f"{constants.ENDPOINT} cannot be reached from here, and its cache has none"
        raise DamageSSLError(
            f"network '{network}': init 'hub' found no weights ({why}); give a file of them by the option 'weights', "
            "or leave 'init' out to start as the network's name says"
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = before
    _mark_pretrained(encoder)


def _mark_pretrained(encoder: nn.Module) -> None:
    encoder.pretrained = True  # type: ignore[assignment]  # what `PairNetwork.pretrained` reads


def _names_in_file(name: str, ours: bool) -> Iterable[str]:
    """The names that a tensor of the encoder may have in a file, likeliest first."""
    yield name
    if not ours:
        inner = name.removeprefix("encoder.")
        yield inner
        yield inner.removeprefix("model.")
        yield re.sub(r"^([a-z]+)_(\d+)", r"\1.\2", inner)  # timm numbers stages of a features_only net by _


def _some(names: list[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _answers(address: str) -> bool:
    try:
        request = urllib.request.Request(address, method="HEAD")  # noqa: S310 - https, of the hub
        with urllib.request.urlopen(request, timeout=_HUB_SECONDS):  # noqa: S310 - the same
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False

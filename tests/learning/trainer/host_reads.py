"""Finds where a computation reads a value of the device on the host, although everything runs on the CPU here.

Small draws are made on the host by a generator, and reading those costs nothing. So tensors are followed: one that was
made from nothing but draws and constants is the host's, all others are the device's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

READING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal", "repeat_interleave"}
"""Operations whose result, or its shape, is needed on the host."""


class HostReads(TorchDispatchMode):
    """`found` names every operation that would have waited for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._hosts = WeakIdKeyDictionary()

    def of_host(self, tensor: Tensor) -> bool:
        return tensor in self._hosts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [each for each in tree_leaves((args, kwargs or {})) if isinstance(each, Tensor)]
        name = func.overloadpacket.__name__
        of_host = all(self.of_host(each) for each in given)
        masks = name in ("index", "index_put", "index_put_") and any(
            each.dtype == torch.bool for each in given[1:] if not self.of_host(each)
        )
        if not of_host and (name in READING or masks):
            self.found.append(str(func))
        result = func(*args, **(kwargs or {}))
        if of_host:
            for each in tree_leaves(result):
                if isinstance(each, Tensor):
                    self._hosts[each] = True
        return result


@contextmanager
def host_reads() -> Iterator[list[str]]:
    """What is read from the device inside the context; `Tensor.tolist` and `numpy` never reach the dispatcher."""
    mode = HostReads()

    def watched(name: str) -> Any:
        plain = getattr(Tensor, name)

        def method(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            if not mode.of_host(tensor):
                mode.found.append(f"Tensor.{name}")
            return plain(tensor, *args, **kwargs)

        return method

    def one_hot(tensor: Tensor, num_classes: int) -> Tensor:
        """As `F.one_hot` on CUDA; on a CPU it also reads the largest class, to check it."""
        return torch.zeros(*tensor.shape, num_classes, dtype=torch.int64).scatter_(-1, tensor[..., None], 1)

    with pytest.MonkeyPatch.context() as patch, mode:
        patch.setattr(torch.nn.functional, "one_hot", one_hot)
        for name in ("tolist", "numpy"):
            patch.setattr(Tensor, name, watched(name))
        yield mode.found

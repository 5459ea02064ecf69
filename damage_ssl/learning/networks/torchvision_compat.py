"""Make `import torchvision` succeed beside a CPU build of torch.

The package index serves torchvision with CUDA code; beside the CPU build of torch its C++ extension cannot load, and
the import fails although timm and smp need only its Python parts. Declaring the two missing operators is enough for
them.
"""

import importlib
import sys
from types import ModuleType

import torch

_libraries: list[torch.library.Library] = []
"""Keeps the declared operators alive: they are withdrawn when their library object is collected."""


def ensure_torchvision() -> ModuleType:
    """Import torchvision, declaring its operators if its extension cannot load. Call before importing timm or smp.

    Raises:
        ImportError: torchvision is not installed.
        RuntimeError: the import fails for another reason than the missing operators.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    _libraries.append(library)
    return importlib.import_module("torchvision")

"""Where and in which precision to compute, and how small random draws get there."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

from damage_ssl.errors import SettingsError


def device_named(name: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU; otherwise any name torch knows.

    Raises:
        SettingsError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(1, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(
            f"device '{name}' cannot be used here ({str(error).splitlines()[0]}); use 'auto' or 'cpu'"
        ) from error


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Automatic bf16 where `precision` says so; `auto` means on CUDA only. A CPU without it computes in float32.

    On a CPU with avx512_bf16 the forward pass of EfficientNet-Lite0 at 64 px is 1.7 times as fast in bf16, but
    forward and backward together take 1.3 times as long.
    """
    asked = precision == "bfloat16" and (device.type != "cpu" or cpu_has_bf16())
    enabled = asked or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def cpu_has_bf16() -> bool:
    """True where the processor computes in bf16 itself; emulated it is many times as slow as float32.

    oneDNN is asked, which `ONEDNN_MAX_CPU_ISA=AVX2` lets take the processor for a lesser one.
    """
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # torch was built without oneDNN
        return False


@contextmanager
def without_tf32() -> Iterator[None]:
    """Float32 convolutions and matrix products in full: CUDA convolutions round their input to 10 bits by default."""
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products


def keep_freed_memory() -> None:
    """Let the C library keep large freed blocks for reuse instead of returning them to the system.

    Activations are allocated and freed in each step; fetching their pages anew from the kernel took a third of a step
    on a CPU. Does nothing where the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, mmap_threshold = -1, -3  # malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
    libc = ctypes.CDLL(None)
    libc.mallopt(mmap_threshold, 1 << 30)
    libc.mallopt(trim_threshold, (1 << 31) - 1)


def pairs_at_once(device: torch.device) -> int:
    """Pairs that a frozen network sees at a time: on a CPU no more than memory is well spent on, on a GPU many.

    On one core, pictures a second at 4, 16, 64 pairs a time: 353, 478, 481 (`benchmarks/frozen_batches.py`); without
    `keep_freed_memory` 64 at a time fall to 223.
    """
    return 16 if device.type == "cpu" else 256


def to_device(draws: Tensor, device: torch.device) -> Tensor:
    """The draws on `device`, without waiting for the work queued there; an ordinary copy to CUDA waits for it."""
    if device.type != "cuda" or draws.is_cuda:
        return draws.to(device)
    return draws.pin_memory().to(device, non_blocking=True)

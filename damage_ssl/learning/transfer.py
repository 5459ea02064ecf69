"""Small random draws on their way from the CPU to where the pairs are."""

import torch
from torch import Tensor


def to_device(draws: Tensor, device: torch.device) -> Tensor:
    """The draws on `device`, without waiting for the work queued there; an ordinary copy to CUDA waits for it."""
    if device.type != "cuda" or draws.is_cuda:
        return draws.to(device)
    return draws.pin_memory().to(device, non_blocking=True)

"""Optimiser, learning rate and the running average of the weights."""

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from damage_ssl.learning.networks.pair_network import PairNetwork
from damage_ssl.learning.settings import FitOptions, TrainSettings


def make_optimizer(network: PairNetwork, settings: TrainSettings, options: FitOptions) -> torch.optim.Optimizer:
    """Groups for encoder and head, each with and without weight decay: kernels decay, gains and biases do not."""
    adaptive = network.pretrained if options.optimizer == "auto" else options.optimizer == "adamw"
    encoder_rate = settings.learning_rate_encoder if adaptive else options.sgd_learning_rate
    head_rate = settings.learning_rate_head if adaptive else options.sgd_learning_rate
    slow = (network.encoder, network.attention)
    parts = [*((each, encoder_rate) for each in slow), (network.head, head_rate), (network.auxiliary, head_rate)]
    groups = parameter_groups(parts, settings.weight_decay)
    # one kernel for all weights where launching one each would take longer than its work
    fused = next(network.parameters()).is_cuda or None
    if adaptive:
        return torch.optim.AdamW(groups, fused=fused)
    return torch.optim.SGD(groups, momentum=options.sgd_momentum, nesterov=True, fused=fused)


def parameter_groups(parts: Iterable[tuple[nn.Module, float]], weight_decay: float) -> list[dict[str, Any]]:
    """What of modules is trained, each at its own top rate: kernels with weight decay, gains and biases without."""
    groups = []
    for module, rate in parts:
        parameters = [each for each in module.parameters() if each.requires_grad]
        kernels = [each for each in parameters if each.ndim > 1]
        vectors = [each for each in parameters if each.ndim <= 1]
        groups.append({"params": kernels, "lr": rate, "top_rate": rate, "weight_decay": weight_decay})
        groups.append({"params": vectors, "lr": rate, "top_rate": rate, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def slow_cosine(progress: float) -> float:
    """cos(7π·k / 16K) of FixMatch (Sohn et al. 2020, arXiv:2001.07685, section 2.3): down to a fifth."""
    return math.cos(7 * math.pi * progress / 16)


def half_cosine(progress: float) -> float:
    """Half a cosine down to 0 (Loshchilov & Hutter 2017, arXiv:1608.03983)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def rate_factor(progress: float, warm_up: float, decay: Callable[[float], float] = slow_cosine) -> float:
    """What the top learning rate is multiplied by at `progress` in [0, 1]: `decay`, after a linear rise over `warm_up`.

    `warm_up` is a share of the training.
    """
    rise = 1.0 if warm_up <= 0 else min(1.0, (progress + 0.1 * warm_up) / warm_up)
    return rise * decay(min(progress, 1.0))


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Put every group's learning rate to `factor` times its own top rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["top_rate"] * factor


class Ema:
    """Exponential moving average of parameters and buffers (Tarvainen & Valpola 2017, arXiv:1703.01780).

    The decay rises as (1 + t) / (10 + t) to its setting, so that the start does not weigh for long.
    """

    def __init__(self, network: PairNetwork, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, student: nn.Module, step: int) -> None:
        """Take the student after `step` steps (counted from 0) into the average."""
        decay = min(self._decay, (1 + step) / (10 + step))
        own: dict[str, Tensor] = self.network.state_dict()
        new: dict[str, Tensor] = student.state_dict()
        floating = [name for name, tensor in own.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([own[name] for name in floating], [new[name] for name in floating], 1.0 - decay)
        for name, tensor in own.items():
            if not tensor.is_floating_point():
                tensor.copy_(new[name])

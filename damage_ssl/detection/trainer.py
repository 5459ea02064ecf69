"""Training the detector: labelled squares first, then half of each batch from the target's own imagery.

The second part is self-training as Zoph et al. 2020 (arXiv:2006.06882) and Ghiasi et al. 2021 (arXiv:2012.07177) use
it for segmentation: the network of the first part marks the buildings on unlabelled imagery, and where it is sure
these marks are learnt like footprints, under the same strong augmentation, Copy-Paste included.
"""

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from damage_ssl.detection.detector import Detector, DetectorCard
from damage_ssl.detection.instances import split_buildings
from damage_ssl.detection.settings import DetectionTraining
from damage_ssl.detection.training_tiles import Crops, Tiles, draw_crops
from damage_ssl.detection.unet import BuildingNet
from damage_ssl.errors import LabelsError
from damage_ssl.learning.device import autocast, device_named, keep_freed_memory
from damage_ssl.learning.trainer.optimiser import half_cosine, parameter_groups, rate_factor, set_rate
from damage_ssl.progress import StageCallback

_WARM_UP = 0.05


def train_detector(
    labelled: Tiles,
    settings: DetectionTraining,
    *,
    gsd_m: float,
    trained_on: tuple[str, ...],
    target: Tiles | None = None,
    target_name: str | None = None,
    progress: StageCallback | None = None,
) -> Detector:
    """Train on squares with known buildings; `target` holds squares without, for self-training (None: none).

    Stopped by an exception (Ctrl-C), nothing is left behind.

    Raises:
        SettingsError: no such encoder or device. LabelsError: the loss is not finite any more.
    """
    rng = np.random.default_rng([settings.seed, 7])
    network = BuildingNet(settings.encoder, torch.Generator().manual_seed(settings.seed))
    share = settings.self_training_share if target is not None else 0.0
    pseudo: Tiles | None = None

    def draw(used: float, steps: int) -> Crops:
        nonlocal pseudo
        if share and target is not None and pseudo is None and used >= 1.0 - share:
            pseudo = pseudo_labelled(_detector(network, settings, gsd_m, trained_on, None, steps), target, settings)
        return _batch(labelled, pseudo, settings, rng)

    steps = fit(network, draw, settings, progress=progress)
    name = target_name if pseudo is not None else None
    return _detector(network, settings, gsd_m, trained_on, name, steps)


def fit(
    network: BuildingNet,
    draw: Callable[[float, int], Crops],
    settings: DetectionTraining,
    *,
    progress: StageCallback | None = None,
) -> int:
    """Train until steps or minutes are used up, on the batches that `draw(share used, steps done)` gives; the steps.

    The network is left on the settings' device.

    Raises:
        SettingsError: no such device. LabelsError: the loss is not finite any more.
    """
    keep_freed_memory()
    device = device_named(settings.device)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _optimizer(network, settings)
    clock = _Clock(settings)
    while (used := clock.used) < 1.0:
        set_rate(optimizer, rate_factor(used, _WARM_UP, half_cosine))
        loss = _step(network, optimizer, draw(used, clock.steps), device)
        if not math.isfinite(loss):
            raise LabelsError(
                f"detection: the loss is {loss} after {clock.steps} steps; lower learning_rate_encoder and "
                "learning_rate_decoder, or check the footprints"
            )
        clock.steps += 1
        if progress is not None:
            progress(round(1000 * min(clock.used, 1.0)), 1000, f"loss {loss:.3f}")
    return clock.steps


def pseudo_labelled(teacher: Detector, tiles: Tiles, settings: DetectionTraining) -> Tiles:
    """The tiles with the teacher's buildings as instances, believed where it is sure of building or not."""
    instances, confident = np.zeros_like(tiles.instances), np.zeros_like(tiles.confident)
    for index in range(len(tiles)):
        building, core = teacher.probabilities(tiles.pixels[index : index + 1])[0]
        instances[index] = split_buildings(building, core)
        sure = np.maximum(building, 1 - building) >= settings.pseudo_confidence
        confident[index] = sure & tiles.valid[index]
    teacher.network.train()
    return Tiles(tiles.pixels, tiles.valid, instances, confident)


def segmentation_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice (Milletari et al. 2016, arXiv:1606.04797), the mean over the channels.

    Shapes: `logits` and `target` [B, K, H, W], `weight` [B, H, W] in [0, 1]; pixels of weight 0 have no gradient.
    """
    weight = weight[:, None]  # [B, 1, H, W]
    count = weight.sum().clamp(min=1.0) * logits.shape[1]
    entropy = (F.binary_cross_entropy_with_logits(logits, target, reduction="none") * weight).sum() / count
    p = torch.sigmoid(logits) * weight
    overlap = (p * target).sum(dim=(0, 2, 3))  # [K]
    sizes = p.sum(dim=(0, 2, 3)) + (target * weight).sum(dim=(0, 2, 3))
    dice = 1.0 - (2.0 * overlap + 1.0) / (sizes + 1.0)
    return entropy + dice.mean()


class _Clock:
    """How much of the run is used up, by steps or by time, whichever is more."""

    def __init__(self, settings: DetectionTraining) -> None:
        self.steps = 0
        self._most_steps = settings.steps
        self._seconds = None if settings.minutes is None else settings.minutes * 60
        self._start = time.monotonic()

    @property
    def used(self) -> float:
        by_steps = self.steps / self._most_steps
        if self._seconds is None or self.steps == 0:
            return by_steps
        return max(by_steps, (time.monotonic() - self._start) / max(self._seconds, 1e-9))


def _batch(labelled: Tiles, pseudo: Tiles | None, settings: DetectionTraining, rng: np.random.Generator) -> Crops:
    share = settings.copy_paste_share
    if pseudo is None:
        return draw_crops(labelled, settings.batch, settings.crop_px, rng, copy_paste_share=share)
    half = settings.batch // 2
    parts = [
        draw_crops(labelled, settings.batch - half, settings.crop_px, rng, copy_paste_share=share),
        draw_crops(pseudo, half, settings.crop_px, rng, copy_paste_share=share, donors=labelled),
    ]
    return Crops(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("image", "target", "weight")))


def _step(network: BuildingNet, optimizer: torch.optim.Optimizer, crops: Crops, device: torch.device) -> float:
    network.train()
    image = torch.from_numpy(crops.image).to(device).contiguous(memory_format=torch.channels_last)
    with autocast(device, "auto"):
        logits = network(image)
    loss = segmentation_loss(
        logits.float(), torch.from_numpy(crops.target).to(device), torch.from_numpy(crops.weight).to(device)
    )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _optimizer(network: BuildingNet, settings: DetectionTraining) -> torch.optim.Optimizer:
    known = network.encoder.pretrained
    encoder_rate = settings.learning_rate_encoder if known else settings.learning_rate_decoder
    rest = nn.ModuleList([network.decoder, network.head])
    parts = [(network.encoder, encoder_rate), (rest, settings.learning_rate_decoder)]
    return torch.optim.AdamW(parameter_groups(parts, settings.weight_decay))


def _detector(
    network: BuildingNet,
    settings: DetectionTraining,
    gsd_m: float,
    trained_on: tuple[str, ...],
    self_trained_on: str | None,
    steps: int,
) -> Detector:
    return Detector(network.eval(), DetectorCard(settings.encoder, gsd_m, trained_on, self_trained_on, steps))

"""One training task: the pairs as tensors, the labels as rows, the settings looked up and checked."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from damage_ssl import __version__
from damage_ssl.errors import SettingsError
from damage_ssl.grades import ClassScheme, scheme_named
from damage_ssl.learning.channels import pair_bytes
from damage_ssl.learning.checkpoints import ModelCard
from damage_ssl.learning.device import device_named
from damage_ssl.learning.networks import NetworkSpec
from damage_ssl.learning.options import SortedOptions, sort_options
from damage_ssl.learning.runs import Run
from damage_ssl.learning.targets import TargetRows, Targets, target_rows
from damage_ssl.learning.weights import read_weights
from damage_ssl.patches.pairs import PairSet
from damage_ssl.settings import TrainSettings, to_mapping


@dataclass(frozen=True, kw_only=True)
class TrainProgress:
    """Where a training stands, for a progress bar.

    `loss` and `mask_rate` are means since the last report; `validation_score` is the latest AUROC of the averaged
    weights on the validation buildings, None without any; `seconds_left` is an estimate.
    """

    step: int
    steps: int
    loss: float | None
    mask_rate: float | None
    validation_score: float | None
    seconds_left: float | None


@dataclass(frozen=True, kw_only=True)
class Task:
    """What every way of training needs. `pixels` is uint8 [N, 7 or 14, H, W] on the device, of buildings [N].

    `cache` is the folder where features of views may be kept.
    """

    run: Run
    settings: TrainSettings
    options: SortedOptions
    scheme: ClassScheme
    pixels: Tensor
    building_id: NDArray[np.str_]
    rows: TargetRows
    gsd_m: float
    context_gsd_m: float | None
    device: torch.device
    fingerprint: str
    on_progress: Callable[[TrainProgress], None]
    should_stop: Callable[[], bool]
    cache: Path

    def card(self, spec: NetworkSpec, steps: int) -> ModelCard:
        """The description that goes beside the weights."""
        return ModelCard(
            spec=spec,
            scheme=self.scheme.name,
            class_names=self.scheme.class_names,
            size_px=int(self.pixels.shape[-1]),
            gsd_m=self.gsd_m,
            context_gsd_m=self.context_gsd_m,
            rotations=self.settings.prediction_rotations,
            training=to_mapping(self.settings),
            steps=steps,
            version=__version__,
        )


def make_task(
    pairs: PairSet,
    targets: Targets,
    settings: TrainSettings,
    run: Run,
    on_progress: Callable[[TrainProgress], None],
    should_stop: Callable[[], bool],
    cache: Path | None = None,
) -> Task:
    """Check everything that can be checked before any work; without `cache`, features of views are kept in the run.

    Raises:
        SettingsError: an unknown name or an impossible value.
        LabelsError: the labels are of one class only.
        WorkspaceError: a labelled building has no pair.
    """
    where = f"{run.run_id}: training"
    check_values(settings, where)
    scheme = scheme_named(settings.scheme)
    options = sort_options(settings.options, where)
    rows = target_rows(targets, pairs, scheme)
    device = device_named(settings.device)
    pixels = pair_bytes(pairs)
    return Task(
        run=run,
        settings=settings,
        options=options,
        scheme=scheme,
        pixels=pixels.to(device),
        building_id=pairs.building_id,
        rows=rows,
        gsd_m=pairs.close.gsd_m,
        context_gsd_m=None if pairs.context is None else pairs.context.gsd_m,
        device=device,
        fingerprint=_fingerprint(pairs, pixels, rows, settings),
        on_progress=on_progress,
        should_stop=should_stop,
        cache=cache or run.path / "views",
    )


def unlabelled_rows(task: Task) -> Tensor:
    """Rows of the pairs that serve as unlabelled, int64; those of other events never do.

    Raises:
        SettingsError: the settings leave none.
    """
    left_out = task.rows.foreign_row
    if task.options.fit.unlabelled_rows == "unlabelled":
        left_out = np.union1d(left_out, np.union1d(task.rows.train_row, task.rows.validation_row))
    rows = torch.arange(len(task.pixels))
    rest = rows[torch.from_numpy(~np.isin(rows.numpy(), left_out))]
    if not len(rest):
        where, chosen = f"{task.run.run_id}: training", task.options.fit.unlabelled_rows
        if chosen == "all":
            raise SettingsError(
                f"{where}: all {len(rows)} pairs are of other events; set max_unlabelled "
                f"({task.settings.max_unlabelled}) above 0, so that some are of the event itself"
            )
        raise SettingsError(
            f"{where}: unlabelled_rows is 'unlabelled', but all {len(rows)} pairs have labels; use 'all', or pairs of "
            "an event without labels beside these"
        )
    return rest


def check_values(settings: TrainSettings, where: str) -> None:
    """Check the numbers of the settings.

    Raises:
        SettingsError: one is out of range.
    """
    smallest = {
        "steps": 1,
        "batch_labelled": 2,
        "unlabelled_ratio": 1,
        "max_unlabelled": 0,
        "input_px": 32,
        "prediction_rotations": 1,
        "learning_rate_encoder": 0.0,
        "learning_rate_head": 0.0,
        "weight_decay": 0.0,
        "ema_decay": 0.0,
    }
    for name, least in smallest.items():
        if not (value := getattr(settings, name)) >= least:
            raise SettingsError(f"{where}: {name} is {value:g}; it must be at least {least:g}")
    if settings.prediction_rotations > 4:
        raise SettingsError(
            f"{where}: prediction_rotations is {settings.prediction_rotations}; quarter turns are 1 to 4"
        )
    if settings.ema_decay >= 1:
        raise SettingsError(f"{where}: ema_decay is {settings.ema_decay:g}; it must be below 1")
    if settings.minutes is not None and not settings.minutes > 0:
        raise SettingsError(f"{where}: minutes is {settings.minutes:g}; it must be above 0")


def _fingerprint(pairs: PairSet, pixels: Tensor, rows: TargetRows, settings: TrainSettings) -> str:
    """Changes with anything that a resumed training must share with its beginning; some 1,000 pairs stand for all
    pixels."""
    values: dict[str, Any] = to_mapping(settings)
    for name in ("minutes", "device"):
        values.pop(name)
    digest = hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16)
    digest.update("\n".join(pairs.building_id.tolist()).encode())
    digest.update(pixels[:: max(len(pixels) // 1000, 1)].contiguous().numpy().data)
    for array in (rows.train_row, rows.train_class):
        digest.update(array.tobytes())
    if len(rows.foreign_row):
        digest.update(b"foreign" + rows.foreign_row.tobytes())
    if given := settings.options.get("weights"):
        digest.update(read_weights(Path(str(given))).path.read_bytes())
    return digest.hexdigest()

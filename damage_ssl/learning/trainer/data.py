"""One training task: the pairs as tensors, the labels as rows, the settings checked; and which pairs a step sees."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from damage_ssl import __version__
from damage_ssl.damage_scale import ClassScheme, scheme_named
from damage_ssl.errors import LabelsError, SettingsError, WorkspaceError
from damage_ssl.learning.checkpoints import CheckpointCard
from damage_ssl.learning.device import device_named
from damage_ssl.learning.networks.pair_network import NetworkSpec
from damage_ssl.learning.networks.weights import read_weights
from damage_ssl.learning.pair_tensor import pair_bytes
from damage_ssl.learning.settings import TrainingOptions, TrainSettings
from damage_ssl.learning.training_folder import TrainingFolder
from damage_ssl.patches.pairs import PairSet


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Class indices of the labelled buildings, by id; those of validation are never trained on and may be none.

    Every other pair is unlabelled; the labelled ones serve as unlabelled too, but for those of `foreign_id`, which are
    of other events.
    """

    train_id: NDArray[np.str_]
    train_class: NDArray[np.int64]
    validation_id: NDArray[np.str_]
    validation_class: NDArray[np.int64]
    foreign_id: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, dtype=np.str_))


@dataclass(frozen=True, kw_only=True)
class TargetRows:
    """`Targets` as rows of a pair set."""

    train_row: NDArray[np.intp]
    train_class: NDArray[np.int64]
    validation_row: NDArray[np.intp]
    validation_class: NDArray[np.int64]
    foreign_row: NDArray[np.intp]


def target_rows(targets: Targets, pairs: PairSet, scheme: ClassScheme) -> TargetRows:
    """Find the labelled buildings among the pairs.

    Raises:
        LabelsError: no labels, or labels of one class only.
        WorkspaceError: a labelled building has no pair.
    """
    present = np.unique(targets.train_class)
    if len(present) < 2:
        found = (
            f"all {len(targets.train_id)} are '{scheme.class_names[present[0]]}'" if len(present) else "there are none"
        )
        names = ", ".join(scheme.class_names)
        raise LabelsError(
            f"labels: training needs buildings of two classes at least ({names}), and {found}; label some more"
        )
    try:
        train_row, validation_row = pairs.rows_of(targets.train_id), pairs.rows_of(targets.validation_id)
        foreign_row = pairs.rows_of(targets.foreign_id)
    except KeyError as missing:
        raise WorkspaceError(
            f"labels: building {missing} has no pair of patches; leave out what was not assessed, or run "
            "`damage-ssl patches` again"
        ) from None
    return TargetRows(
        train_row=train_row,
        train_class=np.asarray(targets.train_class, dtype=np.int64),
        validation_row=validation_row,
        validation_class=np.asarray(targets.validation_class, dtype=np.int64),
        foreign_row=foreign_row,
    )


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

    folder: TrainingFolder
    settings: TrainSettings
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

    @property
    def options(self) -> TrainingOptions:
        """Those of the settings."""
        return self.settings.options

    def card(self, spec: NetworkSpec, steps: int) -> CheckpointCard:
        """The description that goes beside the weights."""
        return CheckpointCard(
            spec=spec,
            scheme=self.scheme.name,
            class_names=self.scheme.class_names,
            size_px=int(self.pixels.shape[-1]),
            gsd_m=self.gsd_m,
            context_gsd_m=self.context_gsd_m,
            rotations=self.settings.prediction_rotations,
            training=self.settings.model_dump(),
            steps=steps,
            version=__version__,
        )


def make_task(
    pairs: PairSet,
    targets: Targets,
    settings: TrainSettings,
    folder: TrainingFolder,
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
    scheme = scheme_named(settings.scheme)
    rows = target_rows(targets, pairs, scheme)
    device = device_named(settings.device)
    pixels = pair_bytes(pairs)
    return Task(
        folder=folder,
        settings=settings,
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
        cache=cache or folder.path / "views",
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
        where, chosen = f"{task.folder.name}: training", task.options.fit.unlabelled_rows
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


def _fingerprint(pairs: PairSet, pixels: Tensor, rows: TargetRows, settings: TrainSettings) -> str:
    """Changes with anything that a resumed training must share with its beginning; some 1,000 pairs stand for all
    pixels."""
    values: dict[str, Any] = settings.model_dump()
    for name in ("minutes", "device"):
        values.pop(name)
    digest = hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16)
    digest.update("\n".join(pairs.building_id.tolist()).encode())
    digest.update(pixels[:: max(len(pixels) // 1000, 1)].contiguous().numpy().data)
    for array in (rows.train_row, rows.train_class):
        digest.update(array.tobytes())
    if len(rows.foreign_row):
        digest.update(b"foreign" + rows.foreign_row.tobytes())
    if given := settings.options.network.weights:
        digest.update(read_weights(Path(given)).path.read_bytes())
    return digest.hexdigest()


MANY = 100_000
"""Of at most so many, all are shuffled in each draw, which takes a millisecond there."""


class BalancedSampler:
    """Labelled rows with the classes in equal shares, whatever their counts; a step's remainder goes to random classes.

    Within a step a pair repeats only when its class has fewer pairs than its share. Has no state but the generator's.
    """

    def __init__(self, rows: NDArray[np.intp], classes: NDArray[np.int64]) -> None:
        self._by_class = [(int(each), torch.from_numpy(rows[classes == each])) for each in np.unique(classes)]

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rows and class indices, int64 [count] each, grouped by class."""
        share, remainder = divmod(count, len(self._by_class))
        lucky = set(torch.randperm(len(self._by_class), generator=generator)[:remainder].tolist())
        rows, classes = [], []
        for index, (class_index, members) in enumerate(self._by_class):
            wanted = share + (index in lucky)
            rows.append(members[distinct(len(members), wanted, generator)])
            classes.append(torch.full((wanted,), class_index))
        return torch.cat(rows), torch.cat(classes)


def distinct(available: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` random positions below `available`, int64; one repeats only when all others have come as often.

    Few out of very many take no time in proportion to these: those drawn twice are drawn again.
    """
    if available > MANY and count * 2 < available:
        drawn = torch.randint(available, (count,), generator=generator)
        while len(kept := torch.unique(drawn)) < count:
            drawn = torch.cat([kept, torch.randint(available, (count - len(kept),), generator=generator)])
        return drawn
    rounds = -(-count // available)
    return torch.cat([torch.randperm(available, generator=generator) for _ in range(max(rounds, 1))])[:count]

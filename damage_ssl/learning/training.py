"""Training a run: from pairs and labels to weights in the run's folder."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from damage_ssl.checksums import forget
from damage_ssl.damage_scale import scheme_named
from damage_ssl.errors import SettingsError, nearest_name
from damage_ssl.learning.algorithms import ALGORITHMS, ROUNDS, algorithm_names
from damage_ssl.learning.checkpoints import load_model, save_model, trained_fingerprint
from damage_ssl.learning.device import keep_freed_memory
from damage_ssl.learning.known_probabilities import KnownProbabilities
from damage_ssl.learning.networks.encoders import CACHED_LITE0, encoder_named, encoder_of, is_cached
from damage_ssl.learning.networks.fusion import IMAGE_CHANNELS
from damage_ssl.learning.networks.pair_network import FROZEN
from damage_ssl.learning.networks.weights import load_weights, read_weights
from damage_ssl.learning.pair_dataset import classes_of
from damage_ssl.learning.predictor import Predictor, load_predictor
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.trainer.data import Targets, Task, TrainProgress, make_task
from damage_ssl.learning.trainer.initialisation import initialised_network
from damage_ssl.learning.trainer.self_training import train_rounds
from damage_ssl.learning.trainer.trainer import Trainer, validation_score
from damage_ssl.learning.trainer.view_cache import CachingStoppedError
from damage_ssl.learning.trainer.view_sources import settings_without_pixels
from damage_ssl.learning.training_folder import State, TrainingFolder
from damage_ssl.patches.pairs import PairSet

__all__ = [
    "Targets",
    "TrainProgress",
    "algorithm_names",
    "check_settings",
    "cross_fit",
    "keeps_features",
    "keeps_lite0_views",
    "train",
    "train_in_memory",
]


def train(
    pairs: PairSet,
    targets: Targets,
    settings: TrainSettings,
    folder: TrainingFolder,
    *,
    progress: Callable[[TrainProgress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    cache: Path | None = None,
) -> None:
    """Train and leave weights, card, metrics and status in the run's folder.

    A run that was trained already is left as it is. One that was stopped or killed goes on from its checkpoint; on a
    CPU and without `minutes` it ends with exactly the weights of an uninterrupted one. When `should_stop` says so the
    training ends early as `cancelled`, ready to go on. What is kept are the averaged weights of the last step; the
    validation score is logged and chooses nothing. `cache` is the folder for features of views, shared by all runs on
    the same patches (None: the run's own); only a network on cached features (`cached-lite0`) writes there.

    Raises:
        SettingsError: an unknown algorithm, network, scheme or option, or an impossible value.
        LabelsError: labels of one class only.
        WorkspaceError: a labelled building has no pair, or the checkpoint is of another training.
        StorageError: the disk is full or read-only.
        DamageSSLError: the loss is not a finite number any more.
    """
    began = time.monotonic()
    keep_freed_memory()
    with _recorded(folder):
        way = _way_of(settings.algorithm)
        folder.set_status("running", step=0, steps=settings.steps, message="preparing")
        said, stop = progress or (lambda _: None), should_stop or (lambda: False)
        task = make_task(pairs, targets, settings, folder, said, stop, cache)
        if trained_fingerprint(folder) == task.fingerprint:
            folder.set_status("trained", step=load_model(folder)[1].steps, steps=settings.steps)
            return
        try:
            way(task, lambda: time.monotonic() - began)
        except CachingStoppedError:
            folder.set_status("cancelled", step=0, steps=settings.steps, message="stopped; train again to go on")


def train_in_memory(
    pairs: PairSet,
    labels: Mapping[str, str],
    settings: TrainSettings,
    *,
    cache: Path | None = None,
    progress: Callable[[TrainProgress], None] | None = None,
) -> Predictor:
    """Train on pairs and labels (building id → label) alone; nothing is held out, and nothing stays on disk.

    `cache` is a folder for features of views that other trainings of the same pairs may share.

    Raises:
        As `train`; InputError: a label is none.
    """
    known = classes_of(labels, settings.scheme)
    nothing = np.empty(0, dtype=np.int64)
    targets = Targets(
        train_id=np.array(list(known), dtype=str),
        train_class=np.array(list(known.values()), dtype=np.int64),
        validation_id=nothing.astype(str),
        validation_class=nothing,
    )
    with TemporaryDirectory(prefix="damage-ssl-") as place:
        folder = TrainingFolder(Path(place) / "in memory")
        folder.path.mkdir()
        train(pairs, targets, settings, folder, progress=progress, cache=cache)
        return load_predictor(folder, settings.device)


def keeps_features(settings: TrainSettings) -> bool:
    """True where only a head is trained, on features that stay as they are: training once more takes seconds."""
    return settings.algorithm in FROZEN or is_cached(settings.network)


def keeps_lite0_views(settings: TrainSettings) -> bool:
    """True where views of all buildings are described by EfficientNet-Lite0, and kept."""
    return settings.algorithm not in FROZEN and settings.network == CACHED_LITE0


def cross_fit(
    pairs: PairSet,
    targets: Targets,
    fold: NDArray[np.integer],
    settings: TrainSettings,
    folder: TrainingFolder,
    *,
    on_fold: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    cache: Path | None = None,
) -> NDArray[np.float64] | None:
    """What the same training says of each labelled building without the labels of its fold: raw probabilities [n, C].

    The trainings are in folders of `folder`, so that one that was killed goes on where it was, to the same result.

    Args:
        pairs: those of the training.
        targets: n labelled buildings to train on.
        fold: [n] the part that each is left out with; -1: it is learned from in all of them.
        settings: of the training.
        folder: the training's own.
        on_fold: told how many parts are done, and of how many.
        should_stop: as in `train`.
        cache: as in `train`.

    Returns:
        [n, C], NaN for fold -1; None where it was stopped.

    Raises:
        As `train`.
    """
    said = np.full((len(fold), len(scheme_named(settings.scheme))), np.nan)
    parts = np.unique(fold[fold >= 0])
    for done, each in enumerate(parts):
        held = fold == each
        part = TrainingFolder(folder.path / f"fold-{each}")
        part.path.mkdir(exist_ok=True)
        others = replace(
            targets,
            train_id=targets.train_id[~held],
            train_class=targets.train_class[~held],
            validation_id=targets.train_id[held],
            validation_class=targets.train_class[held],
        )
        train(pairs, others, settings, part, should_stop=should_stop, cache=cache)
        if not part.checkpoint_path.exists():
            return None
        known = KnownProbabilities.read(part)
        if known is not None:
            said[held] = known.of(targets.train_id[held])
        else:
            model = load_predictor(part, settings.device)
            said[held] = model.predict(pairs.take(pairs.rows_of(targets.train_id[held])))
        if on_fold is not None:
            on_fold(done + 1, len(parts))
    return said


def check_settings(settings: TrainSettings, where: str) -> None:
    """Check everything about the settings that needs no data, e.g. before a run is begun.

    Raises:
        SettingsError: an unknown algorithm, network, scheme or option, or an impossible value.
    """
    _way_of(settings.algorithm)
    scheme_named(settings.scheme)
    options = settings.options
    if settings.algorithm in ALGORITHMS and is_cached(settings.network):
        settings_without_pixels(settings, where)
    encoder = encoder_named(encoder_of(settings.network), IMAGE_CHANNELS[settings.fusion])
    if options.network.weights:
        load_weights(encoder, encoder_of(settings.network), read_weights(Path(options.network.weights)))


def _way_of(algorithm: str) -> Callable[[Task, Callable[[], float]], None]:
    if algorithm in FROZEN:
        return _train_frozen
    if algorithm in ALGORITHMS:
        return _train_network
    if algorithm in ROUNDS:
        return train_rounds
    raise SettingsError(f"algorithm '{algorithm}' is unknown: {nearest_name(algorithm, algorithm_names())}")


def _train_network(task: Task, clock: Callable[[], float]) -> None:
    fit = Trainer(task, clock)
    fit.resume()
    if not fit.run():
        task.folder.set_status(
            "cancelled", step=fit.step, steps=task.settings.steps, message="stopped; train again to go on"
        )
        return
    if is_cached(task.settings.network):
        KnownProbabilities(task.building_id, fit.probabilities()).write(task.folder)
    save_model(task.folder, fit.averaged, task.card(fit.averaged.spec, fit.step), task.fingerprint)
    task.folder.resume_path.unlink(missing_ok=True)
    forget(task.folder.resume_path)
    task.folder.set_status("trained", step=fit.step, steps=task.settings.steps)


def _train_frozen(task: Task, clock: Callable[[], float]) -> None:
    network = initialised_network(task, torch.Generator().manual_seed(task.settings.seed))
    score = validation_score(network, task)
    if score is not None:
        task.folder.log_metrics({"step": 1, "validation_auroc": score, "seconds": round(clock(), 2)})
    save_model(task.folder, network, task.card(network.spec, 1), task.fingerprint)
    task.folder.set_status("trained", step=1, steps=1)
    task.on_progress(
        TrainProgress(step=1, steps=1, loss=None, mask_rate=None, validation_score=score, seconds_left=0.0)
    )


@contextmanager
def _recorded(folder: TrainingFolder) -> Iterator[None]:
    """Leave the run's state as cancelled or failed where the training ends that way."""
    try:
        yield
    except KeyboardInterrupt:
        _end(folder, "cancelled", "interrupted; train again to go on")
        raise
    except Exception as error:
        _end(folder, "failed", str(error))
        raise


def _end(folder: TrainingFolder, state: State, message: str) -> None:
    step, steps = folder.reached()
    folder.set_status(state, step=step, steps=steps, message=message)

"""Iterated self-training: a teacher labels what it is sure of, a new student learns from that, and becomes the teacher.

Xie et al. 2020 (Noisy Student, arXiv:1911.04252), algorithm 1. Each round is a training of its own in a folder
`round-<number>` of the run, so that a stopped one goes on in the round where it was. What a teacher was sure of is the
file `pseudo_labels.json` in the folder of the student that learns from it: it says that a model made it, which one and
when, has another form than a file of labels, and is read by nothing but this module.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

from damage_ssl.checksums import forget
from damage_ssl.errors import WorkspaceError
from damage_ssl.files import read_json, write_json
from damage_ssl.learning.algorithms.base import Algorithm
from damage_ssl.learning.algorithms.noisy_student import NoisyStudent, NoisyStudentSettings, confident
from damage_ssl.learning.algorithms.supervised import Supervised
from damage_ssl.learning.checkpoints import load_model, save_model, trained_fingerprint
from damage_ssl.learning.networks.encoders import is_cached
from damage_ssl.learning.networks.pair_network import PairNetwork
from damage_ssl.learning.trainer.data import Task, TrainProgress, unlabelled_rows
from damage_ssl.learning.trainer.trainer import Trainer
from damage_ssl.learning.trainer.view_sources import CachedViews, PixelViews
from damage_ssl.learning.training_folder import TrainingFolder

KIND = "pseudo-labels of a model, not labels"


def train_rounds(task: Task, clock: Callable[[], float]) -> None:
    """Train a teacher on the labels and `rounds` students, each on its teacher's soft labels too.

    The last student is the run's model. Time and steps of the settings: `minutes` is shared by all, `steps` is each
    one's.
    """
    settings = cast(NoisyStudentSettings, task.options.algorithm)
    algorithm: Algorithm = Supervised("strong")
    path: Path | None = None
    total = (settings.rounds + 1) * task.settings.steps
    for number in range(settings.rounds + 1):
        part = _part(task, number, settings.rounds, path)
        network = _trained(part, clock, algorithm)
        if network is None:
            message = f"stopped in round {number} of {settings.rounds}; train again to go on"
            task.folder.set_status("cancelled", step=number * task.settings.steps, steps=total, message=message)
            return
        if number == settings.rounds:
            save_model(task.folder, network, task.card(network.spec, total), task.fingerprint)
            task.folder.set_status("trained", step=total, steps=total)
            return
        path = task.folder.path / f"round-{number + 1}" / "pseudo_labels.json"
        if not path.exists() or read_json(path).get("teacher_fingerprint") != part.fingerprint:
            write_pseudo_labels(path, network, part, number + 1, settings.threshold)
        algorithm = read_student(path, task, settings)


def write_pseudo_labels(path: Path, teacher: PairNetwork, task: Task, number: int, threshold: float) -> None:
    """What the teacher of `task` is sure of, with where it comes from; labelled and validation pairs are left out."""
    source = CachedViews(task) if is_cached(task.settings.network) else PixelViews(task, "random")
    p = torch.from_numpy(source.predict(teacher, np.arange(len(task.pixels))))  # [N, C]
    kept = confident(p, threshold).numpy()
    kept[task.rows.train_row] = False
    kept[task.rows.validation_row] = False
    values = {
        "kind": KIND,
        "round": number,
        "teacher": f"round-{number - 1}",
        "teacher_fingerprint": task.fingerprint,
        "threshold": threshold,
        "class_names": list(task.scheme.class_names),
        "pairs": len(p),
        "probabilities": {str(task.building_id[row]): p[row].tolist() for row in np.flatnonzero(kept)},
    }
    path.parent.mkdir(exist_ok=True)
    write_json(path, values)


def read_student(path: Path, task: Task, settings: NoisyStudentSettings) -> NoisyStudent:
    """The student of a file of pseudo-labels.

    Raises:
        WorkspaceError: the file is something else, or of other buildings.
    """
    values = read_json(path)
    if values.get("kind") != KIND:
        raise WorkspaceError(f"{path}: is no file of pseudo-labels; delete it and train again")
    pool = task.building_id[unlabelled_rows(task).numpy()]  # a batch says places among these
    row_of = {str(each): row for row, each in enumerate(pool)}
    soft = torch.zeros(len(pool), len(task.scheme))
    mask = torch.zeros(len(pool))
    for building, p in values["probabilities"].items():
        if building not in row_of:
            raise WorkspaceError(f"{path}: building '{building}' has no pair here; delete the file and train again")
        soft[row_of[building]], mask[row_of[building]] = torch.tensor(p), 1.0
    return NoisyStudent(
        soft_labels=soft.to(task.device), mask=mask.to(task.device), unlabelled_weight=settings.unlabelled_weight
    )


def _part(task: Task, number: int, rounds: int, path: Path | None) -> Task:
    """The training of one round, in a folder within the run's."""
    folder = TrainingFolder(task.folder.path / f"round-{number}")
    folder.path.mkdir(exist_ok=True)
    digest = hashlib.blake2b(f"{task.fingerprint} {number}".encode(), digest_size=16)
    digest.update(b"" if path is None else path.read_bytes())
    steps = (rounds + 1) * task.settings.steps

    def on_progress(progress: TrainProgress) -> None:
        step = number * task.settings.steps + progress.step
        task.folder.set_status("running", step=step, steps=steps, message=f"round {number} of {rounds}")
        line = {"step": step, "round": number, "loss": progress.loss, "mask_rate": progress.mask_rate}
        task.folder.log_metrics({name: value for name, value in line.items() if value is not None})
        task.on_progress(replace(progress, step=step, steps=steps))

    minutes = task.settings.minutes
    settings = task.settings.replace(minutes=None if minutes is None else minutes / (rounds + 1))
    return replace(task, folder=folder, settings=settings, fingerprint=digest.hexdigest(), on_progress=on_progress)


def _trained(task: Task, clock: Callable[[], float], algorithm: Algorithm) -> PairNetwork | None:
    """The network of one round, trained now or before; None where the training was stopped."""
    if trained_fingerprint(task.folder) != task.fingerprint:
        began = clock()
        fit = Trainer(task, lambda: clock() - began, algorithm)
        fit.resume()
        if not fit.run():
            return None
        save_model(task.folder, fit.averaged, task.card(fit.averaged.spec, fit.step), task.fingerprint)
        task.folder.resume_path.unlink(missing_ok=True)
        forget(task.folder.resume_path)
        task.folder.set_status("trained", step=fit.step, steps=task.settings.steps)
    return load_model(task.folder)[0].to(task.device)

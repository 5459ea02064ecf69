"""The loop that trains a network: batches of views, optimiser steps, running average, checkpoints."""

import copy
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from damage_ssl.errors import DamageSSLError, WorkspaceError
from damage_ssl.learning.algorithms import ALGORITHMS
from damage_ssl.learning.algorithms.base import (
    Algorithm,
    Beginning,
    DriftingShares,
    Finishing,
    InFloat32,
    LossTerms,
    TrainingBatch,
    UsesHeads,
    ViewName,
)
from damage_ssl.learning.algorithms.remedies import with_remedy
from damage_ssl.learning.algorithms.remedies.consistency import with_consistency
from damage_ssl.learning.algorithms.remedies.prior_correction import intercepts
from damage_ssl.learning.augmentation.ctaugment import true_probability
from damage_ssl.learning.device import to_device
from damage_ssl.learning.networks.efficientnet_lite0 import FrozenNormConv
from damage_ssl.learning.networks.encoders import is_cached
from damage_ssl.learning.networks.pair_network import PairNetwork
from damage_ssl.learning.tensor_files import (
    load_optimizer_tensors,
    optimizer_tensors,
    read_tensors,
    with_prefix,
    without_prefix,
    write_tensors,
)
from damage_ssl.learning.trainer.data import BalancedSampler, Task, TrainProgress, distinct, unlabelled_rows
from damage_ssl.learning.trainer.forward_pass import (
    StepLoss,
    TrainedNetwork,
    begin_step,
    current_world,
    passes_of,
)
from damage_ssl.learning.trainer.initialisation import starts_at_regression
from damage_ssl.learning.trainer.optimiser import Ema, make_optimizer, rate_factor, set_rate
from damage_ssl.learning.trainer.view_sources import CachedViews, PixelViews, ViewSource, settings_without_pixels

REPORT_STEPS = 5
CHECKPOINT_SECONDS = 30.0
VALIDATION_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the training after which the validation score is logged; nothing is chosen by it."""

VALIDATION_PAIRS = 512

STREAMS = ("start", "batch", "views", "loss")
"""Streams of random numbers, one generator each, so that one drawing more does not change the others."""


class Trainer:
    """A training in memory: all that changes from step to step.

    `algorithm` is one that needs more than its options; None takes the one that the settings name.
    """

    def __init__(self, task: Task, clock: Callable[[], float], algorithm: Algorithm | None = None) -> None:
        self.task = task
        self.step = 0
        self._clock = clock
        self._seconds_before = 0.0
        self._validations = 0
        self._validation_score: float | None = None
        self._unreported: list[Tensor] = []
        where = f"{task.folder.name}: training"
        cached = is_cached(task.settings.network)
        own = settings_without_pixels(task.settings, where) if cached else task.options.algorithm
        plain = algorithm or ALGORITHMS[task.settings.algorithm].make(own)
        self._algorithm = with_remedy(
            with_consistency(plain, task.options.consistency),
            task.options.imbalance,
            class_counts=np.bincount(task.rows.train_class, minlength=len(task.scheme)).tolist(),
            channels=task.pixels.shape[1],
            size_px=task.pixels.shape[-1],
        )
        self._source: ViewSource = (
            CachedViews(task) if cached else PixelViews(task, getattr(plain, "strong_policy", "random"))
        )
        # a remedy for unequal classes has its own idea of their shares
        self._drifting = isinstance(plain, DriftingShares) and task.options.imbalance.imbalance == "none"
        precision = "float32" if isinstance(plain, InFloat32) else task.options.fit.precision
        self._unlabelled_rows = unlabelled_rows(task)
        self._sampler = BalancedSampler(task.rows.train_row, task.rows.train_class)
        self._generators = {
            name: torch.Generator().manual_seed(task.settings.seed * len(STREAMS) + index)
            for index, name in enumerate(STREAMS)
        }
        self.student = self._source.start(self._generators["start"])
        if not task.options.fit.train_norm:
            _freeze_norms(self.student)
        self._add_heads(self._generators["start"])
        self._world = current_world()
        self._loss = StepLoss(self.student, self._terms).in_world(self._world)
        self._optimizer = make_optimizer(self.student, task.settings, task.options.fit)
        self._ema = Ema(self.student, task.settings.ema_decay)
        self._start = {name: tensor.clone() for name, tensor in self.student.state_dict().items()}
        passes = passes_of(task.options.fit, task.device, where)
        self._student_logits = TrainedNetwork(self.student, task.device, precision, gradient=True, passes=passes)
        self._ema_logits = TrainedNetwork(self._ema.network, task.device, precision, gradient=False, passes=passes)

    @property
    def averaged(self) -> PairNetwork:
        """The network with the averaged weights; after `run` they are blended with the start, and are what it keeps."""
        return self._source.kept(self._ema.network)

    def probabilities(self) -> NDArray[np.float64]:
        """What the averaged network says of every pair of the task: [N, C]."""
        return self._source.predict(self._ema.network, np.arange(len(self.task.pixels)))

    def run(self) -> bool:
        """Train to the end; False if stopped before, with a checkpoint to resume from.

        Raises:
            DamageSSLError: the loss is not a finite number any more.
        """
        saved = time.monotonic()
        while (share := self._world.agreed(self._share())) < 1.0:
            self._validate(share)
            if self._world.agreed(self.task.should_stop()):
                self.save()
                return False
            self._unreported.append(self._one_step(share))
            self.step += 1
            if self.step % REPORT_STEPS == 0:
                self._report()
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                self.save()
                saved = time.monotonic()
        self._blend_with_start()
        self._match_class_shares()
        self._validate(1.0)
        self._finish(self._ema.network)
        self._report()
        return True

    def _add_heads(self, generator: torch.Generator) -> None:
        """Give the student the auxiliary heads that the algorithm needs."""
        if isinstance(self._algorithm, UsesHeads):
            for name, outputs in self._algorithm.heads(len(self.task.scheme)).items():
                self.student.add_head(name, outputs, generator)
        if isinstance(self._algorithm, Beginning):
            self._algorithm.begin(self.student)

    def _finish(self, network: PairNetwork) -> PairNetwork:
        """Make the network predict alone as the algorithm does."""
        if isinstance(self._algorithm, Finishing):
            self._algorithm.finish(network)
        network.auxiliary.clear()
        return network

    @torch.no_grad()
    def _blend_with_start(self) -> None:
        """Put the starting weights' share into the averaged ones, where the start was a classifier of its own."""
        if not starts_at_regression(self.student, self.task.options.fit):
            return
        weight = self.task.options.fit.start_weight
        for name, tensor in self._ema.network.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(self._start[name], weight)

    @torch.no_grad()
    def _match_class_shares(self) -> None:
        """Set the head's intercepts by the labelled pairs, where the algorithm lets class shares drift."""
        network, rows = self._ema.network, self.task.rows
        if not self._drifting or not isinstance(network.head, nn.Linear):
            return
        found = intercepts(self._source.predict(network, rows.train_row), rows.train_class)
        network.head.bias.add_(torch.from_numpy(found).to(network.head.bias))

    def _share(self) -> float:
        """Share of the training done, by steps or by time, whichever is further."""
        by_steps = self.step / self.task.settings.steps
        minutes = self.task.settings.minutes
        return by_steps if minutes is None else max(by_steps, self._seconds() / (60 * minutes))

    def _seconds(self) -> float:
        return self._seconds_before + self._clock()

    def _one_step(self, share: float) -> Tensor:
        """One step of the source's number of updates; returns loss, supervised, unlabelled and mask rate [4]."""
        set_rate(self._optimizer, rate_factor(share, self.task.options.fit.warm_up))
        updates = [self._one_update(share) for _ in range(self._source.updates)]
        self._ema.update(self.student, self.step)
        for labelled, target, _ in updates:
            self._learn_strengths(labelled, target)
        terms = [terms for _, _, terms in updates]
        return terms[0] if len(terms) == 1 else torch.stack(terms).mean(dim=0)

    def _one_update(self, share: float) -> tuple[Tensor, Tensor, Tensor]:
        """One update of the student: the labelled pairs, their classes, the loss and its parts [4] on the device."""
        options = self.task.options.fit
        begin_step(self.task.device)
        labelled, target = self._labelled()
        loss, parts = self._loss(self._batch(labelled, target), share)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if options.gradient_clip > 0:
            torch.nn.utils.clip_grad_norm_(self.student.parameters(), options.gradient_clip)
        self._optimizer.step()
        return labelled, target, parts

    def _terms(self, batch: TrainingBatch, share: float) -> LossTerms:
        generator = self._generators["loss"]
        return self._algorithm.loss(self._student_logits, self._ema_logits, batch, progress=share, generator=generator)

    def _labelled(self) -> tuple[Tensor, Tensor]:
        rows, classes = self._sampler.draw(self.task.settings.batch_labelled, self._generators["batch"])
        return self._source.take(rows), to_device(classes, self.task.device)

    def _learn_strengths(self, labelled: Tensor, target: Tensor) -> None:
        """Where strong views have learned strengths: try some on the labelled pairs, with the averaged network."""
        if self._source.policy is None:
            return
        views, probe = self._source.probe(labelled, self._generators["views"])
        p = self._ema_logits(views).float().softmax(dim=-1)  # [B, C]
        self._source.policy.update(probe, true_probability(p, target))

    def _batch(self, labelled: Tensor, target: Tensor) -> TrainingBatch:
        settings, generator = self.task.settings, self._generators["batch"]
        views: dict[ViewName, Tensor] = {name: self._view(name, labelled) for name in self._algorithm.labelled_views}
        unlabelled: tuple[Tensor, ...] = ()
        index: Tensor | None = None
        if self._algorithm.unlabelled_views:
            pool = self._unlabelled_rows
            some = distinct(len(pool), settings.batch_labelled * settings.unlabelled_ratio, generator)
            pairs = self._source.take(pool[some])
            index = to_device(some, self.task.device)
            unlabelled = tuple(self._view(name, pairs) for name in self._algorithm.unlabelled_views)
        return TrainingBatch(
            target=target,
            labelled_weak=views.get("weak"),
            labelled_strong=views.get("strong"),
            unlabelled=unlabelled,
            unlabelled_index=index,
            unlabelled_total=len(self._unlabelled_rows),
        )

    def _view(self, name: ViewName, taken: Tensor) -> Tensor:
        return self._source.view(name, taken, self._generators["views"])

    def _validate(self, share: float) -> None:
        if self._validations >= len(VALIDATION_SHARES) or share < VALIDATION_SHARES[self._validations]:
            return
        self._validations = sum(share >= each for each in VALIDATION_SHARES)
        finishing = isinstance(self._algorithm, Finishing)
        kept = self._finish(copy.deepcopy(self._ema.network)) if finishing else self._ema.network
        self._validation_score = score(self.task, lambda rows: self._source.predict(kept, rows))
        if self._validation_score is not None:
            self.task.folder.log_metrics({"step": self.step, "validation_auroc": self._validation_score})

    def _report(self) -> None:
        if not self._unreported:
            return
        loss, supervised, unlabelled, mask_rate = torch.stack(self._unreported).mean(dim=0).tolist()
        self._unreported.clear()
        where = f"{self.task.folder.name}: step {self.step}"
        if not np.isfinite(loss):
            raise DamageSSLError(
                f"{where}: the loss is not a finite number any more; train again with smaller learning rates "
                "(learning_rate_encoder, learning_rate_head) or the option gradient_clip 1"
            )
        steps, seconds = self.task.settings.steps, self._seconds()
        self.task.folder.log_metrics(
            {
                "step": self.step,
                "loss": loss,
                "supervised": supervised,
                "unlabelled": unlabelled,
                "mask_rate": mask_rate,
                "learning_rate": self._optimizer.param_groups[0]["lr"],
                "seconds": round(seconds, 2),
            }
        )
        self.task.folder.set_status("running", step=self.step, steps=steps)
        share = max(self._share(), 1e-6)
        self.task.on_progress(
            TrainProgress(
                step=self.step,
                steps=steps,
                loss=loss,
                mask_rate=mask_rate,
                validation_score=self._validation_score,
                seconds_left=max(seconds / share - seconds, 0.0),
            )
        )

    def save(self) -> None:
        """Write everything that a resumed training needs, unless the last steps went wrong."""
        self._report()
        tensors = {
            **with_prefix("student", self.student.state_dict()),
            **with_prefix("average", self._ema.network.state_dict()),
            **with_prefix("optimizer", optimizer_tensors(self._optimizer)),
            **with_prefix("algorithm", self._algorithm.state_dict()),
            **with_prefix("generator", {name: each.get_state() for name, each in self._generators.items()}),
        }
        if self._source.policy is not None:
            tensors |= with_prefix("policy", self._source.policy.state_dict())
        facts = {
            "fingerprint": self.task.fingerprint,
            "step": self.step,
            "seconds": self._seconds(),
            "validations": self._validations,
            "validation_score": self._validation_score,
        }
        write_tensors(self.task.folder.resume_path, tensors, facts)

    def resume(self) -> None:
        """Go on from the run's checkpoint, if it has one.

        Raises:
            WorkspaceError: the checkpoint is of other settings, labels or patches, or damaged.
        """
        path = self.task.folder.resume_path
        if not path.exists():
            return
        tensors, facts = read_tensors(path)
        if facts.get("fingerprint") != self.task.fingerprint:
            raise WorkspaceError(
                f"{path}: belongs to a training with other settings, labels or patches; start a new run, or "
                "delete the file to begin this one anew"
            )
        self.student.load_state_dict(without_prefix("student", tensors))
        self._ema.network.load_state_dict(without_prefix("average", tensors))
        load_optimizer_tensors(self._optimizer, without_prefix("optimizer", tensors))
        self._algorithm.load_state_dict(without_prefix("algorithm", tensors))
        if self._source.policy is not None:
            self._source.policy.load_state_dict(without_prefix("policy", tensors))
        for name, state in without_prefix("generator", tensors).items():
            self._generators[name].set_state(state)
        self.step = facts["step"]
        self._seconds_before = facts["seconds"]
        self._validations = facts["validations"]
        self._validation_score = facts["validation_score"]


def score(task: Task, predict: Callable[[NDArray[np.intp]], NDArray[np.float64]]) -> float | None:
    """AUROC of P(damaged) on at most `VALIDATION_PAIRS` validation buildings; None where they are of one kind.

    `predict` gives the probabilities [n, C] of the pairs at these rows.
    """
    damaged = task.rows.validation_class[:VALIDATION_PAIRS] >= task.scheme.damaged_from
    if not damaged.any() or damaged.all():
        return None
    p = predict(task.rows.validation_row[:VALIDATION_PAIRS])
    return float(roc_auc_score(damaged, p[:, task.scheme.damaged_from :].sum(axis=1)))


def validation_score(network: PairNetwork, task: Task) -> float | None:
    """`score` of a network that sees pixels, on the pairs as they are."""
    return score(task, lambda rows: PixelViews(task, "random").predict(network, rows))


def _freeze_norms(network: PairNetwork) -> None:
    for module in network.modules():
        if isinstance(module, FrozenNormConv):
            module.gain.requires_grad_(False)
            module.shift.requires_grad_(False)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.requires_grad_(False)

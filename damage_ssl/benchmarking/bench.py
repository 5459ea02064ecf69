"""Doing a benchmark's cells, one after the other: each result is a file, written at once and never half."""

import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from damage_ssl.benchmarking.background_pairs import Windows
from damage_ssl.benchmarking.division import Division, Material, draw, joined
from damage_ssl.benchmarking.frozen_scores import FrozenScores, leaves_encoder
from damage_ssl.benchmarking.plan import Cell, Plan
from damage_ssl.benchmarking.random_search import Value, settings_of, trial_values
from damage_ssl.benchmarking.statistics import auroc
from damage_ssl.errors import DamageSSLError, StorageError
from damage_ssl.files import read_json, write_json
from damage_ssl.learning.predictor import load_predictor
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.trainer.data import Targets
from damage_ssl.learning.training import train
from damage_ssl.patches.pairs import PairSet
from damage_ssl.runs.run import Run

P = NDArray[np.float64]
_FROZEN_SCORES = FrozenScores()


class StoppedError(Exception):
    """A training was stopped before its end: its cell is left to be done."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a trainer gets: nothing of the held-out blocks but, in a fit, the pixels of `scored`, which it predicts
    when it is trained. `cache` is where trainings on cached features share them (None: nowhere)."""

    pairs: PairSet
    targets: Targets
    settings: TrainSettings
    scored: PairSet
    damaged_from: int
    should_stop: Callable[[], bool]
    cache: Path | None = None


CellTrainer = Callable[[Training], P]
"""Trains, and returns P(damaged) of `scored` [n]. Raises `StoppedError` where it was told to stop."""


@dataclass(frozen=True, kw_only=True)
class BenchProgress:
    """How far a benchmark is: cells done of `total`, and what comes next (None at the end)."""

    done: int
    total: int
    next_cell: Cell | None
    seconds_left: float | None


def train_and_predict(training: Training) -> P:
    """The trainer of real benchmarks: a run in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="damage-ssl-benchmark-") as folder:
        run = Run(Path(folder))
        train(
            training.pairs,
            training.targets,
            training.settings,
            run,
            should_stop=training.should_stop,
            cache=training.cache,
        )
        if run.status().state == "cancelled":
            raise StoppedError
        predictor = load_predictor(run, training.settings.device)
        if leaves_encoder(training.settings):
            p = _FROZEN_SCORES.predict(predictor, training.scored)
        else:
            p = predictor.predict(training.scored)
    return np.asarray(p[:, training.damaged_from :].sum(axis=1), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A plan with what it is done on. Cells lie in `folder`, one JSON file each."""

    plan: Plan
    material: Material
    division: Division
    foreign: Windows | None
    folder: Path
    trainer: CellTrainer = train_and_predict
    _read: dict[Path, dict[str, Any]] = field(default_factory=dict, repr=False)

    def path_of(self, cell: Cell) -> Path:
        """The file of a cell's result."""
        return self.folder / f"{cell.key(self.plan.fingerprint)}.json"

    def result(self, cell: Cell) -> dict[str, Any] | None:
        """What is known of a cell; None where it was not done, or was done with settings that are not chosen now (a
        trial: not drawn)."""
        path = self.path_of(cell)
        if path not in self._read:
            if not path.exists():
                return None
            self._read[path] = read_json(path)
        found = self._read[path]
        if cell.kind == "trial":
            return found if found["values"] == self._tried(cell) else None
        if (chosen := self.chosen(cell.method)) is not None and found["values"] != chosen:
            return None
        return found

    def chosen(self, method: str) -> dict[str, Value] | None:
        """The settings with the best validation score of all the method's trials, the earliest of equals.

        None while trials are missing, or where all failed.
        """
        trials = [(cell, self.result(cell)) for cell in self.plan.trials if cell.method == method]
        if any(found is None for _, found in trials):
            return None
        good = [found for _, found in trials if found is not None and found["state"] == "done"]
        if not good:
            return None
        values: dict[str, Value] = max(good, key=lambda found: found["validation_auroc"])["values"]
        return values

    def missing(self, *, retry_failed: bool = False) -> list[Cell]:
        """The cells that are still to be done."""
        found = [(cell, self.result(cell)) for cell in self.plan.cells]
        return [cell for cell, each in found if each is None or (retry_failed and each["state"] == "failed")]

    def seconds_for(self, cells: Sequence[Cell]) -> float | None:
        """Estimated time: a method's cells take what those done of it took, an unknown one's the mean of the known.

        None where nothing was measured yet.
        """
        taken: dict[str, list[float]] = {}
        for cell in self.plan.cells:
            found = self.result(cell)
            if found is not None and found["state"] == "done":
                taken.setdefault(cell.method, []).append(found["seconds"])
        if not taken:
            return None
        means = {method: mean(seconds) for method, seconds in taken.items()}
        usual = mean(means.values())
        return sum(means.get(cell.method, usual) for cell in cells)

    def run(
        self,
        *,
        minutes: float | None = None,
        retry_failed: bool = False,
        on_progress: Callable[[BenchProgress], None] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> bool:
        """Do what is missing; False where time ran out or it was stopped. What was done is kept either way.

        A cell that fails is recorded with its error, and the others go on. One that time cuts short is not recorded.

        Raises:
            StorageError: a result cannot be written.
        """
        began = clock()

        def over() -> bool:
            return should_stop() or (minutes is not None and clock() - began >= 60 * minutes)

        todo = self.missing(retry_failed=retry_failed)
        total = len(self.plan.cells)
        for number, cell in enumerate(todo):
            done = total - len(todo) + number
            on_progress(
                BenchProgress(done=done, total=total, next_cell=cell, seconds_left=self.seconds_for(todo[number:]))
            )
            if over():
                return False
            try:
                self._do(cell, over)
            except StoppedError:
                return False
        on_progress(BenchProgress(done=total, total=total, next_cell=None, seconds_left=0.0))
        return True

    def _do(self, cell: Cell, over: Callable[[], bool]) -> None:
        began = time.monotonic()
        values: dict[str, Value] = {}
        try:
            values = self._values(cell)
            outcome = self._measure(cell, values, over) | {"state": "done"}
        except (StoppedError, KeyboardInterrupt, StorageError):
            raise
        except Exception as error:  # whatever a method does, the others go on
            outcome = {"state": "failed", "error": f"{type(error).__name__}: {error}"}
        seconds = round(time.monotonic() - began, 2)
        result = {**asdict(cell), "values": values, **outcome, "seconds": seconds}
        write_json(self.path_of(cell), result)
        self._read[self.path_of(cell)] = result

    def _tried(self, cell: Cell) -> dict[str, Value]:
        return trial_values(cell.method, self.plan.settings.train.network, cell.trial or 0)

    def _values(self, cell: Cell) -> dict[str, Value]:
        if cell.kind == "trial":
            return self._tried(cell)
        chosen = self.chosen(cell.method)
        if chosen is None:
            raise DamageSSLError(f"{cell.method}: none of its {self.plan.settings.trials} trials ended with a score")
        return chosen

    def _measure(self, cell: Cell, values: dict[str, Value], over: Callable[[], bool]) -> dict[str, Any]:
        material, division = self.material, self.division
        settings = settings_of(self.plan.settings.train, cell.method, cell.seed, values)
        drawn = draw(
            material,
            division,
            labels=cell.labels,
            seed=cell.seed,
            damaged_share=cell.damaged_share,
            unlabelled_share=cell.unlabelled_share,
            unlabelled_count=None
            if cell.unlabelled_count is None
            else cell.unlabelled_count - (cell.foreign_count or 0),
        )
        # in one order whatever the seed, so that trainings on the same buildings share cached features
        pairs = material.pairs.take(np.sort(np.concatenate([drawn.labelled, drawn.unlabelled])))
        if cell.foreign_count and self.foreign is not None:
            rng = np.random.default_rng([cell.seed, 2])
            pairs = joined(
                pairs, self.foreign.pairs.take(np.sort(rng.permutation(len(self.foreign))[: cell.foreign_count]))
            )
        scored = division.validation
        if cell.kind == "fit":
            scored = np.concatenate([division.validation, division.test])
        whole = len(division.pool) - len(drawn.labelled)  # nearly all trainings are on the whole pool: it stays cached
        ids = material.pairs.building_id
        targets = Targets(
            train_id=ids[drawn.labelled],
            train_class=material.class_index[drawn.labelled],
            validation_id=ids[:0],
            validation_class=material.class_index[:0],
        )
        p = self.trainer(
            Training(
                pairs=pairs,
                targets=targets,
                settings=settings,
                scored=material.pairs.take(scored),
                damaged_from=material.scheme.damaged_from,
                should_stop=over,
                cache=self.folder.parent / "views" / ("pool" if len(drawn.unlabelled) == whole else "parts"),
            )
        )
        if not np.isfinite(p).all():
            raise DamageSSLError(f"{cell.method}: predicted probabilities that are no numbers")
        n = len(division.validation)
        facts: dict[str, Any] = {
            "settings": settings.model_dump(),
            "labelled": len(drawn.labelled),
            "unlabelled": len(pairs) - len(drawn.labelled),
            "foreign": cell.foreign_count or 0,
            "validation_auroc": auroc(p[:n], material.damaged[division.validation]),
        }
        if cell.kind == "fit":
            facts |= {
                "auroc": auroc(p[n:], material.damaged[division.test]),
                "validation_p": np.round(p[:n], 6).tolist(),
                "test_p": np.round(p[n:], 6).tolist(),
            }
        return facts


def bench_fingerprint(material: Material, division: Division, foreign: Windows | None) -> str:
    """Of all that the cells are done on."""
    digest = hashlib.blake2b(material.fingerprint.encode(), digest_size=16)
    for rows in (division.test, division.validation, division.pool):
        digest.update(rows.astype(np.int64).tobytes() + b"|")
    if foreign is not None:
        digest.update("\n".join(foreign.pairs.building_id.tolist()).encode())
        digest.update(np.ascontiguousarray(foreign.where).tobytes())
    return digest.hexdigest()

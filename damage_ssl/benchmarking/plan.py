"""Which trainings a benchmark consists of: cells, shared by the experiments that need the same one."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from damage_ssl.benchmarking.settings import BenchmarkSettings

TUNING_SEED = 0
"""Labels and network of the trials: those of this seed, whichever seeds are measured."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training. A `trial` is scored on the validation blocks only, a `fit` on validation and held-out blocks.

    `foreign_count` of `unlabelled_count` unlabelled pairs are no buildings of the event (both None: all that are left
    of the pool, times `unlabelled_share`).
    """

    kind: Literal["trial", "fit"]
    method: str
    labels: int
    seed: int
    trial: int | None = None
    unlabelled_share: float = 1.0
    unlabelled_count: int | None = None
    foreign_count: int | None = None
    damaged_share: float | None = None

    def key(self, fingerprint: str) -> str:
        """The name of the cell's file: changes with anything that its result depends on."""
        text = json.dumps({**asdict(self), "of": fingerprint}, sort_keys=True)
        return f"{self.kind}-{self.method}-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One place on an experiment's axis: a method at a value, with one cell a seed."""

    method: str
    value: float
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All cells, in the order in which they are done, and the points of each experiment.

    `skipped` says why an experiment that was asked for cannot be made. `fingerprint` is of everything that results
    depend on beside the cell itself.
    """

    settings: BenchmarkSettings
    trials: tuple[Cell, ...]
    fits: tuple[Cell, ...]
    points: dict[str, tuple[Point, ...]]
    skipped: dict[str, str]
    fingerprint: str

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Trials, then fits."""
        return (*self.trials, *self.fits)


_Change = Callable[[float, Cell], Cell]
"""Makes the cell of a value on an experiment's axis from the one that all experiments share."""


def make_plan(settings: BenchmarkSettings, *, fingerprint: str, pool: int, classes: int, foreign: int) -> Plan:
    """Lay out the cells.

    Args:
        settings: what is asked for.
        fingerprint: of the event's pairs, grades and division.
        pool: buildings that may be trained on, labelled or not.
        classes: of the scheme.
        foreign: pairs there are that are no buildings of the event.
    """
    k = settings.middle_labels
    trials = tuple(
        Cell(kind="trial", method=method, labels=k, seed=TUNING_SEED, trial=trial)
        for trial in range(settings.trials)
        for method in settings.methods
    )
    points: dict[str, tuple[Point, ...]] = {}
    skipped: dict[str, str] = {}
    for name in settings.experiments:
        if name == "labels":
            points[name] = _points(settings, sorted(set(settings.labels)), _labels)
        elif name == "unlabelled":
            points[name] = _points(settings, settings.unlabelled_shares, _unlabelled)
        elif name == "imbalance":
            shares = sorted(set(settings.damaged_shares), reverse=True)
            points[name] = _points(settings, shares, _damaged(classes))
        elif name == "validation":
            points[name] = _points(settings, [k], _labels)
        elif foreign == 0:
            skipped[name] = "there is no foreign pair: no window between the footprints is free of buildings"
        else:
            most = max(settings.foreign_shares)
            left = pool - k * classes
            count = left if most == 0 else min(left, int(foreign / most))
            points[name] = _points(settings, settings.foreign_shares, _foreign(count, left))
    fits = dict.fromkeys(cell for several in points.values() for point in several for cell in point.cells)
    # those with pairs of their own come last: on cached features each of them has these made
    order = sorted(fits, key=lambda cell: (cell.unlabelled_count is not None, settings.seeds.index(cell.seed)))
    values = {
        "event": fingerprint,
        "train": {k: v for k, v in settings.train.model_dump().items() if k not in ("device", "algorithm", "seed")},
        "options_of": settings.train.algorithm if settings.train.given else "",
        "trials": settings.trials,
        "tuned_at": k,
        "foreign": settings.foreign,
    }
    digest = hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).hexdigest()
    return Plan(settings=settings, trials=trials, fits=tuple(order), points=points, skipped=skipped, fingerprint=digest)


def _points(settings: BenchmarkSettings, values: Sequence[float], change: _Change) -> tuple[Point, ...]:
    k = settings.middle_labels
    return tuple(
        Point(
            method=method,
            value=float(value),
            cells=tuple(
                change(float(value), Cell(kind="fit", method=method, labels=k, seed=seed))
                for seed in dict.fromkeys(settings.seeds)
            ),
        )
        for value in dict.fromkeys(values)
        for method in settings.methods
    )


def _labels(value: float, cell: Cell) -> Cell:
    return replace(cell, labels=int(value))


def _unlabelled(value: float, cell: Cell) -> Cell:
    return replace(cell, unlabelled_share=value)


def _damaged(classes: int) -> _Change:
    """Half of two classes is what other experiments draw too."""
    return lambda value, cell: cell if value == 0.5 and classes == 2 else replace(cell, damaged_share=value)


def _foreign(count: int, left: int) -> _Change:
    def change(value: float, cell: Cell) -> Cell:
        if value == 0 and count == left:
            return cell
        return replace(cell, unlabelled_count=count, foreign_count=round(value * count))

    return change

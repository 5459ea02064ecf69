"""Benchmark.

`damage-ssl benchmark`: the command and its options.

What `damage-ssl benchmark` does.
"""

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from damage_ssl import workflow
from damage_ssl.benchmarking.bench import Bench, BenchProgress, CellTrainer, train_and_predict
from damage_ssl.benchmarking.findings import sentences
from damage_ssl.benchmarking.plan import Cell
from damage_ssl.benchmarking.preparation import prepare
from damage_ssl.benchmarking.report import write_report
from damage_ssl.benchmarking.settings import BenchmarkSettings
from damage_ssl.cli.console import Console, stop_requested
from damage_ssl.cli.options import WORKSPACE, EventName, Json, Workspace, train_settings
from damage_ssl.errors import SettingsError
from damage_ssl.events.event import Event
from damage_ssl.learning.training import algorithm_names


def benchmark_command(
    event: EventName,
    truth: Annotated[Path, typer.Option(metavar="FILE", help="CSV with building_id,grade of all that is known.")],
    experiments: Annotated[
        str, typer.Option(metavar="A,B", help="Of labels, unlabelled, mismatch, imbalance, validation.")
    ] = "labels,unlabelled,mismatch,imbalance,validation",
    methods: Annotated[str | None, typer.Option(metavar="A,B", help="Algorithms (default: all).")] = None,
    labels: Annotated[
        str, typer.Option(metavar="N,N", help="Labels a class; tuning takes the middle one.")
    ] = "5,25,100",
    seeds: Annotated[str, typer.Option(metavar="N,N", help="Three at least.")] = "0,1,2",
    trials: Annotated[int, typer.Option(min=1, help="Settings tried for each method, the first its defaults.")] = 4,
    mismatch_event: Annotated[
        str | None,
        typer.Option(metavar="EVENT", help="Take foreign pairs from this event, not from between buildings."),
    ] = None,
    scheme: Annotated[str | None, typer.Option(help="binary-major, binary-minor or grades.")] = None,
    network: Annotated[str | None, typer.Option(help="The network that is trained, as in `damage-ssl train`.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.")] = None,
    settings: Annotated[
        Path | None, typer.Option("--settings", metavar="TOML", help="Settings file; [train] holds for all methods.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.05, help="Stop after this time; the same command goes on.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say how many trainings there are and how long.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Do failed trainings again.")] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Processor threads of the one training at a time (default: torch's).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The report (default: in the event's benchmark folder).")
    ] = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Compare learning methods on an event with known grades: labels, unlabelled data, mismatch, imbalance, tuning."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.benchmarking.settings import WINDOWS

        benchmark(
            console,
            workspace,
            event,
            truth,
            Asked(
                experiments=experiments,
                methods=methods,
                labels=labels,
                seeds=seeds,
                trials=trials,
                foreign=mismatch_event or WINDOWS,
                settings_file=settings,
                train={"scheme": scheme, "network": network, "steps": steps},
            ),
            minutes=minutes,
            plan_only=plan,
            retry_failed=retry_failed,
            threads=threads,
            out=out,
        )


T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line gave; lists as text with commas."""

    experiments: str
    methods: str | None
    labels: str
    seeds: str
    trials: int
    foreign: str
    settings_file: Path | None
    train: Mapping[str, Any]

    def settings(self) -> BenchmarkSettings:
        """Read the lists.

        Raises:
            SettingsError: one holds something else than it should.
        """
        return BenchmarkSettings(
            methods=algorithm_names() if self.methods is None else _list("--methods", self.methods, str),
            experiments=_list("--experiments", self.experiments, str),
            labels=_list("--labels", self.labels, int),
            seeds=_list("--seeds", self.seeds, int),
            trials=self.trials,
            foreign=self.foreign,
            train=train_settings(self.settings_file, self.train),
        )


def benchmark(
    console: Console,
    workspace: Path,
    name: str,
    truth: Path,
    asked: Asked,
    *,
    minutes: float | None = None,
    plan_only: bool = False,
    retry_failed: bool = False,
    threads: int | None = None,
    out: Path | None = None,
    trainer: CellTrainer = train_and_predict,
) -> None:
    """Say what is planned, do what is missing, write the report."""
    import torch

    settings = asked.settings()
    event = Event.open(workspace, name)
    workflow.cut_patches(event)
    folder = event.path / "benchmark"
    bench = prepare(event, truth, settings, folder / "cells", trainer)
    for line in plan_lines(bench, retry_failed=retry_failed):
        console.say(line)
    if plan_only:
        console.result(_values(bench, None))
        return
    if threads is not None:
        torch.set_num_threads(threads)
    with console.progress("benchmark") as bar, stop_requested() as should_stop:
        finished = bench.run(
            minutes=minutes,
            retry_failed=retry_failed,
            on_progress=lambda p: bar(p.done, p.total, _remark(p)),
            should_stop=should_stop,
        )
    report = out or folder / "report.html"
    findings = write_report(bench, report, event=name, command="damage-ssl " + shlex.join(sys.argv[1:]))
    for sentence in sentences(bench, findings):
        console.say(sentence)
    if not finished:
        console.say(f"{len(bench.missing())} trainings are still to be done; run the same command again to go on")
    console.say(f"report: {report}")
    console.result(_values(bench, report))
    if not finished and should_stop():
        raise KeyboardInterrupt


def plan_lines(bench: Bench, *, retry_failed: bool = False) -> list[str]:
    """The plan in words: how many trainings of what kind, how many are done, and the time for the rest."""
    plan, division = bench.plan, bench.division
    todo = bench.missing(retry_failed=retry_failed)
    lines = [
        f"{len(plan.settings.methods)} methods, {len(plan.trials)} trials to tune them with "
        f"({plan.settings.trials} each), {len(plan.fits)} trainings to measure: {len(plan.cells)} in all, "
        f"{len(plan.cells) - len(todo)} done before",
        f"held out: {len(division.test):,} buildings; validation: {len(division.validation):,}; to train on: "
        f"{len(division.pool):,} (blocks of {division.block_m:g} m)",
    ]
    lines += [f"{name}: {len({c for p in points for c in p.cells})} trainings" for name, points in plan.points.items()]
    lines += [f"{name}: left out, {why}" for name, why in plan.skipped.items()]
    seconds = bench.seconds_for(todo)
    lines.append("time: not known before the first trainings" if seconds is None else f"time: about {_time(seconds)}")
    return lines


def _values(bench: Bench, report: Path | None) -> dict[str, Any]:
    found = [bench.result(cell) for cell in bench.plan.cells]
    return {
        "trials": len(bench.plan.trials),
        "fits": len(bench.plan.fits),
        "missing": len(bench.missing()),
        "failed": sum(each is not None and each["state"] == "failed" for each in found),
        "skipped": bench.plan.skipped,
        "seconds_left": bench.seconds_for(bench.missing()),
        "report": None if report is None else str(report),
    }


def _remark(progress: BenchProgress) -> str:
    if progress.next_cell is None:
        return ""
    left = "" if progress.seconds_left is None else f", about {_time(progress.seconds_left)} left"
    return _named(progress.next_cell) + left


def _named(cell: Cell) -> str:
    what = f"trial {cell.trial}" if cell.kind == "trial" else f"seed {cell.seed}"
    return f"{cell.method}, {cell.labels} labels a class, {what}"


def _time(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )


def _list(flag: str, text: str, kind: Callable[[str], T]) -> tuple[T, ...]:
    try:
        return tuple(dict.fromkeys(kind(part.strip()) for part in text.split(",") if part.strip()))
    except ValueError:
        raise SettingsError(f"{flag}: '{text}' is not a list of whole numbers with commas, e.g. 5,25,100") from None

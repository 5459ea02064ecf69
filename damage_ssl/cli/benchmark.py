"""`damage-ssl benchmark`: learning methods compared on an event whose grades are known."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
import typer

from damage_ssl import workflow
from damage_ssl.benchmarking.bench import Bench, BenchProgress, train_and_predict
from damage_ssl.benchmarking.findings import sentences
from damage_ssl.benchmarking.plan import Cell
from damage_ssl.benchmarking.preparation import prepare
from damage_ssl.benchmarking.report import write_report
from damage_ssl.benchmarking.settings import WINDOWS, BenchmarkSettings
from damage_ssl.cli.console import Bar, command, stop_requested
from damage_ssl.cli.options import WORKSPACE, EventName, Json, Workspace, train_settings
from damage_ssl.errors import SettingsError
from damage_ssl.events.event import Event
from damage_ssl.learning.training import algorithm_names


def benchmark(
    event: EventName,
    truth: Annotated[Path, typer.Option(metavar="FILE", help="CSV with building_id,grade of all that is known.")],
    experiments: Annotated[
        str, typer.Option(metavar="A,B", help="Which of labels, unlabelled, mismatch, imbalance and validation.")
    ] = "labels,unlabelled,mismatch,imbalance,validation",
    methods: Annotated[str | None, typer.Option(metavar="A,B", help="Algorithms (default: all).")] = None,
    labels: Annotated[
        str, typer.Option(metavar="N,N", help="Numbers of labels a class; tuning takes the middle one.")
    ] = "5,25,100",
    seeds: Annotated[str, typer.Option(metavar="N,N", help="Seeds of each measurement, three at least.")] = "0,1,2",
    trials: Annotated[int, typer.Option(min=1, help="Settings tried for each method, the first its defaults.")] = 4,
    mismatch_event: Annotated[
        str | None,
        typer.Option(metavar="EVENT", help="Take foreign pairs from this event, not from between buildings."),
    ] = None,
    scheme: Annotated[
        str | None, typer.Option(help="The classes told apart: binary-major (default), binary-minor or grades.")
    ] = None,
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
    with command(json=json) as console:
        chosen = BenchmarkSettings(
            methods=algorithm_names() if methods is None else _list("--methods", methods, str),
            experiments=_list("--experiments", experiments, str),
            labels=_list("--labels", labels, int),
            seeds=_list("--seeds", seeds, int),
            trials=trials,
            foreign=mismatch_event or WINDOWS,
            train=train_settings(settings, {"scheme": scheme, "network": network, "steps": steps}),
        )
        opened = Event.open(workspace, event)
        workflow.cut_patches(opened)
        folder = opened.path / "benchmark"
        bench = prepare(opened, truth, chosen, folder / "cells", train_and_predict)
        for line in plan_lines(bench, retry_failed=retry_failed):
            console.say(line)
        if plan:
            console.result(_values(bench, None))
            return
        if threads is not None:
            torch.set_num_threads(threads)
        with console.progress("benchmark") as bar:
            finished, stopped = _run(bench, bar, minutes, retry_failed=retry_failed)
        report = out or folder / "report.html"
        findings = write_report(bench, report, event=event, command="damage-ssl " + shlex.join(sys.argv[1:]))
        for sentence in sentences(bench, findings):
            console.say(sentence)
        if not finished:
            console.say(f"{len(bench.missing())} trainings are still to be done; run the same command again to go on")
        console.say(f"report: {report}")
        console.result(_values(bench, report))
        if not finished and stopped:
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


def _run(bench: Bench, bar: Bar, minutes: float | None, *, retry_failed: bool) -> tuple[bool, bool]:
    """Do what is missing; whether all is done now, and whether somebody asked to stop."""
    with stop_requested() as should_stop:
        finished = bench.run(
            minutes=minutes,
            retry_failed=retry_failed,
            on_progress=lambda p: bar(p.done, p.total, _remark(p)),
            should_stop=should_stop,
        )
        return finished, should_stop()


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


T = TypeVar("T")


def _list(flag: str, text: str, kind: Callable[[str], T]) -> tuple[T, ...]:
    try:
        return tuple(dict.fromkeys(kind(part.strip()) for part in text.split(",") if part.strip()))
    except ValueError:
        raise SettingsError(f"{flag}: '{text}' is not a list of whole numbers with commas, e.g. 5,25,100") from None

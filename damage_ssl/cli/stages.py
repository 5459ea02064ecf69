"""What each command does: calls the pipeline, shows progress, says what happened and what comes next."""

import dataclasses
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from damage_ssl import pipeline
from damage_ssl.cli.console import Console
from damage_ssl.cli.footprints_report import date_remark, footprint_lines, footprint_values
from damage_ssl.cli.label_stages import import_labels
from damage_ssl.errors import DamageSSLError, InputError, SettingsError, WorkspaceError, nearest_name
from damage_ssl.event.catalog import Event, list_events
from damage_ssl.learning.runs import Run
from damage_ssl.patches.store import PatchStore
from damage_ssl.settings import (
    FootprintSettings,
    PatchSettings,
    Resources,
    SourceSettings,
    SplitSettings,
    TrainSettings,
    from_mapping,
    to_mapping,
)

if TYPE_CHECKING:
    from damage_ssl.learning.training import TrainProgress

_TABLES = {"patches": PatchSettings, "train": TrainSettings, "split": SplitSettings, "sources": SourceSettings}


@dataclass(frozen=True, kw_only=True)
class EventInputs:
    """What `init` and `assess` are given to describe an event."""

    pre: list[str]
    post: list[str]
    footprints: list[Path]
    aoi: Path | None = None
    hazard: str | None = None
    pre_datetime: str | None = None
    post_datetime: str | None = None
    from_xbd: Path | None = None
    footprint_settings: FootprintSettings = dataclasses.field(default_factory=FootprintSettings)


@dataclass(frozen=True, kw_only=True)
class AllSettings:
    """The settings of all stages: the file's values, overridden by what the command line gave."""

    patches: PatchSettings | None
    train: TrainSettings
    split: SplitSettings
    sources: SourceSettings


def init(
    console: Console,
    workspace: Path,
    name: str,
    inputs: EventInputs,
    *,
    from_catalog: str | None = None,
    overwrite: bool,
) -> Event:
    """Create the event and say what was found."""
    if from_catalog is not None:
        from damage_ssl.cli.catalog_stage import inputs_from_catalog

        inputs = inputs_from_catalog(console, workspace, from_catalog, inputs)
    if inputs.from_xbd is not None:
        event = Event.create_from_xbd(workspace, name, inputs.from_xbd, overwrite=overwrite)
    else:
        if not inputs.pre or not inputs.post:
            raise InputError("init: give --pre and --post (or --from-xbd with an xBD folder, or --from-catalog)")
        event = Event.create(
            workspace,
            name,
            pre=inputs.pre,
            post=inputs.post,
            footprints=inputs.footprints or None,
            aoi=inputs.aoi,
            hazard=inputs.hazard,
            pre_datetime=inputs.pre_datetime,
            post_datetime=inputs.post_datetime,
            footprint_settings=inputs.footprint_settings,
            overwrite=overwrite,
        )
    summary = pipeline.event_status(event)
    scenes = f"{summary.pre_scenes} pre and {summary.post_scenes} post scenes"
    console.say(f"event '{name}': {summary.footprints:,} footprints, {scenes}")
    for line in footprint_lines(event):
        console.say(line)
    if remark := date_remark(event):
        console.warn(remark)
    console.say(f"next: {summary.next_step}")
    console.result(dataclasses.asdict(summary) | footprint_values(event))
    return event


def patches(
    console: Console,
    workspace: Path,
    name: str,
    settings_file: Path | None,
    given: Mapping[str, Any],
    resources: Resources | None = None,
) -> PatchStore:
    """Cut the pairs and say how many buildings can be assessed, and why others cannot."""
    event = Event.open(workspace, name)
    settings = patch_settings(event, settings_file, given)
    store = _cut(console, event, settings, resources)
    summary = pipeline.event_status(event)
    console.say(
        f"{summary.assessable:,} of {summary.footprints:,} buildings can be assessed{_reasons(summary.not_assessed)}"
    )
    console.say(f"next: {summary.next_step}")
    console.result(dataclasses.asdict(summary))
    return store


def train(
    console: Console,
    workspace: Path,
    name: str,
    settings_file: Path | None,
    given: Mapping[str, Any],
    *,
    run_id: str | None = None,
    resume: str | None = None,
    sources: Sequence[str] = (),
    resources: Resources | None = None,
) -> Run:
    """Train, calibrate and predict; a run that was stopped goes on, a run that is done is not done again.

    `resume` names a run that goes on as it was planned, whatever was labelled since; then nothing else may be given.
    `sources` are other events of the workspace whose labels are learned from too.
    """
    event = Event.open(workspace, name)
    if resume is not None:
        if settings_file or run_id or sources or any(value is not None for value in given.values()):
            raise SettingsError("--resume: the run goes on with its own settings; leave the others out")
        planned = pipeline.resumed_run(event, resume)
    else:
        settings = _settings(event, settings_file, given)
        pipeline.named_sources(event, sources)  # a misspelt name is said before any work
        _cut(console, event, settings.patches, resources)
        planned = pipeline.start_run(
            event, settings.train, settings.split, run_id=run_id, sources=sources, source_settings=settings.sources
        )
    if planned.done:
        console.say(f"run {planned.run.run_id} was trained with the same labels, pixels and settings: nothing to do")
    else:
        with console.progress("train") as bar, stop_requested() as should_stop:
            pipeline.train_run(event, planned.run, lambda p: bar(p.step, p.steps, _remark(p)), should_stop)
        if planned.run.status().state == "cancelled":
            raise KeyboardInterrupt
        with console.progress("predict") as bar:
            pipeline.predict_event(event, planned.run, progress=bar, resources=resources)
    summary = pipeline.run_summary(planned.run)
    console.say(
        f"run {summary.run_id}: {summary.algorithm}, trained on {summary.trained_on}{_of_others(summary)} and "
        f"validated on {summary.validated_on} labelled buildings; damaged from p = {summary.threshold:.2f} "
        f"({summary.threshold_method})"
    )
    if summary.statement is not None:
        console.warn(summary.statement)
    console.say(f"next: damage-ssl export {name} --out map.geojson --workspace {workspace}")
    console.result(dataclasses.asdict(summary))
    return planned.run


def predict(
    console: Console, workspace: Path, name: str, *, run_id: str | None, resources: Resources | None = None
) -> None:
    """Predict every building again with one run."""
    event = Event.open(workspace, name)
    run = pipeline.chosen_run(event, run_id)
    with console.progress("predict") as bar:
        table = pipeline.predict_event(event, run, progress=bar, resources=resources)
    console.say(f"{len(table):,} buildings predicted with run {run.run_id}")
    console.result({"run_id": run.run_id, "predicted": len(table)})


def evaluate(console: Console, workspace: Path, name: str, truth: Path, *, run_id: str | None) -> None:
    """Measure a run on buildings that it has not seen."""
    event = Event.open(workspace, name)
    report = pipeline.evaluate_event(event, truth, run=pipeline.chosen_run(event, run_id))
    for line in report.lines():
        console.say(line)
    console.result(report.to_json())


def export(console: Console, workspace: Path, name: str, out: Path, *, run_id: str | None = None) -> None:
    """Write the map and say what is in it."""
    event = Event.open(workspace, name)
    summary = pipeline.export_event(event, out, run_id=run_id)
    console.say(summary.sentence)
    if summary.statement is not None:
        console.warn(summary.statement)
    console.say(f"written to {out}")
    console.result(dataclasses.asdict(summary))


def status(console: Console, workspace: Path, name: str | None) -> None:
    """Say where one event, or each, stands."""
    names = [name] if name is not None else list_events(workspace)
    if not names:
        console.say(f"no events in {workspace}; begin with damage-ssl init")
    summaries = [pipeline.event_status(Event.open(workspace, each)) for each in names]
    for summary in summaries:
        assessable = "not cut yet" if summary.assessable is None else f"{summary.assessable:,} assessable"
        console.say(f"{summary.name}: {summary.footprints:,} footprints ({assessable}){_reasons(summary.not_assessed)}")
        if summary.labels:
            console.say("  labels: " + ", ".join(f"{count:,} {value}" for value, count in summary.labels.items()))
        for run in summary.runs:
            console.say(f"  run {run.run_id}: {run.state}, step {run.step} of {run.steps} {run.message}")
        console.say(f"  next: {summary.next_step}")
    values = [dataclasses.asdict(summary) | {"next_step": summary.next_step} for summary in summaries]
    console.result(values[0] if name is not None else {"events": values})


def simulate(console: Console, directory: Path, *, buildings: int, hazard: str, seed: int) -> None:
    """Draw the synthetic event and say how to use it."""
    from damage_ssl.simulation import SimulationSettings
    from damage_ssl.simulation import simulate as draw

    event = draw(directory, SimulationSettings(buildings=buildings, hazard=hazard, seed=seed))
    console.say(f"{buildings:,} buildings, {hazard}: {event.pre}, {event.post}, {event.footprints}, {event.truth}")
    console.say(
        f"next: damage-ssl init {directory.name} --pre {event.pre} --post {event.post} --footprints {event.footprints}"
    )
    console.result({field.name: getattr(event, field.name) for field in dataclasses.fields(event)})


def assess(
    console: Console,
    workspace: Path,
    name: str,
    inputs: EventInputs,
    labels: Path,
    out: Path,
    settings_file: Path | None,
    given: Mapping[str, Any],
) -> None:
    """Run every stage. Text is printed stage by stage; in JSON mode only the last stage's object is."""
    quiet = Console(json_output=False) if not console.json_output else _Silent(json_output=True)
    if name not in list_events(workspace):
        init(quiet, workspace, name, inputs, overwrite=False)
    elif pipeline.made_from(
        Event.open(workspace, name), pre=inputs.pre, post=inputs.post, footprints=inputs.footprints, aoi=inputs.aoi
    ):
        quiet.say(f"event '{name}' is there already, from the same inputs")
    else:
        raise WorkspaceError(
            f"{workspace / name}: was made from other imagery or footprints; choose another event name, or replace "
            "them with `damage-ssl init --overwrite` (labels and runs are kept)"
        )
    patches(quiet, workspace, name, settings_file, {})
    import_labels(quiet, workspace, name, labels, labeller="import")
    train(quiet, workspace, name, settings_file, given)
    export(console, workspace, name, out)


def app(console: Console, workspace: Path, *, port: int, address: str, read_only: bool, secrets: Path | None) -> None:
    """Run the Streamlit app, which itself refuses an address beyond this machine without sign-in."""
    entry = Path(__file__).resolve().parents[2] / "app" / "main.py"
    if not entry.exists():
        raise DamageSSLError(f"{entry}: the app is not installed beside the package; run it from a checkout: make app")
    workspace.mkdir(parents=True, exist_ok=True)
    if secrets is not None and not secrets.is_file():
        raise DamageSSLError(f"{secrets}: there is no such file; docs/access.md says what belongs in it")
    console.say(f"http://{address}:{port} (stop with Ctrl+C)")
    command = [sys.executable, "-m", "streamlit", "run", str(entry), "--server.port", str(port)]
    options = ["--server.address", address, "--browser.gatherUsageStats", "false", "--server.headless", "true"]
    options += [] if secrets is None else ["--secrets.files", str(secrets.resolve())]
    options += ["--", "--workspace", str(workspace.resolve()), *(["--read-only"] if read_only else [])]
    # Every request has a thread, and glibc gives each an arena of its own: a sixth of the memory at 300,000 buildings.
    environment = {"MALLOC_ARENA_MAX": "2", **os.environ, "DAMAGE_SSL_WORKSPACE": str(workspace.resolve())}
    raise SystemExit(subprocess.run([*command, *options], env=environment, check=False).returncode)


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Whether the process was asked to end (Ctrl+C, SIGTERM), so that a training can stop between two steps.

    A second request ends the process at once.
    """
    asked = False

    def ask(number: int, _frame: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(number, signal.default_int_handler)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Silent(Console):
    """A console for the inner stages of `assess --json`, whose results are not the answer."""

    def result(self, values: dict[str, Any]) -> None:
        """Nothing."""


def _settings(event: Event, file: Path | None, given: Mapping[str, Any]) -> AllSettings:
    tables = _read_tables(file)
    train = {**tables.get("train", {}), **{key: value for key, value in given.items() if value is not None}}
    if (weights := train.pop("weights", None)) is not None:
        train["options"] = {**train.get("options", {}), "weights": weights}
    where = str(file) if file is not None else "command line"
    return AllSettings(
        patches=patch_settings(event, file, {}),
        train=from_mapping(TrainSettings, train, f"{where}, [train]"),
        split=from_mapping(SplitSettings, tables.get("split", {}), f"{where}, [split]"),
        sources=from_mapping(SourceSettings, tables.get("sources", {}), f"{where}, [sources]"),
    )


def train_settings(file: Path | None, given: Mapping[str, Any]) -> TrainSettings:
    """The table [train] of a settings file, overridden by what the command line gave."""
    values = _read_tables(file).get("train", {}) | {key: value for key, value in given.items() if value is not None}
    return from_mapping(TrainSettings, values, f"{file or 'command line'}, [train]")


def _cut(console: Console, event: Event, settings: PatchSettings | None, resources: Resources | None) -> PatchStore:
    with console.progress("patches") as bar:
        return pipeline.cut_patches(
            event,
            settings,
            progress=bar,
            registering=lambda done, total: bar(done, total, "registering"),
            resources=resources,
        )


def patch_settings(event: Event, file: Path | None, given: Mapping[str, Any]) -> PatchSettings | None:
    """What a settings file and the command line ask for; None where that is nothing: the last cut's are kept."""
    table = _read_tables(file).get("patches", {})
    values = {**table, **{key: value for key, value in given.items() if value is not None}}
    if not values:
        return None
    before = PatchStore.kept_settings(event.patches_path)
    kept = {} if before is None else to_mapping(before)
    return from_mapping(PatchSettings, {**kept, **values}, f"{file or 'command line'}, [patches]")


def _read_tables(file: Path | None) -> dict[str, dict[str, Any]]:
    if file is None:
        return {}
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{file}: there is no such settings file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: is not a TOML file: {error}") from None
    for name, value in tables.items():
        if name not in _TABLES or not isinstance(value, dict):
            raise SettingsError(f"{file}: table [{name}] is unknown: {nearest_name(name, _TABLES)}")
    return tables


def _reasons(not_assessed: Mapping[str, int]) -> str:
    if not not_assessed:
        return ""
    return "; not: " + ", ".join(f"{count:,} {reason}" for reason, count in not_assessed.items())


def _of_others(summary: pipeline.RunSummary) -> str:
    counts = ", ".join(f"{count} of event {name}" for name, count in summary.trained_on_sources.items())
    return f" ({counts})" if counts else ""


def _remark(progress: "TrainProgress") -> str:
    parts = [] if progress.loss is None else [f"loss {progress.loss:.3f}"]
    if progress.mask_rate is not None:
        parts.append(f"mask {progress.mask_rate:.0%}")
    if progress.validation_score is not None:
        parts.append(f"validation AUROC {progress.validation_score:.3f}")
    return ", ".join(parts)

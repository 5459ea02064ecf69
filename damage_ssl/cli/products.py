"""`damage-ssl export --pack`: the folder and ZIP that go to whoever uses the map."""

from pathlib import Path

from damage_ssl import pipeline
from damage_ssl.cli.console import Console
from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.event.catalog import Event
from damage_ssl.learning.runs import Run, latest_finished
from damage_ssl.pipeline.pack import FinishedRun, hand_over
from damage_ssl.products.selection import Selection


def export(
    console: Console,
    workspace: Path,
    name: str,
    out: Path | None,
    *,
    run_id: str | None,
    pack: bool,
    selection: Selection,
    licence: str | None,
) -> None:
    """Write the map to `out`, or its pack under the event's products, or both."""
    if out is None and not pack:
        raise InputError("export: give --out FILE for the GeoJSON alone, or --pack for all that a receiver needs")
    if not pack and (licence or not selection.is_open):
        raise InputError("export: a selection or a licence goes with --pack; --out alone writes the whole map")
    if not pack and out is not None:
        from damage_ssl.cli import stages

        stages.export(console, workspace, name, out, run_id=run_id)
        return
    event = Event.open(workspace, name)
    run = pipeline.chosen_run(event, run_id) if run_id is not None else _newest(event)
    written = hand_over(event, None if run is None else FinishedRun(run), selection=selection, licence=licence)
    console.say(f"{written.buildings:,} buildings ({selection.words}), run {None if run is None else run.run_id}")
    console.say(f"hand over {written.zip_path}")
    if out is not None:  # after the pack, which may refuse the selection: then nothing is written
        pipeline.export_event(event, out, run_id=run_id)
        console.say(f"the whole map written to {out}")
    console.result(
        {
            "out": None if out is None else str(out),
            "folder": str(written.folder),
            "zip": str(written.zip_path),
            "buildings": written.buildings,
            "filter": selection.words,
            "run_id": None if run is None else run.run_id,
        }
    )


def _newest(event: Event) -> Run | None:
    try:
        return latest_finished(event.runs_path)
    except WorkspaceError:
        return None

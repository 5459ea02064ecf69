"""Training an event's run in several processes: `torchrun --nproc-per-node N -m damage_ssl.runs.torchrun EVENT`.

The first process works in the run's folder as `damage-ssl train` does; the others in a temporary copy of it, so nobody
else writes. The run is that of `damage-ssl train` with the same settings: started there, it goes on here, and the other
way round. Afterwards `damage-ssl predict EVENT --run-id RUN` predicts the buildings.
"""

import argparse
import os
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from damage_ssl.events.event import Event
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.trainer.forward_pass import World, joined
from damage_ssl.runs.kinds import start_run, train_run
from damage_ssl.runs.run import Run
from damage_ssl.settings import SourceSettings, SplitSettings, from_mapping


def train_together(workspace: Path, name: str, tables: dict[str, Any], sources: Sequence[str] = ()) -> Run:
    """Train an event's run in this process and those that torchrun started beside it; alone without torchrun.

    `tables` are those of a settings file, of which `train`, `split` and `sources` are read; `sources` are other events
    whose labels are learned from too.

    Raises:
        DamageSSLError: as `start_run` and `train_run` do.
    """
    train = from_mapping(TrainSettings, tables.get("train", {}), "settings, [train]")
    split = from_mapping(SplitSettings, tables.get("split", {}), "settings, [split]")
    taken = from_mapping(SourceSettings, tables.get("sources", {}), "settings, [sources]")
    event = Event.open(workspace, name)
    with joined() as world:
        begun = ""
        if world.rank == 0:
            begun = start_run(event, train, split, sources=sources, source_settings=taken).run.run_id
        run = Run(event.runs_path / str(world.agreed(begun)))
        with own_folder(run, world) as own:
            train_run(event, own)
            world.wait_for_all()
    return run


@contextmanager
def own_folder(run: Run, world: World) -> Iterator[Run]:
    """The run itself for the first process; for another one a copy of it as it is, which is thrown away."""
    if world.rank == 0:
        world.wait_for_all()  # all others have their copy before anything is written
        yield run
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Run(Path(shutil.copytree(run.path, Path(folder) / run.run_id)))
        world.wait_for_all()
        yield copy


def main(given: Sequence[str] | None = None) -> None:
    """The command of the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("event")
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    parser.add_argument("--settings", type=Path, help="TOML with the tables [train], [split] and [sources]")
    parser.add_argument("--source", action="append", default=[], help="another event to learn from too; repeat")
    arguments = parser.parse_args(given)
    tables = tomllib.loads(arguments.settings.read_text(encoding="utf-8")) if arguments.settings else {}
    run = train_together(arguments.workspace, arguments.event, tables, arguments.source)
    if os.environ.get("RANK", "0") == "0":
        print(f"{run.run_id}: {run.status().state}")


if __name__ == "__main__":
    main()

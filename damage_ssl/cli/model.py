"""`damage-ssl model`: prior models, which know damage from elsewhere: which there are, made, and passed on."""

import dataclasses
import shutil
from pathlib import Path
from typing import Annotated

import typer

from damage_ssl.cli.console import Console, command
from damage_ssl.cli.options import WORKSPACE, Json, Workspace
from damage_ssl.errors import InputError
from damage_ssl.events.event import Event
from damage_ssl.files import atomic_path

ModelName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the prior model.")]


def list_models(workspace: Workspace = WORKSPACE, json: Json = False) -> None:
    """List the packaged prior models and the workspace's own, with what each learned from."""
    from damage_ssl.learning.prior.hazards import MODELS, packaged_path
    from damage_ssl.learning.prior.model import SUFFIX, PriorModel
    from damage_ssl.runs.prior import workspace_models

    with command(json=json) as console:
        own = sorted(workspace_models(workspace).glob(f"*{SUFFIX}"))
        paths = [path for path in (*map(packaged_path, MODELS), *own) if path.exists()]
        found = {path.stem: PriorModel.read(path).card for path in paths}
        for name, card in found.items():
            auroc = "" if card.auroc is None else f", AUROC {card.auroc:.2f} on sources left out"
            console.say(f"{name}: {card.title}; {card.buildings:,} buildings, {card.damaged:,} damaged{auroc}")
            console.say(f"    {card.licence}")
        console.result({"models": {name: dataclasses.asdict(card) for name, card in found.items()}})


def build(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Name of the model; not with --packaged.")
    ] = None,
    from_event: Annotated[
        list[str] | None,
        typer.Option(metavar="EVENT", help="An event of the workspace whose labels are learned from; repeatable."),
    ] = None,
    from_xbd: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A folder in xBD's layout: becomes the event NAME, with its labels."),
    ] = None,
    licence: Annotated[
        str, typer.Option(help="Licence of what it learns from, for its card: it binds whoever passes the model on.")
    ] = "not stated",
    packaged: Annotated[
        bool, typer.Option("--packaged", help="Make the packaged models anew, from simulated towns alone.")
    ] = False,
    towns: Annotated[int, typer.Option(min=2, help="Simulated towns of each hazard, with --packaged.")] = 2,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write to. Default: models in the workspace.")
    ] = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Make a prior model of labelled events, of an xBD download, or the packaged ones of simulated towns."""
    from damage_ssl.learning.prior.model import SUFFIX
    from damage_ssl.runs.model_building import build_from_events, build_packaged
    from damage_ssl.runs.prior import workspace_models

    with command(json=json) as console:
        folder = out or workspace_models(workspace)
        if packaged:
            with console.progress("towns") as bar:
                written = build_packaged(workspace / ".prior-towns", folder, towns=towns, progress=bar)
        else:
            names = [*(from_event or [])]
            if name is None or not (names or from_xbd):
                raise InputError(
                    "model build: give a NAME and --from-event EVENT or --from-xbd DIR, or --packaged for those of "
                    "simulated towns"
                )
            _check_name(name)
            events = [Event.open(workspace, each) for each in names]
            if from_xbd is not None:
                events.append(_xbd_event(console, workspace, name, from_xbd))
            with console.progress("features") as bar:
                model = build_from_events(name, events, licence=licence, progress=bar)
            folder.mkdir(parents=True, exist_ok=True)
            written = [folder / f"{name}{SUFFIX}"]
            model.write(written[0])
        for path in written:
            console.say(f"prior model written: {path}")
        console.result({"models": [str(path) for path in written]})


def export(
    name: ModelName,
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write.")],
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Write a prior model to a file that may be passed on, under the licence that it names."""
    from damage_ssl.learning.prior.hazards import MODELS, packaged_path
    from damage_ssl.learning.prior.model import SUFFIX, PriorModel
    from damage_ssl.runs.prior import workspace_models

    with command(json=json) as console:
        own = workspace_models(workspace) / f"{name}{SUFFIX}"
        model = PriorModel.read(packaged_path(name) if name in MODELS and not own.exists() else own)
        model.write(out)
        console.say(f"prior model '{name}' written to {out}; licence: {model.card.licence}")
        console.result({"out": str(out), "card": dataclasses.asdict(model.card)})


def import_model(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File of a prior model.")],
    name: Annotated[str | None, typer.Option(help="Name to keep it under. Default: the name in the file.")] = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Take a prior model from a file into the workspace, after a look at whether it is one."""
    from damage_ssl.learning.prior.model import SUFFIX, PriorModel
    from damage_ssl.runs.prior import workspace_models

    with command(json=json) as console:
        card = PriorModel.read(file).card
        kept = _check_name(name or card.name)
        path = workspace_models(workspace) / f"{kept}{SUFFIX}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            shutil.copyfile(file, temporary)
        console.say(f"prior model '{kept}': {card.title}; licence: {card.licence}")
        console.say(f"next: damage-ssl zero-label EVENT --prior-model {kept} --workspace {workspace}")
        console.result({"name": kept, "path": str(path), "card": dataclasses.asdict(card)})


def _check_name(name: str) -> str:
    """Raises InputError where the name is that of a packaged model, or no name for a file."""
    from damage_ssl.learning.prior.hazards import MODELS
    from damage_ssl.runs.prior import NO_PRIOR

    if name in (*MODELS, NO_PRIOR) or not name.replace("-", "").replace("_", "").isalnum():
        raise InputError(
            f"model '{name}': choose another name, of letters, digits, '-' and '_'; {', '.join(MODELS)} are packaged"
        )
    return name


def _xbd_event(console: Console, workspace: Path, name: str, folder: Path) -> Event:
    """The folder as an event of the workspace, cut, with its grades as labels; one that is there is gone on with."""
    from damage_ssl import workflow
    from damage_ssl.events.event import list_events
    from damage_ssl.events.inputs import EventInputs

    if name in list_events(workspace):
        event = Event.open(workspace, name)
    else:
        inputs = EventInputs(pre=[], post=[], footprints=[], from_xbd=folder)
        event = workflow.create_event(workspace, name, inputs)
    with console.progress("patches") as bar:
        workflow.cut_patches(event, progress=bar)
    workflow.import_labels(event, event.truth_path, labeller="xBD")
    return event

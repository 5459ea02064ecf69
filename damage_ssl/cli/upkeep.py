"""`damage-ssl doctor`, `backup` and `restore`: what is damaged of an event, and copies of it in one file."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from damage_ssl.cli.console import command
from damage_ssl.cli.options import WORKSPACE, EventName, Json, Workspace
from damage_ssl.events.event import Event

BackupFile = Annotated[Path, typer.Argument(metavar="FILE", help="The backup, a ZIP.")]


def doctor(
    event: EventName,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make again what can be made, and sweep what killed processes left.")
    ] = False,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Check everything of an event against its checksums, and say what is damaged and what can be made again.

    Labels are never changed. Ends with exit code 1 where something is damaged (and was not repaired).
    """
    from damage_ssl.upkeep import doctor as upkeep

    with command(json=json) as console:
        opened = Event.open(workspace, event)
        with console.progress("patches") as bar:
            found = upkeep.diagnose(opened, bar)
        unchecked = len(found.unchecked)
        console.say(
            f"{len(found.whole)} files are what was written"
            + (f"; not checked, since an older version wrote them without a checksum: {unchecked}" if unchecked else "")
        )
        failed = {}
        repaired = []
        if repair:
            for finding, why in upkeep.repair(opened, found):
                if why is None:
                    repaired.append(finding.path)
                else:
                    failed[finding.path] = why
        for finding in found.findings:
            console.say(f"{finding.path}: {finding.fault}")
            if finding.path in repaired:
                console.say("  repaired")
            elif finding.path in failed:
                console.say(f"  could not be repaired: {failed[finding.path]}")
            else:
                console.say(f"  {finding.remedy}" + (": give --repair" if finding.repair and not repair else ""))
        console.result(
            {
                "whole": len(found.whole),
                "not_checked": [str(path) for path in found.unchecked],
                "damaged": [
                    {
                        "path": str(each.path),
                        "fault": each.fault,
                        "remedy": each.remedy,
                        "repairable": each.repair is not None,
                        "repaired": each.path in repaired,
                    }
                    for each in found.findings
                ],
            }
        )
        if len(repaired) < len(found.findings):
            raise SystemExit(1)


def backup(event: EventName, file: BackupFile, workspace: Workspace = WORKSPACE, json: Json = False) -> None:
    """Copy an event into one file, checked, while others go on working.

    Imagery that lies elsewhere and labels that a PostgreSQL database keeps are not in it.
    """
    from damage_ssl.upkeep.backup import back_up

    with command(json=json) as console:
        opened = Event.open(workspace, event)
        with console.progress("files") as bar:
            said = back_up(opened, file, bar)
        console.say(f"{file}: {said.files:,} files, {said.labels:,} answers, {said.bytes / 1e6:,.1f} MB; checked")
        console.result(asdict(said) | {"file": str(file)})


def restore(
    file: BackupFile,
    name: Annotated[
        str | None, typer.Option(metavar="EVENT", help="Another name for the event; default: the one it had.")
    ] = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Make an event of a backup; an event or folder that is there is never overwritten."""
    from damage_ssl.upkeep.backup import restore as make

    with command(json=json) as console:
        opened = make(file, workspace, name=name)
        console.say(f"event '{opened.name}' in {opened.path}; see: damage-ssl status {opened.name}")
        console.result({"event": opened.name, "path": str(opened.path)})

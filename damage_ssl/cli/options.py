"""Options that the command groups share."""

from pathlib import Path
from typing import Annotated

import typer

EventName = Annotated[str, typer.Argument(metavar="EVENT", help="Name of the event (a folder in the workspace).")]
Workspace = Annotated[Path, typer.Option(help="Folder that holds the events.", envvar="DAMAGE_SSL_WORKSPACE")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for a machine instead of text.")]
WORKSPACE = Path("workspace")

"""Files that a new event may be made of: the workspace's `inbox/`, and what is uploaded into it, piece by piece.

Nothing outside `inbox/` can be named. A file on its way lies in `inbox/.partial/` and gets its name only when all of it
is there, so that no half of a file is ever taken for the whole.
"""

import contextlib
import os
import re
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.jobs.file_kinds import (
    AREA_ENDINGS,
    FOOTPRINT_ENDINGS,
    RASTER_ENDINGS,
    SERVER_ENDINGS,
    UPLOAD_ENDINGS,
    ending_of,
)
from app.state.configuration import workspace_path
from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.events.event import Event, list_events
from damage_ssl.files import storage_errors
from damage_ssl.imagery.scene import Role

LIMIT_VARIABLE = "DAMAGE_SSL_UPLOAD_GB"
"""The environment variable with the largest size of an uploaded file, in GB (10⁹ bytes)."""

_DEFAULT_LIMIT_GB = 8.0
_KEPT_FREE_BYTES = 500_000_000

_MAX_NAME = 120


SIDES: tuple[Role, Role] = ("pre", "post")

Purpose = Literal["imagery", "footprints", "area"]

ENDINGS: dict[Purpose, tuple[str, ...]] = {
    "imagery": RASTER_ENDINGS,
    "footprints": (*FOOTPRINT_ENDINGS, *SERVER_ENDINGS),
    "area": (*AREA_ENDINGS, *SERVER_ENDINGS),
}


class WrongKindError(InputError):
    """The file is not of a kind that is read here."""


@dataclass(frozen=True, kw_only=True)
class InboxFile:
    """A file that may be picked: its path within the inbox, bytes, and when it was last changed (seconds)."""

    name: str
    size: int
    modified: float


def inbox_path() -> Path:
    """The folder that files may be picked from; whoever runs the server may put any there."""
    return workspace_path() / "inbox"


def limit_bytes() -> int:
    """The largest size of one uploaded file.

    Raises:
        InputError: the setting is not a positive number.
    """
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    try:
        limit_gb = float(text) if text else _DEFAULT_LIMIT_GB
    except ValueError:
        limit_gb = 0.0
    if not 0 < limit_gb < 1e6:
        raise InputError(f"${LIMIT_VARIABLE}: '{text}' is not a positive number of GB")
    return int(limit_gb * 1e9)


def free_bytes() -> int:
    """Room on the workspace's disk, less a reserve that the work on the event needs."""
    folder = next(path for path in (inbox_path(), *inbox_path().parents) if path.is_dir())
    return max(0, shutil.disk_usage(folder).free - _KEPT_FREE_BYTES)


def inbox_files(purpose: Purpose) -> list[InboxFile]:
    """Files of the inbox and its sub-folders that can serve a purpose, by name; links that lead out are left out."""
    inbox = inbox_path()
    found = []
    for folder, folders, names in os.walk(inbox):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(folder) / name
            if name.startswith(".") or ending_of(name) not in ENDINGS[purpose] or not _is_within(path):
                continue
            with contextlib.suppress(OSError):
                state = path.stat()
                shown = path.relative_to(inbox).as_posix()
                found.append(InboxFile(name=shown, size=state.st_size, modified=state.st_mtime))
    return sorted(found, key=lambda file: file.name.lower())


def picked(name: str, purpose: Purpose) -> Path:
    """The path of a file of the inbox by its name there.

    Raises:
        WorkspaceError: there is no such file in the inbox, also where the name or a link leads out of it.
        InputError: it cannot serve the purpose.
    """
    path = inbox_path() / name
    if not name or "\0" in name or not _is_within(path) or not path.is_file():
        raise WorkspaceError(f"'{name}': is not a file of the inbox; choose one of the list, or upload it")
    if ending_of(name) not in ENDINGS[purpose]:
        raise InputError(f"'{name}': cannot be used as {purpose}; give {', '.join(ENDINGS[purpose])}")
    return path


def plain(message: str) -> str:
    """A message of the library with files named as the analyst knows them, not by the server's folders."""
    return message.replace(f"{inbox_path().resolve()}/", "").replace(f"{inbox_path()}/", "")


def safe_name(name: str) -> str:
    """The name that an uploaded file gets: its last part, of letters, digits, dot, dash and underscore.

    `.json` becomes `.geojson`: what is uploaded says nothing of dates and hazard of rasters beside it.

    Raises:
        WrongKindError: nothing is left of it, or its ending is not one that is read here.
    """
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    clean = re.sub(r"[^\w.-]+", "_", last).lstrip("._-")
    ending = ending_of(clean)
    if ending == ".json":  # else it would be read as `event.json` or an item beside rasters that somebody else sends
        ending = ".geojson"
        clean = f"{clean[: -len('.json')]}{ending}"
    if ending not in UPLOAD_ENDINGS or clean.lower() == ending.lstrip("."):
        raise WrongKindError(
            f"'{name[:80]}': files of this kind cannot be used; imagery: {', '.join(RASTER_ENDINGS)}; "
            f"footprints: {', '.join(FOOTPRINT_ENDINGS)} (a shapefile zipped)"
        )
    return clean if len(clean) <= _MAX_NAME else clean[: _MAX_NAME - len(ending)] + ending


def delete_file(name: str) -> None:
    """Delete a file that was uploaded, unless an event is made of it.

    Args:
        name: its path within the inbox; it lies in `uploads/`.

    Raises:
        WorkspaceError: it was not uploaded, or an event needs it. StorageError: it may not be deleted.
    """
    path = inbox_path() / name
    if Path(name).parent.as_posix() != "uploads" or not _is_within(path) or not path.is_file():
        raise WorkspaceError(f"'{name}': is not an uploaded file")
    for event in (Event.open(workspace_path(), each) for each in list_events(workspace_path())):
        hrefs = {Path(scene.href) for role in SIDES for scene in event.scenes(role)}
        hrefs |= {Path(report.path) for report in event.footprint_sources() if report.path}
        if path.resolve() in {href.resolve() for href in hrefs}:
            raise WorkspaceError(f"{path.name}: event '{event.name}' is made of it, so it stays")
    with storage_errors(path):
        path.unlink(missing_ok=True)


def _is_within(path: Path) -> bool:
    try:
        return path.resolve(strict=True).is_relative_to(inbox_path().resolve())
    except (OSError, RuntimeError, ValueError):
        return False

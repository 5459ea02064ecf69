"""Every error that a user can cause or mend.

A message says where, what was found, and what is allowed or what to do next. The command line prints it and exits
with `exit_code`; nothing half-written stays behind.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


class DamageSSLError(Exception):
    """Base of all errors with a message meant for the user.

    Examples:
        >>> try:
        ...     Event.open("workspace", "twon")
        ... except DamageSSLError as error:
        ...     print(error)
        workspace: no event 'twon': did you mean 'town'?
    """

    exit_code = 2


class InputError(DamageSSLError):
    """A file or value that the user gave cannot be used: imagery, footprints, labels, AOI."""


class SourceError(InputError):
    """A raster that was usable when the event was made cannot be read now, also not after trying again."""


class ServiceError(DamageSSLError):
    """An online service cannot be reached, refused the request or answered with nothing usable."""


class SettingsError(DamageSSLError):
    """An unknown or impossible setting."""


class WorkspaceError(DamageSSLError):
    """The event or run asked for is not there, or a stage before this one has not run."""


class LabelsError(DamageSSLError):
    """The labels do not allow training: one class only, or too few to train and validate."""


class StorageError(DamageSSLError):
    """The disk is full or cannot be written to."""


class WorkerError(DamageSSLError):
    """Worker processes were killed again and again over the same work."""


@contextmanager
def readable(
    where: str | Path, advice: str, kind: type[DamageSSLError] = InputError, *, what: str = "cannot be read"
) -> Iterator[None]:
    """Whatever a parser raises of content that comes from outside becomes an error that names the file.

    For each format there is a list of what its parser says of a damaged file, and damaged files find what is not on it:
    of GEOS, PROJ, GDAL, Arrow, PIL, pystac and zipfile, which share no base. So nothing is listed. The cause stays
    attached; a lack of memory, and our own errors, pass.

    Args:
        where: the file.
        advice: what to do about it.
        kind: the error to raise.
        what: what is wrong with it.
    """
    try:
        yield
    except (DamageSSLError, MemoryError):
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise kind(f"{where}: {what} ({said}); {advice}") from error


def nearest_name(name: str, allowed: Iterable[str]) -> str:
    """A closing phrase for an error about an unknown name: the nearest known one, else the whole list."""
    known = sorted(allowed)
    close = get_close_matches(name, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"

"""`--workers`, `--memory` and `--cluster`: what a command may use, never what it yields."""

import re
from typing import Annotated

import typer

from damage_ssl.errors import SettingsError
from damage_ssl.settings import Resources

Workers = Annotated[
    int, typer.Option(min=0, metavar="N", help="Local processes that work side by side; 0: this one only.")
]
Memory = Annotated[
    str,
    typer.Option(
        metavar="SIZE",
        help="Upper bound of the memory over all processes, e.g. 800MB or 4GB; auto: 1GB + 500MB a worker.",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Scheduler of a Dask cluster whose workers see the same files."),
]

MEMORY = "auto"
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def resources_of(workers: int, memory: str, cluster: str | None) -> Resources:
    """The three options as one value.

    Raises:
        SettingsError: the size is not understood or out of bounds.
    """
    memory_bytes = None if memory == MEMORY else bytes_of(memory)
    return Resources(workers=workers, memory_bytes=memory_bytes, cluster=cluster)


def bytes_of(size: str) -> int:
    """`1GB` → 1 000 000 000, `1GiB` → 1 073 741 824; a bare number is bytes.

    Raises:
        SettingsError: it is not a size.
    """
    found = _SIZE.fullmatch(size.strip())
    if found is None:
        raise SettingsError(f"--memory: '{size}' is not a size; give a number and a unit, e.g. 800MB or 2GB")
    number, unit, binary = found.groups()
    unit_bytes: int = (1024 if binary else 1000) ** _POWERS[unit.upper()]
    return round(float(number) * unit_bytes)

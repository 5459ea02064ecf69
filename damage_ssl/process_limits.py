"""Limits of a process that reads files of strangers: what one of them may cost at most, whatever is wrong with it.

The app reads what was uploaded in processes of their own, which set these limits for themselves before they open any
file. They hold on Linux and macOS (`resource`, setrlimit(2); macOS does not hold the one of memory); Windows has none
that a process could set for itself, so there the checks of the readers are all there is, and `limit_process` says so.
"""

import os
from collections.abc import Mapping

from damage_ssl.errors import SettingsError

VARIABLE = "DAMAGE_SSL_UPLOADS_MEMORY_GB"
"""Address space of a process that reads uploads, in GB (10⁹ bytes); set by the app, by default to `MEMORY_GB`."""
MEMORY_GB, CPU_S, OPEN_FILES = 16.0, 4 * 3600, 4096


def memory_gb(environment: Mapping[str, str] = os.environ) -> float:
    """What `VARIABLE` says.

    Raises:
        SettingsError: it is not a number from 2 on, below which no reader starts.
    """
    text = environment.get(VARIABLE, "").strip()
    try:
        value = float(text) if text else MEMORY_GB
    except ValueError:
        value = 0.0
    if not 2 <= value < 1e6:
        raise SettingsError(f"${VARIABLE}: '{text}' is not a number of GB from 2 on")
    return value


def limit_process(memory: float, *, cpu_s: int = CPU_S, open_files: int = OPEN_FILES) -> tuple[str, ...]:
    """Limit this process and those that it starts from now on.

    Args:
        memory: GB of address space; what goes beyond is a MemoryError.
        cpu_s: seconds of processor time, after which it is ended.
        open_files: files that it has open at once.

    Returns:
        which limits hold; none on Windows.
    """
    if os.name != "posix":
        return ()
    import resource

    wanted = {"RLIMIT_AS": int(memory * 1e9), "RLIMIT_CPU": cpu_s, "RLIMIT_NOFILE": open_files, "RLIMIT_CORE": 0}
    held = []
    for name, value in wanted.items():
        kind = getattr(resource, name)
        _, most = resource.getrlimit(kind)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        try:
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError):  # macOS refuses the one of memory
            continue
        held.append(name)
    return tuple(held)


def limit_if_told() -> None:
    """Limit this process where whoever started it says that it reads files of strangers."""
    if os.environ.get(VARIABLE):
        limit_process(memory_gb())

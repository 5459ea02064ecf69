"""Looking at an uploaded raster in a process of its own, with limits: GDAL reads it there, and not in the app."""

import os
import subprocess
import sys
from pathlib import Path

from damage_ssl.errors import InputError
from damage_ssl.process_limits import VARIABLE, memory_gb

LOOKS_FOR_S = 60
_LOOK = """
import sys
from damage_ssl.process_limits import limit_process
limit_process(float(sys.argv[3]), cpu_s=30, open_files=256)
from pathlib import Path
from damage_ssl.errors import InputError
from damage_ssl.imagery.references import check_self_contained
try:
    check_self_contained(Path(sys.argv[1]), sys.argv[2])
except InputError as error:
    sys.stdout.buffer.write(str(error).encode("utf-8", "replace"))
    raise SystemExit(2)
"""
_LOOK_GB = 4.0


def check_raster(path: Path, name: str) -> None:
    """Check that an uploaded raster refers to nothing else (`check_self_contained`).

    Raises:
        InputError: it does, or to look at it takes more memory or time than any raster should.
    """
    command = [sys.executable, "-c", _LOOK, str(path), name, str(_LOOK_GB)]
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter with code of this file
            command, capture_output=True, timeout=LOOKS_FOR_S, check=False, env=dict(os.environ)
        )
    except subprocess.TimeoutExpired:
        done = None
    if done is not None and done.returncode == 0:
        return
    if done is not None and done.returncode == 2 and done.stdout:
        raise InputError(done.stdout.decode("utf-8", "replace"))
    raise InputError(
        f"{name}: cannot be looked at within {_LOOK_GB:g} GB of memory and {LOOKS_FOR_S} s; it is damaged, or not "
        "meant to be read: write it anew (gdal_translate -of COG)"
    )


def limits_of_readers() -> dict[str, str]:
    """What the environment of a process says that reads uploads: it limits itself by it.

    Raises:
        SettingsError: the setting is none.
    """
    return {VARIABLE: f"{memory_gb():g}"}

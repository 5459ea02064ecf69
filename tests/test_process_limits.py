"""Limits that a process sets for itself, and that a reader of uploads keeps to."""

import subprocess
import sys
from pathlib import Path

import pytest

from app.jobs import untrusted
from damage_ssl.errors import InputError, SettingsError
from damage_ssl.process_limits import VARIABLE, memory_gb
from tests.conftest import Town

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds the limit of memory")


def run(code: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


@on_linux
def test_process_that_reads_uploads_gets_no_more_memory_processor_time_or_files() -> None:
    start = "from damage_ssl.process_limits import limit_process\nprint(limit_process(2, cpu_s=1, open_files=20))\n"
    memory = run(start + "bytearray(3_000_000_000)")
    assert "MemoryError" in memory.stderr and "RLIMIT_AS" in memory.stdout
    assert run(start + "while True: pass").returncode < 0
    assert "Too many open files" in run(start + "kept = [open('/dev/null') for _ in range(50)]").stderr


@on_linux
@pytest.mark.long
def test_command_of_the_app_limits_itself() -> None:
    code = (
        "import sys; sys.argv = ['damage-ssl', '--version']\nimport damage_ssl.cli, resource, atexit\n"
        "atexit.register(lambda: print(resource.getrlimit(resource.RLIMIT_AS)[0]))\ndamage_ssl.cli.main()"
    )
    assert run(code, **{VARIABLE: "8"}).stdout.split()[-1] == "8000000000"
    assert run(code).stdout.split()[-1] == "-1"


def test_setting_that_is_none_is_refused() -> None:
    assert memory_gb({}) == 16 and memory_gb({VARIABLE: "4.5"}) == 4.5
    for wrong in ("much", "0.1", "nan", "-1"):
        with pytest.raises(SettingsError, match=VARIABLE):
            memory_gb({VARIABLE: wrong})


def test_raster_is_looked_at_elsewhere(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    untrusted.check_raster(town.pre, "pre.tif")
    vrt = tmp_path / "a.tif"
    vrt.write_text("<VRTDataset></VRTDataset>")
    with pytest.raises(InputError, match="refers to something else"):
        untrusted.check_raster(vrt, "a.tif")
    monkeypatch.setattr(untrusted, "_LOOK", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(InputError, match="cannot be looked at"):
        untrusted.check_raster(town.pre, "pre.tif")

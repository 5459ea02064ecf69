"""The file in which a command says how far it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from damage_ssl.progress import ProgressState, read_progress, write_progress


def test_last_word_has_room_on_a_disk_that_ran_full_meanwhile(tmp_path: Path) -> None:
    """On a real disk of 64 KiB, in a mount namespace of its own; needs no rights beyond a user's."""
    script = (
        "import pathlib, sys; from damage_ssl.progress import ProgressState, write_progress\n"
        "path = pathlib.Path(sys.argv[1]) / 'progress.json'\n"
        "write_progress(path, ProgressState())\n"
        "try:\n open(path.with_name('filler'), 'wb', buffering=0).write(b'0' * (1 << 20))\n"
        "except OSError: pass\n"
        "try:\n open(path.with_name('other'), 'wb', buffering=0).write(b'0'); print('room')\n"
        "except OSError: pass\n"
        "write_progress(path, ProgressState(state='failed', error='the disk is full ' * 1000))\n"
        "print(path.read_text())"
    )
    small = 'mount -t tmpfs -o size=64k small "$0" && exec "$@"'
    command = ["unshare", "-Urm", "sh", "-c", small, str(tmp_path), sys.executable, "-c", script, str(tmp_path)]
    if subprocess.run(["unshare", "-Urm", "mount", "-t", "tmpfs", "t", str(tmp_path)], capture_output=True).returncode:
        pytest.skip("this system lets no user mount a small disk in a namespace (unshare -Urm)")
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "room" not in said
    assert json.loads(said)["state"] == "failed"
    assert json.loads(said)["error"].startswith("the disk is full")


def test_longest_message_is_cut_to_the_room_there_is(tmp_path: Path) -> None:
    write_progress(tmp_path / "p", ProgressState(state="failed", error="ä" * 10_000))
    said = read_progress(tmp_path / "p")
    assert said is not None and said.error.startswith("äää")
    assert (tmp_path / "p").stat().st_size == 4096


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"state": "gone"}', '{"state": "failed", "done": "x"}'])
def test_damaged_state_is_no_state(text: str, tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text(text)
    assert read_progress(tmp_path / "progress.json") is None

"""The lock that keeps two from the same work."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from damage_ssl.errors import StorageError, WorkspaceError
from damage_ssl.files import locked

HOLDS = (
    "import sys, time; from pathlib import Path; from damage_ssl.files import locked\n"
    "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
)


def test_lock_goes_with_the_process_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "folder" / ".lock"
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(WorkspaceError, match="somebody is at it"), locked(path, "somebody is at it"):
            pass
        holder.kill()
    with locked(path, "somebody is at it"):
        pass


def test_of_many_who_wait_one_at_a_time_is_in(tmp_path: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with locked(tmp_path / ".lock"):
                inside += 1
                most = max(most, inside)
                inside -= 1

    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert most == 1


def test_lock_is_let_go_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError), locked(tmp_path / ".lock"):
        raise ValueError
    with locked(tmp_path / ".lock", "busy"):
        pass


def test_lock_that_there_is_no_room_for_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("filelock.FileLock.acquire", full)
    with pytest.raises(StorageError, match="the disk is full"), locked(tmp_path / ".lock"):
        pass

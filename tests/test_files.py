"""Files that many write and read at once; the lock that keeps two from the same work."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from damage_ssl.errors import StorageError, WorkspaceError
from damage_ssl.files import atomic_directory, atomic_path, locked, read_json, sweep, write_json

HOLDS = (
    "import sys, time; from pathlib import Path; from damage_ssl.files import locked\n"
    "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
)


WRITES = (
    "import sys; from pathlib import Path; from damage_ssl.files import write_json\n"
    "for number in range(100): write_json(Path(sys.argv[1]), [number] * 2000)"
)


def test_eight_threads_and_three_processes_write_and_read_one_file(tmp_path: Path) -> None:
    path = tmp_path / "shared.json"
    write_json(path, [0] * 2000)
    faults: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for number in range(first, first + 50):
                write_json(path, [number] * 2000)
                found = read_json(path)
                assert len(found) == 2000 and len(set(found)) == 1
        except BaseException as error:
            faults.append(error)

    others = [subprocess.Popen([sys.executable, "-c", WRITES, str(path)]) for _ in range(3)]
    threads = [threading.Thread(target=work, args=(1000 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait() for other in others] == [0, 0, 0]
    assert not faults
    assert [each.name for each in tmp_path.iterdir()] == ["shared.json"]


def test_two_machines_whose_processes_have_the_same_number_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "shared.txt"
    with atomic_path(path) as here:
        here.write_text("here")
        with atomic_path(path) as there:  # another container: process 1, thread 1, as here
            there.write_text("there")
        assert path.read_text() == "there"
    assert path.read_text() == "here"


def test_what_killed_processes_left_is_swept_and_what_is_at_work_is_not(tmp_path: Path) -> None:
    for name, age_s in ((".town.ab12.tmp", 7200), (".town.cd34.old", 7200), (".town.ef56.tmp", 10)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "part.bin").write_bytes(b"x")
        for each in (folder / "part.bin", folder):
            os.utime(each, (time.time() - age_s,) * 2)
    half = tmp_path / ".map.geojson.77-ab.tmp.geojson"
    half.write_text("{")
    os.utime(half, (time.time() - 7200,) * 2)
    (tmp_path / ".jobs").mkdir()
    os.utime(tmp_path / ".jobs", (time.time() - 7200,) * 2)
    with atomic_directory(tmp_path / "town") as folder:
        (folder / "collection.json").write_text("{}")
    assert sorted(each.name for each in tmp_path.iterdir()) == [".jobs", ".town.ef56.tmp", "town"]
    assert sweep(tmp_path, older_than_s=5) == [tmp_path / ".town.ef56.tmp"]


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

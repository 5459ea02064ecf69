"""Work in other processes and on a cluster: the same bytes, whoever did it and whoever was killed."""

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from damage_ssl import parallel
from damage_ssl.errors import InputError, WorkerError
from damage_ssl.events.event import Event
from damage_ssl.mosaic import batches
from damage_ssl.parallel import check_shared_folder, run_tasks
from damage_ssl.patches import extraction
from damage_ssl.settings import PatchSettings, Resources
from damage_ssl.workflow import cut_patches
from tests.conftest import Town
from tests.patches.stores import content
from tests.patches.test_extract import SMALL


def squared(number: int) -> int:
    return number * number


def killed_once(number: int, *, folder: Path) -> int:
    """The first process that takes up number 3 is killed over it."""
    mark = folder / "killed"
    if number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def always_killed(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def failing(number: int) -> int:
    if number == 2:
        raise InputError(f"number {number}: is not liked; give another one")
    return number


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two worker processes on this machine, told nothing else than a cluster elsewhere would be."""
    distributed = pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    few = {"distributed.scheduler.allowed-failures": 1}
    with (
        dask.config.set(few),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
        ) as local,
    ):
        yield local


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    from distributed import Client

    with Client(cluster, set_as_default=False) as connected:
        connected.wait_for_workers(2, timeout=60)
        yield connected


def test_results_come_in_the_order_of_the_tasks_and_progress_counts_sizes() -> None:
    told: list[tuple[int, int]] = []
    found = list(run_tasks(squared, [3, 1, 2], Resources(), lambda *now: told.append(now), sizes=[5, 1, 4]))
    assert found == [9, 1, 4]
    assert told == [(5, 10), (6, 10), (10, 10)]


def test_processes_give_the_same_results_also_when_one_of_them_is_killed(tmp_path: Path) -> None:
    work = partial(killed_once, folder=tmp_path)
    assert list(run_tasks(work, range(8), Resources(workers=2))) == [number * number for number in range(8)]
    assert (tmp_path / "killed").exists()


@pytest.mark.long
def test_work_that_kills_every_process_is_given_up_with_a_word_on_memory() -> None:
    with pytest.raises(WorkerError, match=r"killed 3 times over the same work \(task 3 of 4\).*--memory"):
        list(run_tasks(always_killed, range(4), Resources(workers=1)))


def test_error_of_a_worker_is_the_users_error() -> None:
    with pytest.raises(InputError, match="number 2: is not liked"):
        list(run_tasks(failing, range(4), Resources(workers=1)))


def test_no_more_tasks_are_asked_for_than_the_workers_need() -> None:
    class Counted(list[int]):
        asked = 0

        def __getitem__(self, index: Any) -> Any:
            Counted.asked += 1
            return super().__getitem__(index)

    results = run_tasks(squared, Counted(range(50)), Resources(workers=1))
    next(results)
    assert Counted.asked <= 2 * parallel._AHEAD
    results.close()  # type: ignore[attr-defined]


def test_dask_gives_the_same_bytes_as_this_process(town: Town, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "CELL_PX", 60)
    event = town.create()
    alone = content(cut_patches(event, SMALL).path)
    (event.patches_path / "store.json").unlink()
    assert content(cut_patches(event, SMALL, client=client).path) == alone
    (event.patches_path / "store.json").unlink()
    by_address = Resources(cluster=client.scheduler.address)
    assert content(cut_patches(event, SMALL, resources=by_address).path) == alone


def test_killed_dask_worker_changes_no_byte(town: Town, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "CELL_PX", 60)
    event = town.create()
    alone = content(cut_patches(event, SMALL).path)
    (event.patches_path / "store.json").unlink()
    victims = list(client.run(os.getpid).values())
    killed: list[int] = []

    def kill(done: int, total: int) -> None:
        if done and not killed:
            killed.append(victims[0])
            os.kill(victims[0], signal.SIGKILL)

    assert content(cut_patches(event, SMALL, client=client, progress=kill).path) == alone
    assert killed


@pytest.mark.long
def test_dask_workers_that_are_killed_again_and_again_end_the_work(client: Any) -> None:
    with pytest.raises(WorkerError, match="workers were lost"):
        list(run_tasks(always_killed, range(3), Resources(), client=client))


def test_cluster_that_does_not_answer_is_named() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match=r"cluster tcp://127\.0\.0\.1:9: no Dask scheduler answers there"):
        list(run_tasks(squared, [1], Resources(cluster="tcp://127.0.0.1:9")))


def test_missing_distributed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install damage-ssl\[dask\]"):
        list(run_tasks(squared, [1], Resources(cluster="tcp://127.0.0.1:9")))


def test_folder_that_the_workers_do_not_see_is_named(tmp_path: Path) -> None:
    class Blind:
        """Stands for a client whose second worker is on a machine without this folder."""

        def run(self, _function: Any, token: Path) -> dict[str, str | None]:
            return {"tcp://a": token.read_text(encoding="utf-8"), "tcp://b": None}

    with pytest.raises(InputError, match=r"cluster worker tcp://b: does not see .*file system that all of them share"):
        check_shared_folder(tmp_path, client=Blind())  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_extraction_survives_a_killed_local_worker(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    import multiprocessing

    monkeypatch.setattr(batches, "CELL_PX", 60)
    event = town.create()
    alone = content(cut_patches(event, SMALL).path)
    (event.patches_path / "store.json").unlink()
    killed: list[int] = []

    def kill(done: int, total: int) -> None:
        children = multiprocessing.active_children()
        if done and children and not killed and children[0].pid:
            killed.append(children[0].pid)
            os.kill(children[0].pid, signal.SIGKILL)
            time.sleep(0.1)

    two = Resources(workers=2)
    assert content(cut_patches(event, SMALL, resources=two, progress=kill).path) == alone
    assert killed


def test_less_memory_changes_no_byte(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    event: Event = town.create()
    settings = PatchSettings(size_px=32, context_gsd_m=1.5, align="off")
    alone = content(cut_patches(event, settings).path)
    (event.patches_path / "store.json").unlink()
    monkeypatch.setattr(extraction, "reading_bytes", lambda *_, **__: 1)
    assert content(cut_patches(event, settings).path) == alone

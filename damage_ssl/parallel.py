"""Doing many tasks in their order: in this process, in local processes, or on a Dask cluster. Same results everywhere.

A task is thousands of pixels of work, never a building. A worker that is killed loses only what it was doing; that is
done again, a bounded number of times. `distributed` is imported only when a cluster is asked for.
"""

import os
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from damage_ssl.errors import InputError, WorkerError
from damage_ssl.progress import ProgressCallback
from damage_ssl.settings import Resources

if TYPE_CHECKING:
    from distributed import Client


Task = TypeVar("Task")
Result = TypeVar("Result")


MOST_ATTEMPTS = 3
_AHEAD = 2
"""Tasks submitted for each worker: one that it does and one that waits, so that it is never idle."""


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    resources: Resources,
    progress: ProgressCallback | None = None,
    *,
    sizes: Sequence[int] | None = None,
    client: "Client | None" = None,
) -> Iterator[Result]:
    """Results of `function(task)` for every task, in the order of the tasks, whoever did them and when.

    Args:
        function: defined at the top of a module (or a `functools.partial` of one), so that other processes find it.
        tasks: their values are sent to the processes; a task is asked for only when it is submitted.
        resources: how many processes, or which cluster.
        progress: told (done, all) after each task: tasks, or what `sizes` counts of each.
        sizes: how much each task counts for `progress`.
        client: a Dask client to use, instead of the address in `resources`.

    Raises:
        WorkerError: the same task's worker was killed `MOST_ATTEMPTS` times.
        InputError: the cluster cannot be used.
    """
    counts = list(sizes) if sizes is not None else [1] * len(tasks)
    done = 0
    for number, result in enumerate(_results(function, tasks, resources, client)):
        yield result
        done += counts[number]
        if progress:
            progress(done, sum(counts))


def _results(
    function: Callable[[Task], Result], tasks: Sequence[Task], resources: Resources, client: "Client | None"
) -> Iterator[Result]:
    if client is not None or resources.cluster is not None:
        return run_on_cluster(function, tasks, address=resources.cluster, client=client)
    if resources.workers > 0 and len(tasks) > 0:
        return _in_processes(function, tasks, min(resources.workers, len(tasks)))
    return (function(task) for task in tasks)


def _in_processes(function: Callable[[Task], Result], tasks: Sequence[Task], workers: int) -> Iterator[Result]:
    """Tasks in a pool of processes, which is made anew where one of them was killed."""
    attempts = [0] * len(tasks)
    first = 0  # tasks before this one are handed over
    while first < len(tasks):
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_prepare_worker)
        waiting: deque[Future[Result]] = deque()
        try:
            while first < len(tasks):
                while len(waiting) < _AHEAD * workers and first + len(waiting) < len(tasks):
                    waiting.append(pool.submit(function, tasks[first + len(waiting)]))
                result = waiting[0].result()
                waiting.popleft()
                yield result
                first += 1
        except BrokenProcessPool as error:
            for number in range(first, first + min(len(waiting), workers)):
                attempts[number] += 1
            if max(attempts) >= MOST_ATTEMPTS:
                raise WorkerError(
                    f"worker processes were killed {MOST_ATTEMPTS} times over the same work (task {first + 1} of "
                    f"{len(tasks)}); they may have run out of memory: use fewer --workers or a smaller "
                    "--memory (a script of your own must start its work under `if __name__ == '__main__':`)"
                ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _prepare_worker() -> None:
    """One thread a process: the processes are the parallelism."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


CONNECT_TIMEOUT_S = 10.0


def run_on_cluster(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    address: str | None = None,
    client: "Client | None" = None,
) -> Iterator[Result]:
    """Results in the order of the tasks; at most `_AHEAD` tasks a thread are on their way at a time.

    A task whose worker was lost is done again by another one, as often as the scheduler's
    `distributed.scheduler.allowed-failures` says (by default 3 times).

    Raises:
        InputError: `distributed` is not installed, there is no scheduler at the address, or it has no workers.
        WorkerError: the workers of one task were lost again and again.
    """
    with _connected(address, client) as connected:
        from distributed import KilledWorker

        where = connected.scheduler_info()["address"]
        threads = sum(connected.nthreads().values())
        if not threads:
            raise InputError(f"cluster {where}: has no workers; start some: dask worker ADDRESS")
        waiting: deque[Any] = deque()
        submitted = 0
        try:
            while submitted < len(tasks) or waiting:
                while submitted < len(tasks) and len(waiting) < _AHEAD * threads:
                    waiting.append(connected.submit(function, tasks[submitted], pure=False))
                    submitted += 1
                try:
                    result = waiting[0].result()
                except KilledWorker as error:
                    raise WorkerError(
                        f"cluster {where}: workers were lost again and again over the same work "
                        f"({error.last_worker.address} was the last); they may have run out of memory"
                    ) from error
                waiting.popleft()
                yield result
        finally:
            for future in waiting:
                future.cancel()


def check_shared_folder(folder: Path, *, address: str | None = None, client: "Client | None" = None) -> None:
    """Find out whether all workers see the files that this process writes into `folder`.

    Raises:
        InputError: one does not, or the cluster cannot be used.
    """
    token = folder / f".token.{uuid.uuid4().hex}"
    with _connected(address, client) as connected:
        token.write_text(token.name, encoding="utf-8")
        try:
            seen = connected.run(_reads, token)
        finally:
            token.unlink(missing_ok=True)
    blind = sorted(worker for worker, text in seen.items() if text != token.name)
    if blind:
        raise InputError(
            f"cluster worker {blind[0]}: does not see {folder}; workers read the imagery from, and write patches to, "
            "the same paths as this process: put the workspace on a file system that all of them share"
        )


@contextmanager
def _connected(address: str | None, client: "Client | None") -> Iterator[Any]:
    try:
        import distributed
    except ImportError:
        raise InputError(
            "--cluster: Dask's package 'distributed' is not installed; install it: pip install damage-ssl[dask]"
        ) from None
    if client is not None:
        yield client
        return
    try:
        connect: Any = distributed.Client
        opened = connect(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"cluster {address}: no Dask scheduler answers there ({' '.join(str(error).split())}); "
            "give the address that `dask scheduler` prints, e.g. tcp://127.0.0.1:8786"
        ) from error
    try:
        yield opened
    finally:
        opened.close()


def _reads(token: Path) -> str | None:
    try:
        return token.read_text(encoding="utf-8")
    except OSError:
        return None

"""Doing many tasks in their order: in this process, in local processes, or on a Dask cluster. Same results everywhere.

A task is thousands of pixels of work, never a building. A worker that is killed loses only what it was doing; that is
done again, a bounded number of times.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TYPE_CHECKING, TypeVar

from damage_ssl.errors import WorkerError
from damage_ssl.patches.batches import Batch, Batches, make_batches
from damage_ssl.settings import Resources

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Batch", "Batches", "make_batches", "run_tasks"]

Task = TypeVar("Task")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]

MOST_ATTEMPTS = 3
_AHEAD = 2
"""Tasks submitted for each worker: one that it does and one that waits, so that it is never idle."""


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    resources: Resources,
    progress: Progress | None = None,
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
        from damage_ssl.patches.cluster import run_on_cluster

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

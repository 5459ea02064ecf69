"""The same tasks on the workers of a Dask cluster (`distributed` is imported only when one is asked for)."""

import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from damage_ssl.errors import InputError, WorkerError

if TYPE_CHECKING:
    from distributed import Client

Task = TypeVar("Task")
Result = TypeVar("Result")

CONNECT_TIMEOUT_S = 10.0
_AHEAD = 2


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

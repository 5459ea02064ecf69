"""No process that a page began outlives its test: training and features would slow down all tests after it."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from app.jobs import job


@pytest.fixture(autouse=True)
def started_processes_end_with_the_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    started: list[subprocess.Popen[bytes]] = []

    class Recorded:
        """`subprocess` as `app.jobs.job` sees it."""

        def __getattr__(self, name: str) -> Any:
            return getattr(subprocess, name)

        @staticmethod
        def Popen(*args: Any, **kwargs: Any) -> "subprocess.Popen[bytes]":
            process = subprocess.Popen(*args, **kwargs)
            started.append(process)
            return process

    monkeypatch.setattr(job, "subprocess", Recorded())
    yield
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=20)

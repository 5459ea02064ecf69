"""A real PostgreSQL server for the tests, where its programs are installed."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def _program(name: str) -> str | None:
    """A program of the newest installed PostgreSQL; Debian keeps them off the PATH."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return str(installed[0]) if installed else shutil.which(name)


def _as_database_user(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root; Debian's package brings a user for it."""
    if os.geteuid() != 0:
        return command
    runuser = shutil.which("runuser", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or "runuser"
    return [runuser, "-u", "postgres", "--", *command]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a server of our own on a free local port; the test is skipped where PostgreSQL is not installed."""
    pytest.importorskip("psycopg", reason="the driver psycopg is not installed (pip install 'damage-ssl[postgres]')")
    initdb, server = _program("initdb"), _program("postgres")
    if initdb is None or server is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="ds-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    data = folder / "data"
    setup = [
        initdb,
        "--auth=trust",
        "--username=analyst",
        "--no-sync",
        "--encoding=UTF8",
        "--locale=C",
        "-D",
        str(data),
    ]
    try:
        subprocess.run(_as_database_user(setup), check=True, capture_output=True, cwd=folder)
        options = ["-c", "listen_addresses=127.0.0.1", "-p", str(port), "-k", str(folder), "-c", "fsync=off"]
        log = (folder / "log").open("wb")
        process = subprocess.Popen(
            _as_database_user([server, "-D", str(data), *options]), stdout=log, stderr=subprocess.STDOUT, cwd=folder
        )
        try:
            _wait(port, process)
            yield f"postgresql://analyst@127.0.0.1:{port}/postgres"
        finally:
            process.terminate()
            process.wait(20)
            log.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    import time

    import psycopg

    for _ in range(100):
        if process.poll() is not None:
            break
        try:
            psycopg.connect(f"postgresql://analyst@127.0.0.1:{port}/postgres", connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.1)
    raise RuntimeError("the PostgreSQL server of the tests did not start")

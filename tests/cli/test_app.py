"""How `damage-ssl app` starts the server."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from damage_ssl.cli import app


def test_server_listens_here_only_and_shares_few_arenas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []

    def serve(command: list[str], environment: dict[str, str]) -> int:
        started.append((command, environment))
        return 3

    monkeypatch.setattr(app, "_serve", serve)
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    options: dict[str, Any] = {"port": 8765, "address": "127.0.0.1", "read_only": True, "secrets": None}
    with pytest.raises(SystemExit) as ended:
        app.app(tmp_path / "new", **options)
    [(command, environment)] = started
    assert ended.value.code == 3
    assert command[command.index("--server.address") + 1] == "127.0.0.1"
    assert command[-3:] == ["--workspace", str((tmp_path / "new").resolve()), "--read-only"]
    assert environment["MALLOC_ARENA_MAX"] == "2"
    assert environment["DAMAGE_SSL_WORKSPACE"] == str((tmp_path / "new").resolve())


def test_missing_packages_of_the_app_are_named_with_the_way_to_install_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "find_spec", lambda name: None if name == "streamlit" else name)
    monkeypatch.setattr(app, "_serve", lambda *_: pytest.fail("nothing should be started"))
    with pytest.raises(SystemExit) as ended:
        app.app(tmp_path / "new", port=8765, address="127.0.0.1", read_only=False, secrets=None)
    assert ended.value.code == 2
    assert not (tmp_path / "new").exists()


def test_server_ends_with_the_command_that_started_it() -> None:
    code = (
        "import os, sys; from damage_ssl.cli.app import _serve\n"
        "child = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'\n"
        "sys.exit(_serve([sys.executable, '-c', child], dict(os.environ)) != 0)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    server = int(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)

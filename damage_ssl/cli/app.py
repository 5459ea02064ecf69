"""`damage-ssl app`: the Streamlit app, started as a process of its own."""

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from damage_ssl.cli.console import command
from damage_ssl.cli.options import WORKSPACE, Workspace
from damage_ssl.errors import DamageSSLError
from damage_ssl.processes import END_SIGNALS


def app(
    workspace: Workspace = WORKSPACE,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
    address: Annotated[str, typer.Option(help="Where to listen; anything but localhost needs sign-in.")] = "localhost",
    read_only: Annotated[bool, typer.Option("--read-only", help="Everybody may look and download only.")] = False,
    no_token: Annotated[
        bool,
        typer.Option("--no-token", help="Let in whoever uses this machine, without the token of the printed address."),
    ] = False,
    secrets: Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file with [auth] for sign-in.")] = None,
) -> None:
    """Open the map viewer in the browser; on this machine only, unless sign-in is configured (docs/access.md)."""
    with command(json=False) as console:
        entry = Path(__file__).resolve().parents[2] / "app" / "main.py"
        if not entry.exists():
            raise DamageSSLError(
                f"{entry}: the app is not installed beside the package; run it from a checkout: make app"
            )
        if missing := [name for name in ("streamlit", "starlette", "itsdangerous") if find_spec(name) is None]:
            raise DamageSSLError(f"the app needs {', '.join(missing)}; install it: pip install 'damage-ssl[app]'")
        workspace.mkdir(parents=True, exist_ok=True)
        if secrets is not None and not secrets.is_file():
            raise DamageSSLError(f"{secrets}: there is no such file; docs/access.md says what belongs in it")
        console.say("The app prints the address to open; stop it with Ctrl+C.")
        # The app itself refuses an address beyond this machine without sign-in.
        words = [sys.executable, "-m", "streamlit", "run", str(entry), "--server.port", str(port)]
        words += ["--server.address", address, "--browser.gatherUsageStats", "false", "--server.headless", "true"]
        words += [] if secrets is None else ["--secrets.files", str(secrets.resolve())]
        words += ["--", "--workspace", str(workspace.resolve()), *(["--read-only"] if read_only else [])]
        words += ["--no-token"] if no_token else []
        # Every request has a thread, and glibc gives each an arena: a sixth of the memory at 300,000 buildings.
        environment = {"MALLOC_ARENA_MAX": "2", **os.environ, "DAMAGE_SSL_WORKSPACE": str(workspace.resolve())}
        raise SystemExit(_serve(words, environment))


def _serve(words: list[str], environment: dict[str, str]) -> int:
    """Run the server and give its exit code; whoever asks this process to end (systemd, a container) ends it too."""
    with subprocess.Popen(words, env=environment) as process:  # noqa: S603 - no shell reads the words
        before = {number: signal.signal(number, lambda *_: process.terminate()) for number in END_SIGNALS}
        try:
            return process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

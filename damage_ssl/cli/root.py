"""The command itself: groups hung in, version, app.

One command a stage. Each imports what it needs when it runs, so that `--help` answers at once.

What each command does: calls the pipeline, shows progress, says what happened and what comes next.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from damage_ssl import __version__
from damage_ssl.cli.benchmark import benchmark_command
from damage_ssl.cli.catalogue import catalog_cli
from damage_ssl.cli.console import Console
from damage_ssl.cli.evaluation import evaluate, views_command
from damage_ssl.cli.events import init, simulate, status
from damage_ssl.cli.footprints import footprints_cli
from damage_ssl.cli.imagery import imagery_cli
from damage_ssl.cli.labels import label_cli
from damage_ssl.cli.learning import ensemble_command, features, predict, pretrain_command, train, zero_label
from damage_ssl.cli.options import WORKSPACE, Workspace
from damage_ssl.cli.patches import patches, register_command
from damage_ssl.cli.products import assess, export
from damage_ssl.errors import DamageSSLError

cli = typer.Typer(
    help="Building damage maps from pre/post imagery and a handful of labels.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@cli.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True)] = False,
) -> None:
    """Building damage maps from pre/post imagery and a handful of labels."""


def app(
    workspace: Workspace = WORKSPACE,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
    address: Annotated[str, typer.Option(help="Where to listen; anything but localhost needs sign-in.")] = "localhost",
    read_only: Annotated[bool, typer.Option("--read-only", help="Everybody may look and download only.")] = False,
    secrets: Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file with [auth] for sign-in.")] = None,
) -> None:
    """Open the map viewer in the browser; on this machine only, unless sign-in is configured (docs/access.md)."""
    console = Console(json_output=False)
    with console.errors():
        run_app(console, workspace, port=port, address=address, read_only=read_only, secrets=secrets)


def run_app(
    console: Console, workspace: Path, *, port: int, address: str, read_only: bool, secrets: Path | None
) -> None:
    """Run the Streamlit app, which itself refuses an address beyond this machine without sign-in."""
    entry = Path(__file__).resolve().parents[2] / "app" / "main.py"
    if not entry.exists():
        raise DamageSSLError(f"{entry}: the app is not installed beside the package; run it from a checkout: make app")
    workspace.mkdir(parents=True, exist_ok=True)
    if secrets is not None and not secrets.is_file():
        raise DamageSSLError(f"{secrets}: there is no such file; docs/access.md says what belongs in it")
    console.say(f"http://{address}:{port} (stop with Ctrl+C)")
    command = [sys.executable, "-m", "streamlit", "run", str(entry), "--server.port", str(port)]
    options = ["--server.address", address, "--browser.gatherUsageStats", "false", "--server.headless", "true"]
    options += [] if secrets is None else ["--secrets.files", str(secrets.resolve())]
    options += ["--", "--workspace", str(workspace.resolve()), *(["--read-only"] if read_only else [])]
    # Every request has a thread, and glibc gives each an arena of its own: a sixth of the memory at 300,000 buildings.
    environment = {"MALLOC_ARENA_MAX": "2", **os.environ, "DAMAGE_SSL_WORKSPACE": str(workspace.resolve())}
    raise SystemExit(subprocess.run([*command, *options], env=environment, check=False).returncode)


for command in (init, status, patches, zero_label, features, train, predict, evaluate, export, simulate, assess, app):
    cli.command()(command)
cli.command("register")(register_command)
cli.command("pretrain")(pretrain_command)
cli.command("ensemble")(ensemble_command)
cli.command("benchmark")(benchmark_command)
cli.command("views")(views_command)
cli.add_typer(label_cli, name="label")
cli.add_typer(footprints_cli, name="footprints")
cli.add_typer(imagery_cli, name="imagery")
cli.add_typer(catalog_cli, name="catalog")

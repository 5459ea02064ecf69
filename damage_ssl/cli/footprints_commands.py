"""`damage-ssl footprints`: fetch footprints, or detect them where there are none."""

import typer

footprints_cli = typer.Typer(
    help="Building footprints: fetch them, or detect them where there are none.", no_args_is_help=True
)

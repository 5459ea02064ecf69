"""`damage-ssl imagery`: find open imagery."""

import typer

imagery_cli = typer.Typer(help="Open imagery: search STAC catalogues.", no_args_is_help=True)

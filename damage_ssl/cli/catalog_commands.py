"""`damage-ssl catalog`: events whose imagery and footprints are known."""

import typer

catalog_cli = typer.Typer(help="Known events: where their imagery and footprints can be had.", no_args_is_help=True)

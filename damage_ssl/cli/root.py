"""The command `damage-ssl`: its commands by name. A command's module is imported when it runs or its help is asked for.

`--help` reads what stands behind each name from the source of the modules, so that it answers at once.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from damage_ssl import __version__

Names = Mapping[str, "str | Names"]
"""Where each command is, `module:function` below `damage_ssl.cli`; a group of commands under the group's name."""

COMMANDS: Names = {
    "catalog": {"list": "catalogue:list_events", "show": "catalogue:show", "add": "catalogue:add"},
    "imagery": {"search": "imagery:search"},
    "simulate": "events:simulate",
    "init": "events:init",
    "define": "events:define",
    "add-scene": "updates:add_scene",
    "status": "events:status",
    "footprints": {"fetch": "footprints:fetch", "use": "footprints:use", "detect": "detection:detect"},
    "register": "patches:register",
    "patches": "patches:patches",
    "zero-label": "learning:zero_label",
    "features": "learning:features",
    "label": {
        "import": "labels:import_file",
        "export": "labels:export",
        "next": "labels:propose",
        "outlook": "labels:outlook",
        "agreement": "labels:compare",
    },
    "model": {
        "list": "model:list_models",
        "build": "model:build",
        "export": "model:export",
        "import": "model:import_model",
    },
    "views": "evaluation:views",
    "pretrain": "learning:pretrain",
    "train": "learning:train",
    "predict": "learning:predict",
    "ensemble": "learning:ensemble",
    "evaluate": "evaluation:evaluate",
    "totals": "totals:totals",
    "diff": "updates:diff",
    "export": "products:export",
    "assess": "products:assess",
    "benchmark": "benchmark:benchmark",
    "doctor": "upkeep:doctor",
    "backup": "upkeep:backup",
    "restore": "upkeep:restore",
    "app": "app:app",
}
GROUPS = {
    "catalog": "Known events: where their imagery and footprints can be had.",
    "imagery": "Open imagery: search STAC catalogues.",
    "footprints": "Building footprints: fetch them, take your own, or detect them where there are none.",
    "model": "Prior models: what damage looks like elsewhere, for an event that has no labels yet.",
    "label": "Labels in, out, which building is next, how far analysts agree.",
}
HIDDEN = {"outlook"}
"""Commands that the app starts, and that nobody else needs."""

_PLAIN: dict[str, Any] = {"rich_markup_mode": None, "context_settings": {"max_content_width": 120}}
"""Help as it is written: as markup, rich would take `[train]` for a style and leave it out."""


class LazyGroup(TyperGroup):
    """Commands that are imported when they are asked for."""

    def __init__(self, *, names: Names = COMMANDS, commands: object = None, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = cast("dict[str, Any]", _Commands(names))
        self._names = names

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write what each command does, in all of its words, without importing it."""
        rows = [
            (name, _summary(*place.split(":")) if isinstance(place, str) else GROUPS[name])
            for name, place in self._names.items()
            if name not in HIDDEN
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class _Commands(Mapping[str, Any]):
    def __init__(self, names: Names) -> None:
        self._names = names
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _command(name, self._names[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _command(name: str, place: "str | Names") -> Any:
    if not isinstance(place, str):
        return LazyGroup(name=name, names=place, help=GROUPS[name], no_args_is_help=True, **_PLAIN)
    module, function = place.split(":")
    one = typer.Typer(add_completion=False, **_PLAIN)
    one.command(name, hidden=name in HIDDEN)(getattr(import_module(f"damage_ssl.cli.{module}"), function))
    return typer.main.get_command(one)


def _summary(module: str, function: str) -> str:
    """The first paragraph of a function's docstring."""
    return " ".join(_docstrings(module)[function].partition("\n\n")[0].split())


@cache
def _docstrings(module: str) -> dict[str, str]:
    tree = ast.parse(Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8"))
    return {node.name: ast.get_docstring(node) or "" for node in tree.body if isinstance(node, ast.FunctionDef)}


cli = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, **_PLAIN)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@cli.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Building damage maps from pre/post imagery and a handful of labels."""


_LISTS = ("--pre", "--post", "--footprints", "--runs")


def spread_path_lists(argv: Sequence[str]) -> list[str]:
    """`--pre a b c` → `--pre a --pre b --pre c`, so that a glob that the shell expanded is one option's value."""
    return list(_spread(argv))


def _spread(argv: Sequence[str]) -> Iterator[str]:
    flag: str | None = None
    values = 0
    for argument in argv:
        if argument.startswith("-"):
            flag = argument if argument in _LISTS else None
            values = 0
        elif flag is not None:
            values += 1
            if values > 1:
                yield flag
        yield argument

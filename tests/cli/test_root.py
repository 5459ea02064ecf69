"""The command as a whole: what `--help` prints, and what a command loads."""

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from damage_ssl.cli.root import COMMANDS, GROUPS, HIDDEN, Names, cli
from damage_ssl.simulation.event import SimulatedEvent
from tests.cli.conftest import Outcome, grades_of, inputs_of, write_labels

Run = Callable[..., Outcome]

HEAVY = ("geopandas", "pandas", "pyproj", "rasterio", "scipy", "sklearn", "sqlalchemy", "torch", "zarr")


def places(names: Names = COMMANDS, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, place in names.items():
        if isinstance(place, str):
            yield (*path, name), place
        else:
            yield from places(place, (*path, name))


def function_at(place: str) -> Callable[..., None]:
    module, function = place.split(":")
    found: Callable[..., None] = getattr(import_module(f"damage_ssl.cli.{module}"), function)
    return found


def command_at(path: tuple[str, ...]) -> Any:
    command: Any = typer.main.get_command(cli)
    for name in path:
        command = command.commands[name]
    return command


def squeezed(text: str) -> str:
    """Without the blanks, which stand elsewhere where lines are broken."""
    return "".join(text.split())


@pytest.mark.parametrize(("path", "place"), list(places()), ids=[" ".join(path) for path, _ in places()])
def test_help_of_a_command_shows_every_word_of_it_and_of_its_options(
    run: Run, path: tuple[str, ...], place: str
) -> None:
    shown = run(*path, "--help")
    assert shown.code == 0
    printed = squeezed(shown.out)
    assert squeezed(inspect.getdoc(function_at(place)) or "?") in printed
    for parameter in command_at(path).params:
        assert squeezed(parameter.help) in printed, parameter.name
        assert all(option in printed for option in parameter.opts if option.startswith("-")), parameter.name


@pytest.mark.parametrize("group", ["", *GROUPS])
def test_help_of_a_group_shows_what_each_of_its_commands_does(run: Run, group: str) -> None:
    names = COMMANDS[group] if group else COMMANDS
    assert not isinstance(names, str)
    printed = squeezed(run(*filter(None, [group]), "--help").out)
    for name, place in names.items():
        words = GROUPS[name] if not isinstance(place, str) else inspect.getdoc(function_at(place)) or "?"
        assert (squeezed(name + words.partition("\n\n")[0]) in printed) == (name not in HIDDEN)


def test_every_group_says_what_it_is_for() -> None:
    assert set(GROUPS) == {name for name, place in COMMANDS.items() if not isinstance(place, str)}


def loaded_by(*arguments: str) -> set[str]:
    """The modules that a command has loaded when it ends."""
    code = (
        "import sys\nfrom damage_ssl.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print('\\n' + '\\n'.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("arguments", [["--help"], ["label", "--help"], ["--version"]])
def test_help_loads_no_command(arguments: list[str]) -> None:
    loaded = loaded_by(*arguments)
    assert {name for name in loaded if name.startswith("damage_ssl.cli.")} == {"damage_ssl.cli.root"}
    assert not loaded & {*HEAVY, "numpy", "rich"}


def test_short_commands_load_only_what_they_use(run: Run, simulated: SimulatedEvent, cut: Path, tmp_path: Path) -> None:
    at = ["--workspace", str(cut)]
    labels = write_labels(tmp_path / "labels.csv", dict(list(grades_of(simulated.truth).items())[:40]))
    run("label", "import", "town", labels, *at)
    assert loaded_by("status", "town", *at) & set(HEAVY) == {"sqlalchemy"}
    assert loaded_by("label", "next", "town", *at) & set(HEAVY) == {"sqlalchemy", "pandas"}


def test_work_that_has_nothing_to_do_says_so_and_shows_no_bar(
    run: Run, simulated: SimulatedEvent, tmp_path: Path
) -> None:
    at = ["--workspace", tmp_path / "w"]
    run("init", "town", *inputs_of(simulated), *at)
    first, again = run("patches", "town", *at), run("patches", "town", *at)
    assert "90/90" in first.err and "nothing changed" not in first.out
    assert again.err.strip() == ""
    assert again.out == "nothing changed since the patches were cut\n" + first.out
    registered = run("register", "town", *at)
    assert registered.out.startswith("nothing changed since the shifts were measured\n")
    assert run("patches", "town", *at, "--json").json["assessable"] > 0

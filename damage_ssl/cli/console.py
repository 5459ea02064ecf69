"""What a command says: people read stderr and a short summary, machines read one JSON object on stdout."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from damage_ssl.errors import DamageSSLError
from damage_ssl.progress import reported, reporter


class Bar(Protocol):
    """Moves a progress bar to `done` of `total`, with a remark behind it."""

    def __call__(self, done: int, total: int, remark: str = "") -> None: ...


class Console:
    """Output of one command; with `json_output` the only thing on stdout is one JSON object at the end."""

    def __init__(self, *, json_output: bool) -> None:
        self.json_output = json_output
        self._out = RichConsole(highlight=False, soft_wrap=True)
        self._err = RichConsole(stderr=True, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """One line for a person; nothing in JSON mode."""
        if not self.json_output:
            self._out.print(escape(text))

    def warn(self, text: str) -> None:
        """One line on stderr, in both modes."""
        self._err.print(f"[yellow]note[/] {escape(text)}")

    def result(self, values: dict[str, Any]) -> None:
        """The command's result for a machine; nothing in the mode for people, who were told by `say`."""
        if self.json_output:
            sys.stdout.write(json.dumps(values, allow_nan=False, ensure_ascii=False, default=str) + "\n")

    @contextmanager
    def progress(self, label: str) -> Iterator[Bar]:
        """A progress bar on stderr, moved by the yielded function; nothing in JSON mode. Also told to who watches."""
        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[remark]}"),
        )
        with Progress(*columns, console=self._err, disable=self.json_output) as bar:
            task = bar.add_task(label, total=None, remark="")

            watcher = reporter()
            if watcher is not None:
                watcher.move(label, 0, 0)

            def move(done: int, total: int, remark: str = "") -> None:
                bar.update(task, completed=done, total=total, remark=escape(remark))
                if watcher is not None:
                    watcher.move("register" if remark == "registering" else label, done, total, remark)

            yield move

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Print a user's error as one message and exit with its code; anything else is a defect and keeps its trace."""
        try:
            with reported():
                yield
        except DamageSSLError as error:
            if self.json_output:
                sys.stdout.write(json.dumps({"error": str(error), "kind": type(error).__name__}) + "\n")
            self._err.print(f"[red]error[/] {escape(str(error))}")
            raise SystemExit(error.exit_code) from error
        except KeyboardInterrupt as error:
            self._err.print("stopped; what was finished is kept, and the same command goes on from there")
            raise SystemExit(130) from error


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Whether the process was asked to end (Ctrl+C, SIGTERM), so that a training can stop between two steps.

    A second request ends the process at once.
    """
    asked = False

    def ask(number: int, _frame: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(number, signal.default_int_handler)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Silent(Console):
    """A console for the inner stages of `assess --json`, whose results are not the answer."""

    def result(self, values: dict[str, Any]) -> None:
        """Nothing."""

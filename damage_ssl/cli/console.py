"""What a command says: people read stderr and a short summary, machines read one JSON object on stdout."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from damage_ssl.errors import DamageSSLError
from damage_ssl.processes import END_SIGNALS
from damage_ssl.progress import reporter

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.progress import Progress


class Bar:
    """One stage of a command: a line on stderr, moved by calling it; who watches is told too."""

    def __init__(self, display: "Progress", label: str, stages: "list[Bar]") -> None:
        self.moved = False
        self._display = display
        self._label = label
        self._line = display.add_task(label, total=None, remark="", visible=not stages)
        self._stages = stages
        stages.append(self)

    def __call__(self, done: int, total: int, remark: str = "") -> None:
        """Move to `done` of `total` (0: not known), with a remark behind."""
        from rich.markup import escape

        if not self.moved:
            self.moved = True
            for stage in self._stages:
                stage.hide_idle()
        self._display.update(self._line, completed=done, total=total or None, remark=escape(remark), visible=True)
        self.report(done, total, remark)

    def report(self, done: int, total: int, remark: str = "") -> None:
        """Tell who watches, if anybody does, and show nothing."""
        watcher = reporter()
        if watcher is not None:
            watcher.move(self._label, done, total, remark)

    def then(self, label: str) -> "Bar":
        """A later stage of the same work; its line appears when it moves."""
        return Bar(self._display, label, self._stages)

    def hide_idle(self) -> None:
        """Take the line away where the stage has not moved."""
        if not self.moved:
            self._display.update(self._line, visible=False)


class Console:
    """Output of one command; with `json_output` the only thing on stdout is one JSON object at the end."""

    def __init__(self, *, json_output: bool) -> None:
        self.json_output = json_output

    def say(self, text: str) -> None:
        """One line for a person; nothing in JSON mode."""
        if not self.json_output:
            sys.stdout.write(text + "\n")

    def warn(self, text: str) -> None:
        """One line on stderr, in both modes."""
        self._mark("yellow", "note", text)

    def result(self, values: dict[str, Any]) -> None:
        """The command's result for a machine; nothing in the mode for people, who were told by `say`."""
        if self.json_output:
            sys.stdout.write(json.dumps(values, allow_nan=False, ensure_ascii=False, default=str) + "\n")

    @contextmanager
    def progress(self, label: str, *, idle: str | None = None) -> Iterator[Bar]:
        """A progress bar on stderr, moved by calling what is yielded; nothing in JSON mode.

        Work that ends without having moved it had nothing to do: then there is no bar, and `idle` is said.
        """
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[remark]}"),
        )
        stages: list[Bar] = []
        with Progress(*columns, console=self._err, disable=self.json_output) as display:
            first = Bar(display, label, stages)
            first.report(0, 0)
            yield first
            for stage in stages:
                stage.hide_idle()
            idled = not any(stage.moved for stage in stages)
            display.live.transient = idled
        if idle is not None and idled:
            self.say(idle)

    def error(self, error: DamageSSLError) -> None:
        """A user's error as one message, in JSON mode also as the object on stdout."""
        if self.json_output:
            sys.stdout.write(json.dumps({"error": str(error), "kind": type(error).__name__}) + "\n")
        self._mark("red", "error", str(error))

    def _mark(self, colour: str, word: str, text: str) -> None:
        from rich.markup import escape

        self._err.print(f"[{colour}]{word}[/] {escape(text)}")

    @cached_property
    def _err(self) -> "RichConsole":
        from rich.console import Console as RichConsole

        return RichConsole(stderr=True, highlight=False, soft_wrap=True)


class SilentConsole(Console):
    """A console for the inner steps of `assess --json`, whose results are not the answer."""

    def result(self, values: dict[str, Any]) -> None:
        """Nothing."""


@contextmanager
def command(*, json: bool) -> Iterator[Console]:
    """The console of one command. A user's error is printed as one message and ends it with the error's exit code.

    Anything else that is raised is a defect and keeps its trace.
    """
    console = Console(json_output=json)
    try:
        yield console
    except DamageSSLError as error:
        console.error(error)
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt as error:
        sys.stderr.write("stopped; what was finished is kept, and the same command goes on from there\n")
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

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, *END_SIGNALS)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""What a person at a terminal is asked, once; without a terminal nothing is asked, and what is taken is said."""

import sys
from collections.abc import Mapping

from damage_ssl.cli.console import Console
from damage_ssl.damage_scale import DEFAULT_SCHEME
from damage_ssl.events.definition import SHORT_WORDS, state_scheme, stated_scheme, training_scheme
from damage_ssl.events.event import Event
from damage_ssl.events.licence import LICENCE_NOT_STATED, recorded_licence
from damage_ssl.runs.run import Run


def can_ask(console: Console) -> bool:
    """True where a person sits at a terminal."""
    return not console.json_output and sys.stdin.isatty() and sys.stdout.isatty()


def settle_definition(console: Console, event: Event, asked: str | None = None) -> None:
    """Make sure that it is known, and said, what counts as damaged in the event.

    What is `asked` for in a training is checked; where nothing is stated, a person is asked, once for the event.

    Raises:
        SettingsError: what is asked for is not known, or does not fit what is stated.
        WorkspaceError: the definition's file is damaged.
    """
    if asked is None and stated_scheme(event) is None and can_ask(console):
        console.say(f"What counts as damaged in event '{event.name}'? It holds for labels, models and maps.")
        state_scheme(event, _choose("damaged is", SHORT_WORDS, DEFAULT_SCHEME))
    scheme = training_scheme(event, asked)
    default = asked is None and stated_scheme(event) is None
    hint = f" (not stated for the event; to say otherwise: damage-ssl define {event.name} --scheme ...)"
    console.say(scheme.statement + (hint if default else ""))


def settle_licence(console: Console, event: Event, given: str | None) -> str | None:
    """The licence that goes with a map: what was given, what the event's catalogue says, or what a person says.

    None where nobody knows; it is said in a line then.
    """
    licence = given or recorded_licence(event)
    if licence is None and can_ask(console):
        import typer

        question = "Licence and source that the receiver is told (empty: not stated)"
        licence = str(typer.prompt(question, default="", show_default=False)).strip() or None
    console.say(f"licence: {licence or LICENCE_NOT_STATED}")
    return licence


def settle_run(console: Console, event: Event) -> tuple[Run | None, str]:
    """The run that a map is made of where none is named, the best one, and why, which is said too.

    A person is asked where there are several and none is validated.

    Raises:
        WorkspaceError: the event's definition is damaged.
    """
    from damage_ssl.runs.best import best_model, runs_of_event

    found = best_model(event)
    console.say(found.why)
    run = None if found.model is None else found.model.run
    if run is None or found.validated or not can_ask(console):
        return run, found.why
    models = {model.model_id: model for model in runs_of_event(event).answering}
    titles = {name: model.kind.title or model.algorithm for name, model in models.items()}
    chosen = models[_choose("which run", titles, run.run_id)].run
    return chosen, found.why if chosen == run else f"run {chosen.run_id}: chosen by hand"


def _choose(question: str, options: Mapping[str, str], default: str) -> str:
    import click
    import typer

    for name, words in options.items():
        typer.echo(f"  {name}: {words}")
    return str(typer.prompt(question, default=default, type=click.Choice(list(options))))

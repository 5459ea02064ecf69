"""Which finished run a map is made of where nobody names one: never a worse one because it is newer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from damage_ssl.errors import DamageSSLError, WorkspaceError
from damage_ssl.evaluation import intervals
from damage_ssl.evaluation.metrics import LEAST_VALIDATED, Evaluation, enough_to_validate
from damage_ssl.events.definition import damage_scheme, stated_scheme
from damage_ssl.events.event import Event
from damage_ssl.patches.store import PatchStore
from damage_ssl.runs.ensemble import ENSEMBLE, common_gain
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.runs.predictions import predicted_buildings
from damage_ssl.runs.run import Run, named_run, runs_in
from damage_ssl.runs.validation import validation_of


@dataclass(frozen=True)
class RunsOfEvent:
    """The finished runs of an event by what they can say of its definition of damaged, each oldest first.

    `answering` can be taken, read under the event's definition; `others` answer another question; `unreadable` are of
    another version or damaged.
    """

    answering: tuple[FinishedRun, ...]
    others: tuple[FinishedRun, ...]
    unreadable: tuple[Run, ...]


def runs_of_event(event: Event) -> RunsOfEvent:
    """Every finished run, sorted by what it can say.

    A run that tells damaged from intact by the event's definition, but not the grades that the event asks for, answers
    where no run has them; and where nobody has stated a definition, trained runs of another one than the default answer
    where there are no others, as in events of older versions.

    Raises:
        WorkspaceError: the event's definition is damaged.
    """
    scheme = damage_scheme(event)
    whole: list[FinishedRun] = []
    coarse: list[FinishedRun] = []
    others: list[FinishedRun] = []
    unreadable: list[Run] = []
    for run in runs_in(event.runs_path):
        if not run.finished:
            continue
        model = FinishedRun(run, scheme)
        try:
            _ = model.calibration, model.unseen, predicted_buildings(run)
            own = model.scheme
        except (DamageSSLError, OSError, ValueError, LookupError, TypeError):
            unreadable.append(run)
            continue
        fitting = whole if own == scheme else coarse if own.damaged_grades == scheme.damaged_grades else others
        fitting.append(model)
    answering, aside = whole or coarse, [*(coarse if whole else []), *others]
    if stated_scheme(event) is None and not any(model.kind.learns for model in answering):
        answering, aside = [*answering, *others], []
    return RunsOfEvent(_in_order(answering), _in_order(aside), tuple(unreadable))


def _in_order(models: Sequence[FinishedRun]) -> tuple[FinishedRun, ...]:
    return tuple(sorted(models, key=lambda each: each.run.begun))


@dataclass(frozen=True)
class RunChoice:
    """Which run is taken where none is named, as the model behind a map, and why; None: there is none to take."""

    model: FinishedRun | None
    why: str
    validated: bool = False


def best_run(event: Event) -> tuple[Run | None, str]:
    """The run to take where none is named, and why, in a sentence; None where there is none. See `best_model`.

    Examples:
        >>> best_run(event)[0] == run
        True
    """
    chosen = best_model(event)
    return None if chosen.model is None else chosen.model.run, chosen.why


def best_model(event: Event) -> RunChoice:
    """The run to take where none is named, read under the event's definition.

    Of the runs that answer the event's definition of damaged, on the buildings that can be assessed now, it is the best
    validated one, else the newest; one that labels taught goes before one without labels. A newer validated run
    replaces an older one only where it is not worse: by AUROC on the buildings that both held out where these suffice
    (`enough_to_validate`), else by the lower end of its interval on its own. An ensemble is taken only with a measured
    gain over its best member, and has to be better than what it replaces.

    Raises:
        WorkspaceError: the event's definition is damaged.
    """
    runs = runs_of_event(event)
    aside = _aside(event, runs)
    current = list(_current(event, runs.answering)) or list(runs.answering)
    gaining = [model for model in current if not _lost(model)] or current
    models = [model for model in gaining if model.kind.learns] or gaining
    if not models:
        nothing = "the map holds coverage and the analysts' answers only"
        return RunChoice(None, f"{'no run answers it' if aside else 'no finished run yet'}: {nothing}{aside}")
    aside = (
        _named("left out, since it has no gain over its best member", [m for m in current if m not in gaining]) + aside
    )
    measured = ((model, validation_of(event, model)) for model in models if model.validated)
    validated = [(model, found) for model, found in measured if found is not None and _is_validated(found)]
    if not validated:
        newest = models[-1]
        why = "the only one" if len(models) == 1 else f"the newest of {len(models)} finished ones"
        lacking = f"not validated (that takes {LEAST_VALIDATED} unseen labels, {intervals.LEAST} a class)"
        return RunChoice(newest, f"run {newest.model_id}: {why}, {lacking}{aside}")
    best, found = validated[0]
    beaten: list[str] = []
    for model, evaluation in validated[1:]:
        if _replaces((model, evaluation), (best, found)):
            best, found, beaten = model, evaluation, []
        else:
            beaten.append(f"{model.model_id} with AUROC {evaluation.auroc}")
    known = [model for model, _ in validated]
    unknown = [model for model in models[models.index(best) :] if model not in known]
    why = "the only validated one" if len(validated) == 1 else f"the best of {len(validated)} validated ones"
    newer = f"; newer and not better: {', '.join(beaten)}" if beaten else ""
    newer += _named("newer and not validated", unknown)
    score = f"AUROC {found.auroc} on {found.n:,} labels that it had not learned from"
    sentence = f"run {best.model_id}: {why}, {score}{newer}{aside}"
    return RunChoice(best, sentence, validated=True)


def chosen_run(event: Event, run_id: str | None) -> Run:
    """The named run, else the one that `best_run` takes.

    Raises:
        WorkspaceError: there is no such run, it has not finished, or there is none to take.
    """
    if run_id is not None:
        return named_run(event, run_id)
    run, why = best_run(event)
    if run is None:
        raise WorkspaceError(
            f"event '{event.name}': {why}; train one with `damage-ssl train {event.name}`, or name a run with --run-id"
        )
    return run


def question_remark(event: Event, model: FinishedRun) -> str | None:
    """What must be said of a named run that does not answer what the event calls damaged; None where it does."""
    scheme = damage_scheme(event)
    if model.scheme == scheme:
        return None
    if model.scheme.damaged_grades == scheme.damaged_grades:
        return (
            f"run {model.model_id} tells damaged from intact only: in event '{event.name}' there are {scheme.statement}"
        )
    return (
        f"run {model.model_id} answers another question than event '{event.name}' asks: in its map "
        f"{model.scheme.statement}, in the event {scheme.statement}"
    )


def _current(event: Event, models: Sequence[FinishedRun]) -> Iterator[FinishedRun]:
    """Those whose predictions are of just the buildings that can be assessed now."""
    if not event.patches_path.exists():
        yield from models
        return
    index = PatchStore.open(event.patches_path).index()
    assessed = set(index.loc[index["assessed"].to_numpy(bool), "building_id"].astype(str))
    yield from (model for model in models if set(predicted_buildings(model.run).astype(str)) == assessed)


def _lost(model: FinishedRun) -> bool:
    """Whether it is an ensemble without a measured gain over its best member."""
    if model.kind is not ENSEMBLE:
        return False
    try:
        gain = common_gain(model.run).gains.get("auroc")
    except (DamageSSLError, OSError, ValueError, LookupError, TypeError):
        return True
    return gain is None or gain.value is None or gain.value <= 0


def _replaces(newer: tuple[FinishedRun, Evaluation], older: tuple[FinishedRun, Evaluation]) -> bool:
    """Whether a newer validated run is not worse than an older one; an ensemble has to be better."""
    one, other = _on_common(newer[0], older[0]) or (_standing(newer[1]), _standing(older[1]))
    return one > other if newer[0].kind is ENSEMBLE else one >= other


def _is_validated(found: Evaluation) -> bool:
    return enough_to_validate([found.n - found.n_damaged, found.n_damaged])


def _standing(found: Evaluation) -> tuple[float, float]:
    return found.auroc.low or 0.0, found.auroc.value or 0.0


def _on_common(newer: FinishedRun, older: FinishedRun) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """The AUROC of both on the buildings that both held out; None where these do not suffice."""
    from sklearn.metrics import roc_auc_score

    held_out = newer.held_out
    names = sorted(held_out.keys() & older.held_out.keys() - {*newer.plan.train_id, *older.plan.train_id})
    damaged = np.array([held_out[name] >= newer.scheme.damaged_from for name in names], dtype=bool)
    if not enough_to_validate([int((~damaged).sum()), int(damaged.sum())]):
        return None
    one, other = (
        float(roc_auc_score(damaged, model.predictions.set_index("building_id")["p_damaged"].loc[names]))
        for model in (newer, older)
    )
    return (one,), (other,)


def _named(why: str, models: Sequence[FinishedRun]) -> str:
    return f"; {why}: {', '.join(model.model_id for model in models)}" if models else ""


def _aside(event: Event, runs: RunsOfEvent) -> str:
    """Behind the reason: which finished runs were left out, and why."""
    question = f"left out, since they do not answer the event's definition ({damage_scheme(event).name})"
    unreadable = ", ".join(run.run_id for run in runs.unreadable)
    return _named(question, runs.others) + (
        f"; left out, since they cannot be read: {unreadable}" if unreadable else ""
    )

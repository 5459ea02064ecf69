"""What of an event answers its definition of damaged, and what is stale: labels, runs and packs, read again."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from damage_ssl.damage_scale import SCHEMES
from damage_ssl.events.definition import damage_scheme, read_definition
from damage_ssl.events.event import Event, open_labels
from damage_ssl.files import read_json
from damage_ssl.products.handover.pack_files import EXTRA
from damage_ssl.runs.best import best_run, runs_of_event


@dataclass(frozen=True, kw_only=True)
class DefinitionReport:
    """How an event stands to its definition of damaged.

    `labels` counts the labels of each class; `verdicts_only` those that say damaged or intact where grades are asked
    for, which no training of grades can use, `no_verdict` those that say neither. `answering` are the finished runs
    that can be read under the definition, `trained_on` the scheme of those that were trained on another; `other_runs`
    answer another question, by the scheme that they were trained on. `stale_packs` were written under another scheme.
    `best` says which run a map is made of now.
    """

    event: str
    scheme: str
    statement: str
    stated: bool
    when: str | None
    by: str | None
    labels: dict[str, int]
    verdicts_only: int
    no_verdict: int
    answering: tuple[str, ...]
    trained_on: dict[str, str]
    other_runs: dict[str, str]
    unreadable: tuple[str, ...]
    stale_packs: tuple[str, ...]
    best: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """The report for a person."""
        who = (
            ""
            if self.when is None
            else f" (stated {self.when[:16].replace('T', ' ')}{f' by {self.by}' if self.by else ''})"
        )
        how = (
            who if self.stated else f" (the default: nobody has stated it; damage-ssl define {self.event} --scheme ...)"
        )
        yield f"event '{self.event}', {self.scheme}: {self.statement}{how}"
        counts = ", ".join(f"{count:,} {name}" for name, count in self.labels.items())
        yield f"labels under it: {counts}" + (f"; {self.no_verdict:,} say neither" if self.no_verdict else "")
        for run_id in self.answering:
            was = self.trained_on.get(run_id)
            yield f"run {run_id}: answers it" + ("" if was is None else f", read from {was}")
        yield from self.stale_lines()
        yield f"a map is made now of: {self.best}"

    def stale_lines(self) -> Iterator[str]:
        """What does not answer the definition, and what to do."""
        if self.verdicts_only:
            yield (
                f"labels that say only damaged or intact: {self.verdicts_only:,}; they count in the map, and teach no "
                "grade until these buildings get one"
            )
        for run_id, scheme in self.other_runs.items():
            yield f"run {run_id}: stale, it was trained on {scheme} and does not answer it; train again"
        for run_id in self.unreadable:
            yield f"run {run_id}: cannot be read by this version"
        yield from (f"pack {path}: out of date, it was written under another definition" for path in self.stale_packs)


def definition_report(event: Event) -> DefinitionReport:
    """Read labels, runs and packs of an event again under its definition.

    Raises:
        WorkspaceError: the definition's file is damaged.
    """
    found, scheme = read_definition(event), damage_scheme(event)
    labels = dict.fromkeys(scheme.class_names, 0)
    verdicts_only = no_verdict = 0
    for value, count in open_labels(event).counts().items():
        if (name := scheme.class_of(value)) is not None:
            labels[name] += count
        elif scheme.is_damaged(value) is not None:
            verdicts_only += count
        else:
            no_verdict += count
    runs = runs_of_event(event)
    trained = {model.model_id: model.plan.scheme.name for model in runs.answering if model.plan.scheme != model.scheme}
    return DefinitionReport(
        event=event.name,
        scheme=scheme.name,
        statement=scheme.statement,
        stated=found is not None,
        when=None if found is None else found.stated,
        by=None if found is None else found.by,
        labels=labels,
        verdicts_only=verdicts_only,
        no_verdict=no_verdict,
        answering=tuple(model.model_id for model in runs.answering),
        trained_on=trained,
        other_runs={model.model_id: model.plan.scheme.name for model in runs.others},
        unreadable=tuple(run.run_id for run in runs.unreadable),
        stale_packs=tuple(_stale_packs(event, scheme.name)),
        best=best_run(event)[1],
    )


def _stale_packs(event: Event, scheme: str) -> Iterator[str]:
    for path in sorted(event.products_path.rglob("manifest.json")):
        try:
            written = read_json(path)["scheme"]
        except (OSError, ValueError, LookupError, TypeError):
            continue  # of another tool, or being written
        if written in SCHEMES and written != scheme:
            pack = path.parent.parent if path.parent.name == EXTRA else path.parent  # older packs are flat
            yield str(pack.relative_to(event.path))

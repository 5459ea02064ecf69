"""The damage map as a file: the table of a run, its metadata, its card."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from damage_ssl import __version__
from damage_ssl.errors import WorkspaceError
from damage_ssl.events.definition import damage_scheme
from damage_ssl.events.event import Event, open_labels
from damage_ssl.events.licence import LICENCE_NOT_STATED, recorded_licence
from damage_ssl.patches.store import PatchStore
from damage_ssl.products.formats import Metadata, write_product
from damage_ssl.products.handover.card import CardFacts, write_card
from damage_ssl.products.table import assessed_footprints
from damage_ssl.products.totals import event_totals
from damage_ssl.runs.best import best_model, question_remark
from damage_ssl.runs.finished_run import FinishedRun, run_summary
from damage_ssl.runs.kinds import kind_of
from damage_ssl.runs.model import MapModel
from damage_ssl.runs.run import named_run
from damage_ssl.runs.validation import validation_of

if TYPE_CHECKING:
    import geopandas as gpd


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What an exported map holds. `damaged` and `run_id` are None before any training.

    `scheme` says what damaged means in it, `why` why it is of this run. `remark` must be said with the map of a run
    that answers another question than the event's, `statement` with one whose threshold comes from other events.
    """

    out: str
    footprints: int
    assessed: int
    not_assessed: int
    damaged: int | None
    by_analyst: int
    run_id: str | None
    scheme: str
    why: str
    licence: str | None = None
    remark: str | None = None
    is_change_score: bool = False
    statement: str | None = None

    @property
    def sentence(self) -> str:
        """The summary for a person."""
        head = f"{self.footprints:,} footprints: {self.assessed:,} assessed, {self.not_assessed:,} not"
        if self.run_id is None:
            return f"{head}; no model yet, so coverage, reasons and the analyst's {self.by_analyst:,} labels only"
        word = "changed enough to be called damaged" if self.is_change_score else "damaged"
        return f"{head}; {self.damaged:,} {word} ({self.by_analyst:,} graded by an analyst), run {self.run_id}"


def export_event(
    event: Event, out: str | Path, *, run_id: str | None = None, licence: str | None = None
) -> ExportSummary:
    """Write the event's map, with the named run, else the one that `best_run` takes, else none.

    `licence` is what a receiver may do with it and whom to name; None: what the event's catalogue says.

    The ending of `out` names the format (`products.formats`): GeoJSON, with a QGIS style beside it.

    Raises:
        WorkspaceError: the named run is not there, or goes out in a pack only. StorageError: the disk is full.

    Examples:
        >>> summary = export(event, "map.geojson")
        >>> summary.footprints == summary.assessed + summary.not_assessed
        True
    """
    if run_id is not None and not kind_of(run_id).exportable:
        raise WorkspaceError(f"model '{run_id}': goes out in a pack only, with its warning; give --pack alone")
    if run_id is None:
        chosen = best_model(event)
        model, why = chosen.model, chosen.why
    else:
        model, why = FinishedRun.of_event(event, named_run(event, run_id)), f"run {run_id}: named"
    licence = licence or recorded_licence(event)
    table = export_table(event, model)
    write_product(table, Path(out), metadata=_metadata(event, model, licence))
    if model is not None:
        facts = replace(card_facts(event, model), totals=event_totals(event, model, table))
        write_card(model.run.path / "card.md", table, facts)
    assessed = int(table["assessed"].sum())
    return ExportSummary(
        out=str(out),
        footprints=len(table),
        assessed=assessed,
        not_assessed=len(table) - assessed,
        damaged=None if model is None else int(table["damaged"].eq(True).sum()),
        by_analyst=int(table["label_source"].eq("analyst").sum()),
        run_id=None if model is None else model.model_id,
        scheme=(damage_scheme(event) if model is None else model.scheme).statement,
        why=why,
        licence=licence,
        remark=None if model is None else question_remark(event, model),
        is_change_score=model is not None and not model.kind.is_probability,
        statement=None if model is None else run_summary(model.run).statement,
    )


def export_table(event: Event, model: MapModel | None) -> "gpd.GeoDataFrame":
    """Every footprint of the event exactly once, with what a model says; None: coverage, reasons and answers only.

    Raises:
        WorkspaceError: the patches are not cut, or the run has not predicted.

    Examples:
        >>> table = export_table(event, FinishedRun(run))
        >>> len(table), table.crs.to_epsg()
        (60, 4326)
        >>> int((table["label_source"] == "analyst").sum())
        40
    """
    index = PatchStore.open(event.patches_path).index()
    footprints = event.footprints()
    labels = open_labels(event).current()
    # Labels stay in the log when an event gets other footprints; the product is of those that there are.
    labels = labels[labels["building_id"].isin(footprints["building_id"])]
    return assessed_footprints(
        footprints,
        index,
        None if model is None else model.predictions,
        labels,
        scheme=damage_scheme(event) if model is None else model.scheme,
        threshold=None if model is None else model.threshold,
        run_id=None if model is None else model.model_id,
        method=None if model is None else model.method,
    )


def card_facts(event: Event, model: FinishedRun) -> CardFacts:
    """What a run's card says of how it was made and checked."""
    plan = model.plan
    names, trained = plan.scheme.class_names, (*plan.train_class, *plan.validation_class)
    return CardFacts(
        event=event.name,
        hazard=event.hazard,
        kind=model.kind,
        algorithm=model.algorithm,
        scheme=model.scheme,
        label_counts=Counter(names[index] for index in trained),
        calibration=model.calibration,
        validation=validation_of(event, model),
        source_label_counts={
            source.event: Counter(names[index] for index in (*source.train_class, *source.validation_class))
            for source in plan.sources
        },
        statement=model.statement,
    )


def _metadata(event: Event, model: FinishedRun | None, licence: str | None) -> Metadata:
    statement = None if model is None else model.statement
    scheme = damage_scheme(event) if model is None else model.scheme
    return {
        "event": event.name,
        "hazard": event.hazard,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "run_id": None if model is None else model.model_id,
        "algorithm": None if model is None else model.algorithm,
        "scheme": scheme.name,
        "scale": scheme.statement,
        "threshold": None if model is None else model.threshold,
        "licence": licence or LICENCE_NOT_STATED,
        **({} if statement is None else {"statement": statement}),
    }

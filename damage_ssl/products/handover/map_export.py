"""The damage map as a file."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from damage_ssl import __version__
from damage_ssl.errors import WorkspaceError
from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.events.event import Event, open_labels
from damage_ssl.patches.store import PatchStore
from damage_ssl.products.formats import write_product
from damage_ssl.products.handover.card import CardFacts, write_card
from damage_ssl.products.table import assessed_footprints
from damage_ssl.runs.change_score import ALGORITHM as CHANGE
from damage_ssl.runs.change_score import METHOD, STATEMENT
from damage_ssl.runs.plan import RunPlan, plan_of
from damage_ssl.runs.predictions import read_predictions
from damage_ssl.runs.run import Run, chosen_run, latest_finished
from damage_ssl.runs.validation import validation_of

if TYPE_CHECKING:
    import geopandas as gpd


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What an exported map holds. `damaged` and `run_id` are None before any training.

    `statement` must be said with a map whose threshold comes from other events.
    """

    out: str
    footprints: int
    assessed: int
    not_assessed: int
    damaged: int | None
    by_analyst: int
    run_id: str | None
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


def export_table(event: Event, run: Run | None) -> "gpd.GeoDataFrame":
    """Every footprint of the event exactly once, with the result of `run`; None: coverage and reasons only.

    Raises:
        WorkspaceError: the patches are not cut, or the run has not predicted.

    Example:
        >>> table = export_table(event, run)
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
    if run is None:
        return assessed_footprints(footprints, index, None, labels, scheme=None, threshold=None, run_id=None)
    algorithm = plan_of(run).train.algorithm
    return assessed_footprints(
        footprints,
        index,
        read_predictions(run),
        labels,
        scheme=plan_of(run).scheme,
        threshold=Calibration.read(run.calibration_path).threshold,
        run_id=run.run_id,
        method=METHOD if algorithm == CHANGE else algorithm,
    )


def export_event(event: Event, out: str | Path, *, run_id: str | None = None) -> ExportSummary:
    """Write the event's map, with the named run, else the newest finished one, else none.

    The ending of `out` names the format (`products.formats`): GeoJSON, with a QGIS style beside it.

    Example:
        >>> summary = export(event, Path("map.geojson"))
        >>> summary.footprints == summary.assessed + summary.not_assessed
        True

    Raises:
        WorkspaceError: the named run is not there. StorageError: the disk is full.
    """
    run = chosen_run(event, run_id) if run_id is not None else _latest_or_none(event)
    table = export_table(event, run)
    write_product(table, Path(out), metadata=_metadata(event, run))
    if run is not None:
        write_card(run.path / "card.md", table, card_facts(event, run))
    assessed = int(table["assessed"].sum())
    return ExportSummary(
        out=str(out),
        footprints=len(table),
        assessed=assessed,
        not_assessed=len(table) - assessed,
        damaged=None if run is None else int(table["damaged"].eq(True).sum()),
        by_analyst=int(table["label_source"].eq("analyst").sum()),
        run_id=None if run is None else run.run_id,
        is_change_score=run is not None and plan_of(run).train.algorithm == CHANGE,
        statement=None if run is None else plan_of(run).statement,
    )


def _metadata(event: Event, run: Run | None) -> dict[str, str | float | int | None]:
    plan = None if run is None else plan_of(run)
    return {
        "event": event.name,
        "hazard": event.hazard,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "run_id": None if run is None else run.run_id,
        "algorithm": None if plan is None else plan.train.algorithm,
        "scheme": None if plan is None else plan.scheme.name,
        "scale": None if plan is None else plan.scheme.statement,
        "threshold": None if run is None else Calibration.read(run.calibration_path).threshold,
        **({} if (statement := _statement(plan)) is None else {"statement": statement}),
    }


def _statement(plan: RunPlan | None) -> str | None:
    if plan is None:
        return None
    return STATEMENT if plan.train.algorithm == CHANGE else plan.statement


def card_facts(event: Event, run: Run) -> CardFacts:
    """What a run's card says of how it was made and checked."""
    plan = plan_of(run)
    names = plan.scheme.class_names
    return CardFacts(
        event=event.name,
        hazard=event.hazard,
        algorithm=plan.train.algorithm,
        scheme=plan.scheme,
        label_counts=Counter(names[index] for index in (*plan.train_class, *plan.validation_class)),
        calibration=Calibration.read(run.calibration_path),
        validation=validation_of(event, run),
        source_label_counts={
            source.event: Counter(names[index] for index in (*source.train_class, *source.validation_class))
            for source in plan.sources
        },
        statement=plan.statement,
    )


def _latest_or_none(event: Event) -> Run | None:
    try:
        return latest_finished(event.runs_path)
    except WorkspaceError:
        return None

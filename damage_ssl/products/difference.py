"""What changed between two runs of an event: building by building, as a layer, a table and a sentence.

A run's predictions are kept with it, so that a run of earlier pictures is read as it was when it finished, whatever was
cut again since. Analysts' answers go before the model's on both sides, as in every product (`assessment`): on the side
of the earlier run those that had been given when it finished, on that of the later one all of them. Damaged is what the
event calls so (`events.definition`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from damage_ssl import __version__
from damage_ssl.damage_scale import ClassScheme
from damage_ssl.errors import WorkspaceError
from damage_ssl.evaluation.calibration import decide
from damage_ssl.events.definition import damage_scheme
from damage_ssl.events.event import Event, open_labels
from damage_ssl.files import write_text
from damage_ssl.patches.store import PatchStore
from damage_ssl.products.assessment import BuildingResult, building_result
from damage_ssl.products.formats import write_product
from damage_ssl.products.map_style import LegendEntry
from damage_ssl.products.qgis_style import CHANGES_STYLE_PATH
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.runs.model import MapModel
from damage_ssl.runs.predictions import class_probabilities
from damage_ssl.runs.run import Run, named_run

Answers = Literal["then", "now"]
"""Which answers of analysts count on the earlier side: those given by the time its run finished, or all of them."""

CHANGES: Mapping[str, LegendEntry] = {
    "newly-damaged": LegendEntry("Newly damaged", "#c4304f"),
    "no-longer-damaged": LegendEntry("No longer damaged", "#2b83ba"),
    "other-grade": LegendEntry("Other grade", "#f5dc4a"),
    "newly-assessed": LegendEntry("Newly assessed", "#9ecae1"),
    "no-longer-assessed": LegendEntry("No longer assessed", "#54478a"),
    "unchanged": LegendEntry("Unchanged", "#dfe3e6"),
    "not-assessed": LegendEntry("Assessed by neither", "#7f8a8f"),
}
"""By `change`, in the order of the legend. `other-grade` is known only where both runs and the event have grades."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RunDifference:
    """Two runs of an event, compared.

    `table` has a row a footprint, in their order, EPSG:4326: `building_id`, `change` (a key of `CHANGES`),
    `damaged_before`, `damaged_after`, `class_before`, `class_after` (null where not assessed), `p_before`, `p_after`,
    `p_change` (P(damaged) as the models gave it, null where they did not), `source_before`, `source_after` (model or
    analyst), `not_assessed_reason` (as the patches are now), `lon`, `lat`, `run_before`, `run_after`, geometry.

    `gone` counts buildings of either run that are no longer among the event's footprints. `notes` must be said with it.
    """

    event: str
    before: str
    after: str
    definition: ClassScheme
    answers: Answers
    table: gpd.GeoDataFrame
    gone: int
    notes: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many buildings changed in each way, every key of `CHANGES`; and `newly-assessed-damaged` among them."""
        counted = self.table["change"].value_counts()
        newly = self.table["change"].eq("newly-assessed") & self.table["damaged_after"].eq(True)
        return {name: int(counted.get(name, 0)) for name in CHANGES} | {"newly-assessed-damaged": int(newly.sum())}

    @property
    def changed(self) -> gpd.GeoDataFrame:
        """The rows of the buildings that changed."""
        return self.table[~self.table["change"].isin(["unchanged", "not-assessed"])]

    def of_buildings(self, building_ids: pd.Series) -> "RunDifference":
        """The same for some of the buildings only."""
        return replace(self, table=self.table[self.table["building_id"].isin(building_ids)].reset_index(drop=True))

    @property
    def sentence(self) -> str:
        """The counts for a person."""
        counts = self.counts
        grades = f", {counts['other-grade']:,} of another grade" if counts["other-grade"] else ""
        gone = f"; {self.gone:,} are no longer among the footprints" if self.gone else ""
        return (
            f"since run {self.before}: {counts['newly-damaged']:,} newly damaged, {counts['no-longer-damaged']:,} no "
            f"longer damaged{grades}, {counts['newly-assessed']:,} newly assessed (of them "
            f"{counts['newly-assessed-damaged']:,} damaged), {counts['no-longer-assessed']:,} no longer assessed, "
            f"{counts['unchanged']:,} unchanged, {counts['not-assessed']:,} assessed by neither{gone}"
        )

    def to_json(self) -> dict[str, Any]:
        """The counts and what they mean, as JSON values."""
        return {
            "event": self.event,
            "run_before": self.before,
            "run_after": self.after,
            **{name.replace("-", "_"): count for name, count in self.counts.items()},
            "footprints": len(self.table),
            "gone": self.gone,
            "scheme": self.definition.name,
            "scale": self.definition.statement,
            "answers": self.answers,
            "notes": list(self.notes),
            "sentence": self.sentence,
        }


def diff_runs(event: Event, before: str, after: str, *, answers: Answers = "then") -> RunDifference:
    """Compare two finished runs by name; see `difference_of`.

    Raises:
        WorkspaceError: there is no such run, it has not predicted, or it cannot say what the event calls damaged.

    Examples:
        >>> diff_runs(event, run.run_id, run.run_id).counts["newly-damaged"]
        0
    """
    return difference_of(event, model_of_run(event, before), model_of_run(event, after), answers=answers)


def model_of_run(event: Event, run_id: str) -> FinishedRun:
    """A run of the event by its name, as a side of a comparison.

    Raises:
        WorkspaceError: there is no such run, or it has not finished.
    """
    return FinishedRun.of_event(event, named_run(event, run_id))


def difference_of(event: Event, before: FinishedRun, after: MapModel, *, answers: Answers = "then") -> RunDifference:
    """Compare an earlier run with a later run, or with the live model.

    Args:
        event: the event of both.
        before: the earlier run.
        after: the later model.
        answers: which of the analysts' answers count on the earlier side.

    Raises:
        WorkspaceError: a run has not predicted, or it cannot say what the event calls damaged.
    """
    definition, footprints = damage_scheme(event), event.footprints()
    building_id = footprints["building_id"].astype(str)
    finished = _finished_at(before.run)
    store = open_labels(event)
    sides, gone = [], set[str]()
    for model, until in ((before, finished if answers == "then" else None), (after, None)):
        side = _side(model, definition, building_id, store.current(until))
        gone |= side.predicted - set(building_id)
        sides.append(side)
    one, other = sides
    graded = len(definition) > 2 and before.scheme == after.scheme == definition
    change = [_change(*results, graded=graded) for results in zip(one.results, other.results, strict=True)]
    centre = shapely.centroid(footprints.geometry.to_numpy())
    columns: dict[str, object] = {"building_id": building_id.to_numpy(object), "change": change}
    for name, side in (("before", one), ("after", other)):
        known = [_assessed(result) for result in side.results]
        verdict = [result.damaged if is_known else None for result, is_known in zip(side.results, known, strict=True)]
        columns[f"damaged_{name}"] = pd.array(verdict, dtype="boolean")
        columns[f"class_{name}"] = _texts(
            result.damage_class if is_known else None for result, is_known in zip(side.results, known, strict=True)
        )
        columns[f"p_{name}"] = side.p
        columns[f"source_{name}"] = _texts(result.source for result in side.results)
    columns |= {
        "p_change": other.p - one.p,
        "not_assessed_reason": _reasons(event, building_id, other.results),
        "lon": shapely.get_x(centre),
        "lat": shapely.get_y(centre),
        "run_before": before.model_id,
        "run_after": after.model_id,
    }
    return RunDifference(
        event=event.name,
        before=before.model_id,
        after=after.model_id,
        definition=definition,
        answers=answers,
        table=gpd.GeoDataFrame(columns, geometry=footprints.geometry.to_numpy(), crs=footprints.crs),
        gone=len(gone),
        notes=_notes(before, after, finished),
    )


def write_difference(difference: RunDifference, path: Path, *, changed_only: bool = False) -> None:
    """Write a comparison in the format that the file's ending names: a layer, or with `.csv` a table.

    Beside a GeoJSON goes its QGIS style, of the same name.

    Raises:
        InputError: it cannot be written in this format. StorageError: the disk is full or not writable.
    """
    path, table = Path(path), difference.changed if changed_only else difference.table
    facts = difference.to_json()
    metadata = {name: facts[name] for name in facts if name != "notes"} | {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "notes": " ".join(difference.notes) or None,
    }
    write_product(table, path, metadata=metadata)
    if path.with_suffix(".qml").exists():  # beside a GeoJSON: in place of that of the damage map
        write_text(path.with_suffix(".qml"), CHANGES_STYLE_PATH.read_text(encoding="utf-8"))


def write_changes(folder: Path, difference: RunDifference) -> None:
    """Write a comparison to `changes.geojson` (with its style) and `changes.csv` of a folder: for a pack.

    Raises:
        StorageError: the disk is full.
    """
    for name in ("changes.geojson", "changes.csv"):
        write_difference(difference, folder / name)


@dataclass(frozen=True, eq=False)
class _Side:
    results: list[BuildingResult]
    p: "np.ndarray[Any, np.dtype[np.float64]]"
    predicted: set[str]


def _side(model: MapModel, definition: ClassScheme, building_id: pd.Series, labels: pd.DataFrame) -> _Side:
    """How every building stood under one model and the answers of one time."""
    scheme = model.scheme
    if scheme.damaged_grades != definition.damaged_grades:
        raise WorkspaceError(
            f"run '{model.model_id}': answers another question than the event asks: in its map {scheme.statement}, in "
            f"the event {definition.statement}; compare runs of the event's definition, or train one with "
            f"`--scheme {definition.name}`"
        )
    table = model.predictions
    decided = decide(class_probabilities(table, scheme), scheme, model.threshold)
    said = pd.Series([scheme.class_names[index] for index in decided], index=table["building_id"].astype(str))
    answer = labels.set_index(labels["building_id"].astype(str))["value"].to_dict()
    classes = said.to_dict()
    results = [
        building_result(classes.get(building), building in classes, None, answer.get(building), definition)
        for building in building_id
    ]
    p = table.set_index(said.index)["p_damaged"].reindex(building_id).to_numpy(np.float64)
    return _Side(results, p, set(said.index))


def _assessed(result: BuildingResult) -> bool:
    return result.assessed and result.damaged is not None


def _change(before: BuildingResult, after: BuildingResult, *, graded: bool) -> str:
    if not _assessed(before) or not _assessed(after):
        return {(False, True): "newly-assessed", (True, False): "no-longer-assessed"}.get(
            (_assessed(before), _assessed(after)), "not-assessed"
        )
    if before.damaged != after.damaged:
        return "newly-damaged" if after.damaged else "no-longer-damaged"
    return "other-grade" if graded and before.damage_class != after.damage_class else "unchanged"


def _texts(values: Any) -> pd.Series:
    return pd.Series(list(values), dtype=object)


def _reasons(event: Event, building_id: pd.Series, results: Sequence[BuildingResult]) -> pd.Series:
    """Why a building is not assessed on the later side: what an analyst said, else what the patches say now."""
    index = PatchStore.open(event.patches_path).index() if event.patches_path.exists() else None
    reason: dict[str, str | None] = {}
    if index is not None:
        reason = dict(zip(index["building_id"].astype(str), index["not_assessed_reason"], strict=True))
    return _texts(
        None if _assessed(result) else result.reason or reason.get(building)
        for building, result in zip(building_id, results, strict=True)
    )


def _finished_at(run: Run) -> datetime:
    return datetime.fromtimestamp(run.status().updated, UTC)


def _notes(before: FinishedRun, after: MapModel, finished: datetime) -> tuple[str, ...]:
    notes = [
        f"{model.model_id}: its numbers compare pre and post, and are no probabilities of damage"
        for model in dict.fromkeys((before, after))
        if not model.kind.is_probability
    ]
    if after.run is not None and _finished_at(after.run) < finished:
        notes.append(f"{after.model_id} is older than {before.model_id}: name the earlier run first")
    return tuple(notes)

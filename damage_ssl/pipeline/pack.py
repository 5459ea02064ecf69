"""Handing a map over: the pack that goes to the receiver, and what to look at before it goes."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from damage_ssl import __version__
from damage_ssl.assessment.calibration import Calibration
from damage_ssl.assessment.change import ALGORITHM as CHANGE
from damage_ssl.assessment.change import STATEMENT
from damage_ssl.event.catalog import Event
from damage_ssl.event.imagery import Role
from damage_ssl.files import read_json
from damage_ssl.grades import ClassScheme, LabelValue
from damage_ssl.learning.runs import Run
from damage_ssl.pipeline.handover import card_facts, export_table
from damage_ssl.pipeline.learning import plan_of
from damage_ssl.pipeline.stages import open_labels
from damage_ssl.products.card import CardFacts
from damage_ssl.products.pack import Pack, open_pack, write_pack
from damage_ssl.products.receiver import NOT_VALIDATED, PackFacts
from damage_ssl.products.selection import Selection

if TYPE_CHECKING:
    import geopandas as gpd

LABELS_ONLY = "labels-only"
"""The folder of packs of a map without any model."""

_NO_LICENCE = {"other", "proprietary", "various", "none", ""}
_ROLES: tuple[Role, Role] = ("pre", "post")


class MapModel(Protocol):
    """The model behind a map. One without a `run` was fitted on the fly: nothing was held out to check it."""

    @property
    def model_id(self) -> str:
        """A run id, or `live`."""

    @property
    def stamp(self) -> str:
        """Changes when the predictions change."""

    @property
    def algorithm(self) -> str:
        """The method, by its own name."""

    @property
    def scheme(self) -> ClassScheme:
        """The classes that it tells apart."""

    @property
    def threshold(self) -> float:
        """Damaged is P(damaged) ≥ threshold."""

    @property
    def run(self) -> Run | None:
        """The run on disk."""


@dataclass(frozen=True)
class FinishedRun:
    """A finished run as the model behind a map."""

    run: Run

    @property
    def model_id(self) -> str:
        return self.run.run_id

    @property
    def stamp(self) -> str:
        return format(self.run.predictions_path.stat().st_mtime_ns, "x")

    @property
    def algorithm(self) -> str:
        return plan_of(self.run).train.algorithm

    @property
    def scheme(self) -> ClassScheme:
        return plan_of(self.run).scheme

    @property
    def threshold(self) -> float:
        return Calibration.read(self.run.calibration_path).threshold


def pack_folder(event: Event, model: MapModel | None, selection: Selection, licence: str | None = None) -> Path:
    """Where the pack of this map lies, once written: other predictions, labels or selections have another folder."""
    changed = [event.footprints_path, event.patches_path / "index.parquet"]
    key = [
        event.name,
        None if model is None else model.stamp,
        open_labels(event).revision(),
        [path.stat().st_mtime_ns if path.exists() else 0 for path in changed],
        selection.to_json(),
        licence,
        __version__,
    ]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]
    part = "map" if selection.is_open else "selection"
    return event.products_path / (LABELS_ONLY if model is None else model.model_id) / f"{part}-{digest}"


def hand_over(
    event: Event,
    model: MapModel | None,
    *,
    selection: Selection | None = None,
    licence: str | None = None,
    table: "gpd.GeoDataFrame | None" = None,
) -> Pack:
    """Write the pack of a map under the event's products, or find the one that is there already.

    Args:
        event: the event.
        model: whose numbers; None: coverage and the analysts' answers only.
        selection: which buildings; None: all.
        licence: what the receiver may do with it and whom to name; None: what the event's catalogue says.
        table: the whole map, if it was made before; needed for a model without a run.

    Raises:
        InputError: the selection names a class that there is none of. StorageError: the disk is full.
        WorkspaceError: the patches are not cut, or the run has not predicted.
    """
    selection = selection or Selection()
    selection.check({value.value for value in LabelValue})
    folder = pack_folder(event, model, selection, licence)
    if (found := open_pack(folder)) is not None:
        return found
    if table is None:
        table = export_table(event, None if model is None else model.run)
    run = None if model is None else model.run
    return write_pack(
        folder,
        table,
        open_labels(event).current(),
        selection,
        card=_card_facts(event, model),
        facts=_facts(event, model, licence),
        settings={} if run is None else _settings(run),
    )


def _card_facts(event: Event, model: MapModel | None) -> CardFacts:
    if model is None:
        return CardFacts(event=event.name, hazard=event.hazard)
    if model.run is None:
        counts = Counter({value.value: count for value, count in open_labels(event).counts().items()})
        return CardFacts(
            event=event.name,
            hazard=event.hazard,
            algorithm=model.algorithm,
            scheme=model.scheme,
            label_counts=counts,
            statement=NOT_VALIDATED,
        )
    return card_facts(event, model.run)


def _facts(event: Event, model: MapModel | None, licence: str | None) -> PackFacts:
    change = model is not None and model.algorithm == CHANGE
    live = model is not None and model.run is None
    return PackFacts(
        event=event.name,
        hazard=event.hazard,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        run_id=None if model is None else model.model_id,
        algorithm=None if model is None else model.algorithm,
        scheme=None if model is None else model.scheme,
        threshold=None if model is None else model.threshold,
        statement=NOT_VALIDATED if live else STATEMENT if change else _elsewhere(model),
        validated=is_validated(model),
        imagery=[line for role in _ROLES for line in _scene_lines(event, role)],
        sources=_source_lines(event),
        licence=licence or _recorded_licence(event),
    )


def is_validated(model: MapModel | None) -> bool:
    """True where the model was checked on buildings held out from its training."""
    return model is not None and model.run is not None and bool(plan_of(model.run).validation_id)


def _elsewhere(model: MapModel | None) -> str | None:
    return None if model is None or model.run is None else plan_of(model.run).statement


def _settings(run: Run) -> dict[str, Any]:
    """Settings without the lists of buildings, which labels.csv and the run itself hold."""
    plan = plan_of(run)
    values = plan.to_json()
    kept = {key: values[key] for key in ("train", "split", "block_m", "patches_fingerprint", "version")}
    if plan.sources:
        kept["sources"] = [
            {
                "event": source.event,
                "trained_on": len(source.train_id),
                "validated_on": len(source.validation_id),
                "patches_fingerprint": source.patches_fingerprint,
            }
            for source in plan.sources
        ]
    return kept


def _scene_lines(event: Event, role: Role) -> list[str]:
    return [
        f"{role}: {scene.scene_id}, {'date unknown' if scene.datetime is None else f'{scene.datetime:%Y-%m-%d}'}"
        f", {scene.gsd_m:.2f} m a pixel{f', {scene.sensor}' if scene.sensor else ''}"
        for scene in event.scenes(role)
    ]


def _source_lines(event: Event) -> list[str]:
    return [
        f"{report.source}: {report.kept:,} outlines{f', from {Path(report.path).name}' if report.path else ''}"
        for report in event.footprint_sources()
    ]


def _recorded_licence(event: Event) -> str | None:
    said = str(read_json(event.path / "collection.json").get("license") or "")
    return None if said.lower() in _NO_LICENCE else said

"""The hand-over pack: a folder with map, style, labels, card, a page for the receiver and a manifest, and its ZIP.

The folder appears whole or not at all, and the ZIP beside it holds the same bytes. `hand_over` gathers what goes in for
an event's map; `write_pack` writes it.
"""

import hashlib
import json
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from damage_ssl import __version__
from damage_ssl.errors import WorkspaceError
from damage_ssl.events.definition import damage_scheme
from damage_ssl.events.event import Event, open_labels
from damage_ssl.events.licence import recorded_licence
from damage_ssl.files import atomic_directory, atomic_path, read_json, write_json, write_text
from damage_ssl.imagery.scene import Role
from damage_ssl.labels.label_csv import write_label_csv
from damage_ssl.products.formats import Metadata
from damage_ssl.products.formats.geojson import write_geojson
from damage_ssl.products.handover.card import CardFacts, write_card
from damage_ssl.products.handover.map_export import card_facts, export_table
from damage_ssl.products.handover.receiver_note import PackFacts, readme
from damage_ssl.products.selection import Selection
from damage_ssl.products.totals import event_totals
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.runs.model import MapModel
from damage_ssl.runs.plan import RunPlan

MANIFEST = "manifest.json"
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Pack:
    """A pack on disk: the folder, its ZIP, and how many buildings it holds."""

    folder: Path
    zip_path: Path
    buildings: int

    @property
    def map_path(self) -> Path:
        """The GeoJSON."""
        return self.folder / "map.geojson"

    @property
    def bytes(self) -> int:
        """Size of the ZIP."""
        return self.zip_path.stat().st_size


def open_pack(folder: Path) -> Pack | None:
    """A pack that was written whole; None where there is none."""
    zip_path = folder.with_name(f"{folder.name}.zip")
    if not (folder / MANIFEST).exists() or not zip_path.exists():
        return None
    return Pack(folder=folder, zip_path=zip_path, buildings=int(read_json(folder / MANIFEST)["buildings"]))


def write_pack(
    folder: Path,
    table: gpd.GeoDataFrame,
    labels: pd.DataFrame,
    selection: Selection,
    *,
    card: CardFacts,
    facts: PackFacts,
    settings: Mapping[str, Any],
) -> Pack:
    """Write a pack, replacing one of that name.

    Args:
        folder: where; its parent is made.
        table: what `assessed_footprints` returns, whole: nothing of it is copied.
        labels: the current labels (`LabelStore.current`); those of the buildings handed over go along.
        selection: which buildings.
        card: facts for the card, which is of the whole map.
        facts: facts for README, file metadata and manifest.
        settings: what the run was trained with, as JSON values.

    Raises:
        InputError: see `write_geojson`. StorageError: the disk is full or not writable.
    """
    rows = np.flatnonzero(selection.mask(table))
    metadata = _metadata(facts, selection, len(rows))
    with atomic_directory(folder) as temporary:
        write_geojson(table, temporary / "map.geojson", metadata=metadata, rows=rows)
        kept = set(table["building_id"].to_numpy()[rows].tolist())
        write_label_csv(labels[labels["building_id"].isin(kept)], temporary / "labels.csv")
        write_card(temporary / "card.md", table, card)
        columns = ["assessed", "not_assessed_reason", "damaged", "pre_datetime", "post_datetime"]
        chosen = pd.DataFrame({name: table[name].array[rows] for name in columns})
        left = len(table) - int(table["assessed"].sum())
        page = readme(chosen, facts, selection, total=len(table), not_assessed=left)
        write_text(temporary / "README.txt", page)
        manifest = {
            **metadata,
            "filter": selection.to_json(),
            "filter_in_words": selection.words,
            "footprints_of_event": len(table),
            "settings": dict(settings),
            "files": {
                path.name: {"sha256": sha256_of(path), "bytes": path.stat().st_size}
                for path in sorted(temporary.iterdir())
            },
        }
        write_json(temporary / MANIFEST, manifest)
        zip_path = folder.with_name(f"{folder.name}.zip")
        _write_zip(temporary, zip_path, inside=f"{facts.event}-damage-map")
    return Pack(folder=folder, zip_path=zip_path, buildings=len(rows))


def check_pack(folder: Path) -> list[str]:
    """The files of a pack that are missing or not what they were when it was written.

    Raises:
        WorkspaceError: there is no manifest.
    """
    if not (folder / MANIFEST).exists():
        raise WorkspaceError(f"{folder}: is no hand-over pack (no {MANIFEST})")
    files = read_json(folder / MANIFEST)["files"]
    return [
        name
        for name, said in files.items()
        if not (folder / name).is_file() or sha256_of(folder / name) != said["sha256"]
    ]


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, read block by block."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _metadata(facts: PackFacts, selection: Selection, buildings: int) -> dict[str, str | float | int | None]:
    metadata: Metadata = {
        "event": facts.event,
        "hazard": facts.hazard,
        "created": facts.created,
        "version": facts.version,
        "run_id": facts.run_id,
        "algorithm": facts.algorithm,
        "scheme": None if facts.scheme is None else facts.scheme.name,
        "scale": None if facts.scheme is None else facts.scheme.statement,
        "threshold": facts.threshold,
        "statement": facts.statement,
        "validated": facts.validated,
        "licence": facts.licence,
        "buildings": buildings,
        "filter": selection.words,
    }
    return dict(metadata)


def _write_zip(folder: Path, path: Path, *, inside: str) -> None:
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive,
    ):
        for file in sorted(folder.iterdir()):
            archive.write(file, f"{inside}/{file.name}")


LABELS_ONLY = "labels-only"
"""The folder of packs of a map without any model."""

_ROLES: tuple[Role, Role] = ("pre", "post")


def pack_folder(event: Event, model: MapModel | None, selection: Selection, licence: str | None = None) -> Path:
    """Where the pack of this map lies, once written: other predictions, labels or selections have another folder."""
    changed = [event.footprints_path, event.patches_path / "index.parquet"]
    key = [
        event.name,
        damage_scheme(event).name if model is None else model.stamp,
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
        table: the whole map, if it was made before.

    Raises:
        InputError: the selection names a class that there is none of. StorageError: the disk is full.
        WorkspaceError: the patches are not cut, or the run has not predicted.
    """
    selection = selection or Selection()
    selection.check((damage_scheme(event) if model is None else model.scheme).class_names)
    folder = pack_folder(event, model, selection, licence)
    if (found := open_pack(folder)) is not None:
        return found
    finished = model if isinstance(model, FinishedRun) else None
    table = export_table(event, model) if table is None else table
    return write_pack(
        folder,
        table,
        open_labels(event).current(),
        selection,
        card=replace(_card_facts(event, model), totals=event_totals(event, model, table)),
        facts=_facts(event, model, licence),
        settings={} if finished is None else _settings(finished.plan),
    )


def _card_facts(event: Event, model: MapModel | None) -> CardFacts:
    if model is None:
        return CardFacts(event=event.name, hazard=event.hazard, scheme=damage_scheme(event))
    if isinstance(model, FinishedRun):
        return card_facts(event, model)
    return CardFacts(
        event=event.name,
        hazard=event.hazard,
        kind=model.kind,
        algorithm=model.algorithm,
        scheme=model.scheme,
        label_counts=Counter({value.value: count for value, count in open_labels(event).counts().items()}),
        statement=model.statement,
    )


def _facts(event: Event, model: MapModel | None, licence: str | None) -> PackFacts:
    return PackFacts(
        event=event.name,
        hazard=event.hazard,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        run_id=None if model is None else model.model_id,
        algorithm=None if model is None else model.algorithm,
        scheme=damage_scheme(event) if model is None else model.scheme,
        threshold=None if model is None else model.threshold,
        statement=None if model is None else model.statement,
        validated=model is not None and model.validated,
        imagery=[line for role in _ROLES for line in _scene_lines(event, role)],
        sources=_source_lines(event),
        licence=licence or recorded_licence(event),
    )


def _settings(plan: RunPlan) -> dict[str, Any]:
    """Settings without the lists of buildings, which labels.csv and the run itself hold."""
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

"""A hand-over pack: a folder with the map, its style, the labels, a card, a page for the receiver and a manifest.

The folder appears whole or not at all, and the ZIP beside it holds the same bytes.
"""

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from damage_ssl.errors import WorkspaceError
from damage_ssl.files import atomic_directory, atomic_path, read_json, write_json, write_text
from damage_ssl.labelling.label_csv import write_label_csv
from damage_ssl.products.card import CardFacts, write_card
from damage_ssl.products.geojson import Metadata, write_geojson
from damage_ssl.products.receiver import PackFacts, readme
from damage_ssl.products.selection import Selection

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

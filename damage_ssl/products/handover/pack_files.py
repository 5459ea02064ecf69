"""The files of a hand-over pack: written whole or not at all, listed with their hashes, checked again later.

Every file a receiver opens lies at the top; what only some need lies under `extra/`.
"""

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd

from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.files import atomic_directory, atomic_path, read_json, write_json, write_text
from damage_ssl.labels.label_csv import write_label_csv
from damage_ssl.products.difference import write_changes
from damage_ssl.products.formats import FORMATS, Metadata
from damage_ssl.products.formats.csv import write_csv
from damage_ssl.products.formats.geotiff import CODES, write_geotiff
from damage_ssl.products.formats.ogr import LAYER
from damage_ssl.products.handover.card import CardFacts, write_card
from damage_ssl.products.handover.facts import HandoverFacts
from damage_ssl.products.handover.layers import pack_layers, totals_table
from damage_ssl.products.handover.pages import page_steps
from damage_ssl.products.handover.qgis_project import write_project
from damage_ssl.products.handover.receiver_note import PackFacts, readme
from damage_ssl.products.handover.stac_item import write_item
from damage_ssl.products.map_style import LEGEND
from damage_ssl.products.qgis_style import layer_qml
from damage_ssl.products.selection import Selection
from damage_ssl.progress import ProgressCallback

EXTRA = "extra"
MANIFEST = f"{EXTRA}/manifest.json"
CHECKSUMS = f"{EXTRA}/checksums"
BUILDINGS = (".geojson", ".gpkg", ".parquet", ".fgb", ".kml", ".csv", ".xlsx")
"""The endings in which the buildings lie at the top of a pack."""

TILES_UP_TO = 5_000
"""Vector tiles are made of up to this many buildings; of more they take long: 1.5 ms each."""

Step = Callable[[], object]

_OLD_MANIFEST, _OLD_MAP = "manifest.json", "map.geojson"
_BLOCK_BYTES = 1 << 20
_BIG_BYTES = 200_000_000


@dataclass(frozen=True, kw_only=True)
class Pack:
    """A pack on disk: the folder, its ZIP where there is one, its buildings, and the total in a sentence."""

    folder: Path
    zip_path: Path | None
    buildings: int
    statement: str = ""

    @property
    def map_path(self) -> Path:
        """The GeoJSON."""
        path = self.folder / f"{LAYER}.geojson"
        return path if path.exists() else self.folder / _OLD_MAP

    @property
    def written(self) -> float:
        """When it was written, seconds since the epoch."""
        return (self.zip_path or self.folder).stat().st_mtime

    @property
    def bytes(self) -> int:
        """Size of the ZIP, or of all files."""
        if self.zip_path is not None:
            return self.zip_path.stat().st_size
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


def open_pack(folder: Path) -> Pack | None:
    """A pack that was written whole, with its ZIP; None where there is none. Packs of older versions open too."""
    zip_path, manifest = folder.with_name(f"{folder.name}.zip"), _manifest(folder)
    if manifest is None or not zip_path.exists():
        return None
    said = read_json(manifest)
    statement = said.get("totals", {}).get("statement", "")
    return Pack(folder=folder, zip_path=zip_path, buildings=int(said["buildings"]), statement=statement)


def _manifest(folder: Path) -> Path | None:
    return next((path for name in (MANIFEST, _OLD_MANIFEST) if (path := folder / name).is_file()), None)


def check_pack(folder: Path) -> list[str]:
    """The files of a pack that are missing or not what they were when it was written.

    Raises:
        WorkspaceError: there is no manifest.
    """
    manifest = _manifest(folder)
    if manifest is None:
        raise WorkspaceError(f"{folder}: is no hand-over pack (no {MANIFEST})")
    return [
        name
        for name, said in read_json(manifest)["files"].items()
        if not (folder / name).is_file() or sha256_of(folder / name) != said["sha256"]
    ]


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder whose files would be lost: a pack is written to a new or empty one, or over a pack.

    Raises:
        InputError: it is a file, is no pack, or somebody put files of their own into it; or the ZIP beside it is none
            of a pack.
    """
    zip_path = folder.with_name(f"{folder.name}.zip")
    if zip_path.exists() and not _is_zipped_pack(zip_path):
        raise InputError(f"{zip_path}: is there already and is no pack; give another folder, or move it away")
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file; give the name of a folder for the pack")
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    manifest = _manifest(folder)
    if manifest is None and there:
        raise InputError(f"{folder}: is there already and is no pack; give another folder, or empty it")
    written = set() if manifest is None else {*read_json(manifest)["files"], MANIFEST, CHECKSUMS, _OLD_MANIFEST}
    # programs that open a file leave others beside it: buildings.gpkg.aux.xml, project.qgz~
    if foreign := sorted(name for name in there if not name.startswith(tuple(written))):
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise InputError(f"{folder}: holds a file that is not of the pack ({foreign[0]}{more}); give another folder")


def _is_zipped_pack(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(Path(name).name == Path(MANIFEST).name for name in archive.namelist())


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, read block by block."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def write_pack(
    folder: Path,
    handing: HandoverFacts,
    labels: pd.DataFrame,
    selection: Selection,
    *,
    card: CardFacts,
    facts: PackFacts,
    settings: Mapping[str, Any],
    with_zip: bool = True,
    shapefile: bool = False,
    progress: ProgressCallback | None = None,
) -> Pack:
    """Write a pack, replacing one of that name.

    Args:
        folder: where; its parent is made.
        handing: the map, which of its buildings, and what report and offline map say of it.
        labels: the current labels (`LabelStore.current`); those of the buildings handed over go along.
        selection: the filter that `handing.rows` are of.
        card: facts for the card, which is of the whole map.
        facts: facts for README, file metadata and manifest.
        settings: what the run was trained with, as JSON values.
        with_zip: whether `<folder>.zip` with the same bytes is written beside it.
        shapefile: whether a Shapefile goes along too.
        progress: told the files written, and all files.

    Raises:
        InputError: no building is left, or see `write_geojson`. StorageError: the disk is full or not writable.
    """
    table, rows = handing.table, handing.rows
    if not len(rows):
        raise InputError(f"pack: no building of the map is left by the filter ({selection.words}); widen it")
    chosen = table if len(rows) == len(table) else table.iloc[rows].reset_index(drop=True)
    metadata = _metadata(facts, selection, len(rows))
    layers = pack_layers(handing, chosen)
    bounds: tuple[float, float, float, float] = tuple(chosen.total_bounds.tolist())
    with atomic_directory(folder) as temporary:
        extra = temporary / EXTRA
        extra.mkdir()
        steps: list[Step] = [
            *_building_steps(temporary, chosen, metadata, layers, handing, bounds),
            *page_steps(temporary, handing),
            *_extra_steps(extra, chosen, handing, layers, metadata, shapefile=shapefile),
            partial(_write_labels, labels, chosen, extra / "labels.csv"),
            partial(write_card, extra / "card.md", table, card),
        ]
        for number, step in enumerate(steps):
            step()
            if progress is not None:
                progress(number + 1, len(steps) + 1)
        left = len(table) - int(table["assessed"].sum())
        page = readme(
            chosen,
            facts,
            selection,
            _names(temporary),
            total=len(table),
            not_assessed=left,
            statement=handing.totals.statement,
            changes=() if handing.changes is None else (handing.changes.sentence, *handing.changes.notes),
        )
        write_text(extra / "README.txt", page)
        _write_lists(temporary, handing, bounds, metadata, selection, settings)
        zip_path = folder.with_name(f"{folder.name}.zip") if with_zip else None
        if zip_path is not None:
            _write_zip(temporary, zip_path, inside=f"{facts.event}-damage-map")
    if progress is not None:
        progress(len(steps) + 1, len(steps) + 1)
    return Pack(folder=folder, zip_path=zip_path, buildings=len(rows), statement=handing.totals.statement)


def _building_steps(
    folder: Path,
    chosen: gpd.GeoDataFrame,
    metadata: Metadata,
    layers: Mapping[str, gpd.GeoDataFrame],
    handing: HandoverFacts,
    bounds: tuple[float, float, float, float],
) -> list[Step]:
    """The buildings in every format, the raster, and the project that shows them."""
    special: Mapping[str, Mapping[str, Any]] = {".geojson": {"style": False}, ".gpkg": {"layers": layers}}
    steps: list[Step] = [
        partial(FORMATS[ending], chosen, folder / f"{LAYER}{ending}", metadata=metadata, **special.get(ending, {}))
        for ending in BUILDINGS
    ]
    project = partial(write_project, folder / "project.qgz", handing.event_name, [LAYER, *layers], bounds)
    return [*steps, partial(write_geotiff, chosen, folder / "map.tif", metadata=metadata), project]


def _extra_steps(
    folder: Path,
    chosen: gpd.GeoDataFrame,
    handing: HandoverFacts,
    layers: Mapping[str, gpd.GeoDataFrame],
    metadata: Metadata,
    *,
    shapefile: bool,
) -> list[Step]:
    steps: list[Step] = [
        partial(write_csv, totals_table(handing), folder / "totals.csv"),
        partial(write_csv, _legend(), folder / "legend.csv"),
        *(partial(write_text, folder / "styles" / f"{name}.qml", layer_qml(name)) for name in (LAYER, *layers)),
    ]
    if len(chosen) <= TILES_UP_TO:
        steps.append(partial(FORMATS[".pmtiles"], chosen, folder / f"{LAYER}.pmtiles", metadata=metadata))
    if handing.changes is not None:
        steps.append(partial(write_changes, folder, handing.changes))
    if shapefile:
        steps.append(partial(FORMATS[".shp"], chosen, folder / "shapefile" / f"{LAYER}.shp", metadata=metadata))
    return steps


def _legend() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "class": list(LEGEND),
            "title": [entry.title for entry in LEGEND.values()],
            "colour": [entry.colour for entry in LEGEND.values()],
            "pixel_value": [CODES[key] for key in LEGEND],
        }
    )


def _write_labels(labels: pd.DataFrame, chosen: gpd.GeoDataFrame, path: Path) -> None:
    write_label_csv(labels[labels["building_id"].isin(set(chosen["building_id"].tolist()))], path)


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _write_lists(
    folder: Path,
    handing: HandoverFacts,
    bounds: tuple[float, float, float, float],
    metadata: Metadata,
    selection: Selection,
    settings: Mapping[str, Any],
) -> None:
    """STAC item, manifest and checksums, in this order: each names what was there before it."""
    found = {name: ((folder / name).stat().st_size, sha256_of(folder / name)) for name in _names(folder)}
    item = f"{EXTRA}/item.json"
    write_item(folder / item, handing, bounds, found)
    found[item] = (folder / item).stat().st_size, sha256_of(folder / item)
    manifest = {
        **metadata,
        "filter": selection.to_json(),
        "filter_in_words": selection.words,
        "footprints_of_event": len(handing.table),
        "totals": handing.totals.to_json(),
        "changes": None if handing.changes is None else handing.changes.to_json(),
        "language": handing.language,
        "settings": dict(settings),
        "files": {name: {"sha256": sha256, "bytes": size} for name, (size, sha256) in sorted(found.items())},
    }
    write_json(folder / MANIFEST, manifest)
    found[MANIFEST] = (folder / MANIFEST).stat().st_size, sha256_of(folder / MANIFEST)
    write_text(folder / CHECKSUMS, "".join(f"{sha256}  {name}\n" for name, (_, sha256) in sorted(found.items())))


def _metadata(facts: PackFacts, selection: Selection, buildings: int) -> dict[str, str | float | int | None]:
    return {
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


def _write_zip(folder: Path, path: Path, *, inside: str) -> None:
    level = 1 if sum((folder / name).stat().st_size for name in _names(folder)) > _BIG_BYTES else 6
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive,
    ):
        for name in _names(folder):
            archive.write(folder / name, f"{inside}/{name}")

"""What `damage-ssl footprints damage` does: labels into classes, train, look, write."""

from pathlib import Path

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from damage_ssl.cli.console import Console
from damage_ssl.cli.detect_stage import check_ending, write_table
from damage_ssl.detection.damage import DAMAGED, INTACT, UNLABELLED, TwoDates, damaged_shares, train_damage
from damage_ssl.detection.placing import placed_footprints
from damage_ssl.detection.settings import DetectionSettings, DetectionTraining
from damage_ssl.event.catalog import Event
from damage_ssl.files import atomic_path
from damage_ssl.grades import ClassScheme, LabelValue, scheme_named
from damage_ssl.pipeline.stages import open_labels

_CSV = ".csv"


def damage(
    console: Console,
    workspace: Path,
    name: str,
    *,
    scheme: str,
    out: Path,
    settings: DetectionSettings,
    training: DetectionTraining,
) -> gpd.GeoDataFrame:
    """Write a table of `building_id`, `damaged_share` (empty where it cannot be seen) and geometry (not in a CSV).

    Raises:
        LabelsError: too few labels. WorkspaceError: no footprints. InputError: another ending, or unreadable imagery.
    """
    check_ending(out, also=(_CSV,))
    event = Event.open(workspace, name)
    placed = placed_footprints(event)
    known = known_damage(event, placed.table["building_id"].astype(str).tolist(), scheme_named(scheme))
    dates = TwoDates(event.scenes("pre"), event.scenes("post"), placed, known, gsd_m=settings.gsd_m)
    labelled = {value: int(np.count_nonzero(known == value)) for value in (INTACT, DAMAGED)}
    console.say(f"training on {labelled[INTACT]:,} intact and {labelled[DAMAGED]:,} damaged buildings")
    with console.progress("train") as bar:
        network, steps = train_damage(dates, training, progress=bar)
    with console.progress("damage") as bar:
        shares = damaged_shares(network, dates, settings, progress=bar)
    table = event.footprints()[["building_id", "geometry"]]
    table.insert(1, "damaged_share", shares.round(4))
    write_damage(table, out)
    unseen = int(np.isnan(shares).sum())
    console.say(f"{len(table) - unseen:,} buildings written to {out}; {unseen:,} cannot be seen on both dates")
    console.result(
        {
            "event": name,
            "buildings": len(table),
            "not_seen": unseen,
            "labelled_intact": labelled[INTACT],
            "labelled_damaged": labelled[DAMAGED],
            "steps": steps,
            "out": str(out),
        }
    )
    return table


def known_damage(event: Event, ids: list[str], scheme: ClassScheme) -> NDArray[np.int8]:
    """[N] for the buildings of these ids: `DAMAGED` or `INTACT` as the scheme says, else `UNLABELLED`."""
    labels = open_labels(event).current()
    known: dict[str, int] = {}
    for building_id, value in zip(labels["building_id"].astype(str), labels["value"], strict=True):
        index = scheme.index_of(LabelValue(value))
        if index is not None:
            known[building_id] = DAMAGED if index >= scheme.damaged_from else INTACT
    return np.array([known.get(building_id, UNLABELLED) for building_id in ids], dtype=np.int8)


def write_damage(table: gpd.GeoDataFrame, path: Path) -> None:
    """Write as CSV (without geometry), or as `detect_stage.write_table`, atomically.

    Raises:
        InputError: another ending. StorageError: the disk is full or read-only.
    """
    if path.suffix.lower() != _CSV:
        write_table(table, path)
        return
    with atomic_path(path) as temporary:
        table.drop(columns="geometry").to_csv(temporary, index=False)

"""The footprints of an event on disk: the buildings, what was left out, and a report a source."""

import dataclasses
from pathlib import Path

import pandas as pd

from damage_ssl.event.footprints.model import FootprintSet, SourceReport, no_left_out
from damage_ssl.files import atomic_path, read_json, write_json
from damage_ssl.settings import FootprintSettings, from_mapping, to_mapping

FOOTPRINTS_FILE = "footprints.parquet"
LEFT_OUT_FILE = "footprints_left_out.parquet"
REPORT_FILE = "footprints_report.json"
FILES = (FOOTPRINTS_FILE, LEFT_OUT_FILE, REPORT_FILE)


def write_footprints(folder: Path, found: FootprintSet) -> None:
    """Write the footprints of an event, each file in one step; the buildings last, since they make the set count.

    Raises:
        StorageError: the disk is full or read-only.
    """
    with atomic_path(folder / LEFT_OUT_FILE) as temporary:
        found.left_out.astype({"overlap": float}).to_parquet(temporary)
    report = {
        "settings": to_mapping(found.settings),
        "sources": [dataclasses.asdict(report) for report in found.sources],
    }
    write_json(folder / REPORT_FILE, report)
    with atomic_path(folder / FOOTPRINTS_FILE) as temporary:
        found.table.to_parquet(temporary)


def read_reports(folder: Path) -> tuple[SourceReport, ...]:
    """The reports of an event's sources; none for an event made before there were any."""
    path = folder / REPORT_FILE
    return tuple(SourceReport(**values) for values in read_json(path)["sources"]) if path.is_file() else ()


def read_settings(folder: Path) -> FootprintSettings:
    """How an event's footprints were read."""
    path = folder / REPORT_FILE
    values = read_json(path)["settings"] if path.is_file() else {}
    return from_mapping(FootprintSettings, values, str(path))


def read_left_out(folder: Path) -> pd.DataFrame:
    """The footprints that were left out: source, source_id, reason, duplicate_of, overlap."""
    path = folder / LEFT_OUT_FILE
    return pd.read_parquet(path) if path.is_file() else no_left_out()

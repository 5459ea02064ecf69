"""By what an event's buildings are grouped to see whether its map is worse for some of them."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.errors import InputError, nearest_name
from damage_ssl.events.event import Event
from damage_ssl.patches.store import PatchStore
from damage_ssl.products.units import assign_units, read_units
from damage_ssl.settings import PatchSettings

SIZES_M2 = (50, 100, 200, 500)
"""Limits of the classes of footprint area."""

GroupsOf = Callable[[NDArray[np.str_]], Mapping[str, NDArray[np.str_]]]
"""The name of each building's group, by what is grouped, of building ids [N]; an empty name is no group."""


def groupings(event: Event, by: Sequence[str], units: Path | None = None) -> GroupsOf:
    """How to group an event's buildings: `size` (footprint area), `scene` (post image), `unit` (areas of the file
    `units`), `source` (of the footprint), `quality` (what harms the picture most, where it is half of what is allowed).

    Raises:
        InputError: an unknown word, `unit` without a file or a file without `unit`, or a file that cannot be read.
    """
    known = {"size": _sizes, "scene": _scenes, "source": _sources, "quality": _quality}
    for word in by:
        if word not in (*known, "unit"):
            raise InputError(
                f"--by {word}: group by {', '.join((*known, 'unit'))}; {nearest_name(word, [*known, 'unit'])}"
            )
    if "unit" in by and units is None:
        raise InputError("--by unit: name the file of areas with --units FILE")
    areas = None if units is None else read_units(units)
    if areas is not None and "unit" not in by:
        raise InputError("--units is for --by unit: add unit to --by")

    def groups_of(building_id: NDArray[np.str_]) -> dict[str, NDArray[np.str_]]:
        index = PatchStore.open(event.patches_path).index().set_index("building_id").loc[building_id.tolist()]
        found = {}
        for word in dict.fromkeys(by):
            if word == "unit" and areas is not None:
                shapes = event.footprints().set_index("building_id").geometry.loc[building_id.tolist()]
                assigned = assign_units(shapes, areas)
                found[word] = np.array([*assigned.name, "outside"], dtype=str)[assigned.of_building]
            else:
                found[word] = known[word](event, index)
        return found

    return groups_of


def _sizes(_event: Event, index: pd.DataFrame) -> NDArray[np.str_]:
    names = [
        f"under {SIZES_M2[0]} m²",
        *(f"{low} to {high} m²" for low, high in pairwise(SIZES_M2)),
        f"{SIZES_M2[-1]} m² and more",
    ]
    return np.asarray(np.array(names)[np.digitize(index["area_m2"].to_numpy(float), SIZES_M2)], dtype=str)


def _scenes(_event: Event, index: pd.DataFrame) -> NDArray[np.str_]:
    return np.asarray(index["post_image_id"].fillna(""), dtype=str)


def _sources(event: Event, index: pd.DataFrame) -> NDArray[np.str_]:
    source = event.footprints().set_index("building_id")["source"].loc[index.index]
    return np.asarray(source.fillna("not stated"), dtype=str)


def _quality(event: Event, index: pd.DataFrame) -> NDArray[np.str_]:
    allowed = PatchStore.kept_settings(event.patches_path) or PatchSettings()
    limits = {
        "veil": ("cloud", allowed.max_cloud),
        "shadow": ("shadow", allowed.max_shadow),
        "saturated": ("saturated", allowed.max_saturated),
        "blur": ("blur_m", allowed.max_blur_m),
    }
    harm = np.stack(
        [
            index[[f"pre_{column}", f"post_{column}"]].astype(float).max(axis="columns").fillna(0) / max(limit, 1e-9)
            for column, limit in limits.values()
        ]
    )
    return np.asarray(np.where(harm.max(axis=0) < 0.5, "clear", np.array(list(limits))[harm.argmax(axis=0)]), dtype=str)

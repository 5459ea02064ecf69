"""What report and offline map of a pack say, in one value, so that every file of a pack says the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from damage_ssl.damage_scale import ClassScheme
from damage_ssl.evaluation.total import Totals
from damage_ssl.imagery.scene import Scene
from damage_ssl.products.difference import RunDifference

if TYPE_CHECKING:
    import geopandas as gpd
    from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True, kw_only=True)
class HandoverFacts:
    """A map that is handed over, with all that is said of it.

    `table` is what `assessed_footprints` returns, whole (EPSG:4326), and `rows` [M] the positions of the buildings that
    the filter shows, said in `selection_words`. `totals` are of the whole map, `units` their areas (`unit_id`, `name`,
    geometry) where totals are given by unit. `scheme` is None before any model or definition. `statement` is the
    validation in words; `licence` None where nobody stated one; `imagery` says where the images come from, a line each;
    `shows_imagery` whether the licence lets a picture of them go out. `aoi` is in EPSG:4326; `created` is ISO 8601;
    `method` says in words how the map was made. `changes` is what changed since the run whose map the receiver has.
    `language` is one of `languages.LANGUAGES`; `template` a folder with
    an organisation's logo and wording.
    """

    event_name: str
    hazard: str | None
    table: "gpd.GeoDataFrame"
    rows: NDArray[np.intp]
    selection_words: str
    totals: Totals
    units: "gpd.GeoDataFrame | None" = None
    scheme: ClassScheme | None
    statement: str | None
    licence: str | None
    imagery: Sequence[str]
    shows_imagery: bool
    pre_scenes: Sequence[Scene]
    post_scenes: Sequence[Scene]
    aoi: "BaseGeometry | None" = None
    created: str
    version: str
    run_id: str | None
    method: str
    language: str = "en"
    template: Path | None = None
    changes: RunDifference | None = None

"""Packs for the tests: five buildings of every kind, and all that goes with them."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from shapely.geometry import box

from damage_ssl.damage_scale import scheme_named
from damage_ssl.evaluation.total import Total, Totals
from damage_ssl.labels.schema import LABEL_COLUMNS
from damage_ssl.products.handover.card import CardFacts
from damage_ssl.products.handover.facts import HandoverFacts
from damage_ssl.products.handover.pack_files import (
    write_pack,
)
from damage_ssl.products.handover.receiver_note import PackFacts
from damage_ssl.products.selection import Selection

FACTS = PackFacts(
    event="quake",
    hazard="earthquake",
    created="2026-01-02T03:04:05+00:00",
    version="9.9",
    run_id="run-7",
    algorithm="fixmatch",
    scheme=scheme_named("binary-major"),
    threshold=0.4,
    statement=None,
    validated=True,
    imagery=["pre: a, 2026-01-01, 0.50 m a pixel"],
    sources=["osm: 5 outlines, from roads.pbf"],
    licence=None,
)
CARD = CardFacts(event="quake", hazard="earthquake", algorithm="fixmatch", scheme=scheme_named("binary-major"))


def table() -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(
        {
            "building_id": list("abcde"),
            "assessed": [True, True, True, False, True],
            "not_assessed_reason": [None, None, None, "no_post", None],
            "damage_class": ["damaged", "destroyed", "intact", None, "damaged"],
            "damaged": pd.array([True, True, False, None, True], dtype="boolean"),
            "p_damaged": [0.9, 0.2, 0.1, np.nan, 0.5],
            "label_source": ["model", "analyst", "model", None, "model"],
            "pre_image_id": ["p"] * 5,
            "pre_datetime": ["2026-01-01T10:00:00Z"] * 5,
            "post_image_id": ["q"] * 5,
            "post_datetime": ["2026-01-03T10:00:00Z", None, "2026-01-05T10:00:00Z", None, None],
            "run_id": ["run-7"] * 5,
            "footprint_source": "osm",
            "area_m2": 100.0,
            "lon": [(x + 0.5) / 1000 for x in range(5)],
            "lat": 0.0005,
            "threshold": 0.4,
            "comment": None,
        },
        geometry=[box(x / 1000, 0, (x + 1) / 1000, 0.001) for x in range(5)],
        crs=4326,
    )


def labels(*buildings: str) -> pd.DataFrame:
    rows = [
        {"building_id": b, "value": "destroyed", "labeller": "Ana", "drawn": "map", "comment": ""} for b in buildings
    ]
    return pd.DataFrame(rows, columns=list(LABEL_COLUMNS))


def handing(
    selection: Selection, facts: PackFacts = FACTS, given: gpd.GeoDataFrame | None = None, **more: Any
) -> HandoverFacts:
    whole = table() if given is None else given
    total = Total(
        unit_id=None,
        name="quake",
        assessed=4,
        not_assessed=1,
        damaged=3,
        damaged_low=2,
        damaged_high=4,
        model_count=3,
        method="by hand",
        answers=2,
    )
    known: dict[str, Any] = {"totals": Totals(total=total, statement="About 3 (2–4).")} | more
    return HandoverFacts(
        event_name="quake",
        hazard="earthquake",
        table=whole,
        rows=np.flatnonzero(selection.mask(whole)),
        selection_words=selection.words,
        scheme=facts.scheme,
        statement="Not validated.",
        licence=facts.licence,
        imagery=facts.imagery,
        shows_imagery=False,
        pre_scenes=[],
        post_scenes=[],
        aoi=box(-0.001, -0.001, 0.006, 0.002),
        created=facts.created,
        version=facts.version,
        run_id=facts.run_id,
        method="fixmatch",
        **known,
    )


def write(folder: Path, selection: Selection | None = None, facts: PackFacts = FACTS, **more: Any):
    chosen = selection or Selection()
    return write_pack(
        folder,
        handing(chosen, facts),
        labels("b", "c"),
        chosen,
        card=more.pop("card", CARD),
        facts=facts,
        settings={"train": {"seed": 3}},
        **more,
    )


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

"""HXL: the row of hashtags below the header of CSV and Excel files, and text that spreadsheets do not run.

https://hxlstandard.org/standard/1-1final/. `libhxl` reads and checks such files; it offers no tag for a column's name.
"""

import re
from collections.abc import Mapping

import pandas as pd

TAGS: Mapping[str, str] = {
    "building_id": "#loc+building+id",
    "footprint_source": "#meta+footprint+source",
    "footprint_source_id": "#loc+building+id+source",
    "footprint_confidence": "#indicator+footprint+confidence",
    "area_m2": "#indicator+area+m2",
    "lon": "#geo+lon",
    "lat": "#geo+lat",
    "plus_code": "#geo+code+plus",
    "damage_class": "#impact+building+damage+class",
    "damage_level": "#impact+building+damage+level",
    "damaged": "#impact+building+damaged",
    "model_class": "#impact+building+damage+model",
    "model_damaged": "#impact+building+damaged+model",
    "analyst_class": "#impact+building+damage+analyst",
    "p_damaged_image": "#indicator+probability+damaged+image",
    "uncertainty": "#indicator+uncertainty",
    "assessed": "#status+assessed",
    "not_assessed_reason": "#status+reason",
    "not_assessed_detail": "#status+reason+detail",
    "pre_datetime": "#date+pre",
    "post_datetime": "#date+post",
    "gsd_m": "#indicator+gsd+m",
    "label_time": "#date+label",
    "comment": "#description+comment",
    "ems_damage_gra": "#impact+building+ems",
    "unosat_class": "#impact+building+unosat",
    "fema_class": "#impact+building+fema",
    "damaged_low": "#impact+building+damaged+min",
    "damaged_high": "#impact+building+damaged+max",
    "damaged_share": "#impact+building+damaged+share",
    "damaged_share_low": "#impact+building+damaged+share+min",
    "damaged_share_high": "#impact+building+damaged+share+max",
    "unit_id": "#adm+code",
    "name": "#adm+name",
}
"""By column; others get `#meta+…` of their name, probabilities `#indicator+probability+…`."""

_NOT_A_WORD = re.compile(r"[^a-z0-9]+")
_RUNS = re.compile(r"^(?=[=+\-@\t\r\n])")


def hxl_tag(column: str) -> str:
    """The hashtag and attributes of a column."""
    if column in TAGS:
        return TAGS[column]
    probability = column.startswith("p_")
    words = [word for word in _NOT_A_WORD.split(column.lower().removeprefix("p_" if probability else "")) if word]
    attributes = "".join(f"+{word if word[0].isalpha() else f'x{word}'}" for word in words)
    return f"{'#indicator+probability' if probability else '#meta'}{attributes}"


def as_text(column: pd.Series) -> pd.Series:
    """Text that no spreadsheet takes for a formula: before a leading `=`, `+`, `-`, `@`, tab or line end stands a `'`.

    Columns that hold no text come back as they are.
    """
    if column.dtype != object and not isinstance(column.dtype, pd.StringDtype):
        return column
    return column.astype(object).where(column.isna(), column.astype(str).str.replace(_RUNS, "'", regex=True))

"""The assessment as a table: every footprint exactly once, with its result, coverage, provenance and human answer."""

from functools import cache, partial

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from openlocationcode import openlocationcode

from damage_ssl.damage_scale import (
    EMS_NOT_APPLICABLE,
    EMS_WORDS,
    FEMA_WORDS,
    UNOSAT_CODES,
    ClassScheme,
    DamageGrade,
    LabelValue,
    word_for,
)
from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.evaluation.calibration import decide
from damage_ssl.products.assessment import BuildingResult, building_result
from damage_ssl.runs.predictions import IMAGE_COLUMN, class_probabilities, probability_column

PLUS_CODE_DIGITS = 11
"""A cell of about 3 m: the usual ten digits are 14 m, wider than many houses."""


_TEXTS_FROM_INDEX = ("pre_image_id", "pre_datetime", "post_image_id", "post_datetime", "shift_source")
_NUMBERS_FROM_INDEX = (
    "gsd_m",
    "shift_x_m",
    "shift_y_m",
    "align_score",
    "footprint_shift_x_m",
    "footprint_shift_y_m",
)


def assessed_footprints(
    footprints: gpd.GeoDataFrame,
    index: pd.DataFrame,
    predictions: pd.DataFrame | None,
    labels: pd.DataFrame,
    *,
    scheme: ClassScheme,
    threshold: float | None,
    run_id: str | None,
    method: str | None = None,
) -> gpd.GeoDataFrame:
    """Join everything known of each footprint, by `building_id` only.

    `damage_class` is of one scale, that of `scheme`: of intact and damaged, or of the four grades. An analyst's answer
    overrides the model's: a grade or verdict counts as its class of the scheme (minor damage is `intact` where damaged
    means major or worse), and the building counts as assessed even if the model could not see it; under four grades a
    mere verdict gives `damaged` and no class. Another answer takes the building off the assessment: `unclear` → reason
    `unclear`, `bad-imagery` → `bad_imagery`, `offset` → `misaligned`, `not-a-building` → `not_a_building`. What each
    side said stands in columns of its own: `analyst_class` is the answer as it was given, `model_class` and
    `model_damaged` the model's word, which no answer touches; nor are `p_*` and `uncertainty`. `edited` is true where
    there was a model's class and the answer changes it. `damage_level` 0-3 is given where the scheme has grades.

    The crosswalks have a word only where it is known: where all grades that the building may have, by the analyst's
    grade or else by its class, have the same one.

    Before any training `predictions`, `threshold` and `run_id` are None: the same rows without probabilities, with the
    answers as classes of `scheme`, the event's.

    Args:
        footprints: EPSG:4326: `building_id`, `source`, `source_id`, `area_m2`, geometry.
        index: the patch index: every footprint once.
        predictions: what `predict_run` returns: every building that the index calls assessed, or None.
        labels: the current labels (`LabelStore.current`).
        scheme: the classes of the predictions; before any training the event's.
        threshold: damaged is P(damaged) ≥ threshold.
        run_id: the run that predicted.
        method: how, in words; goes into every row, since a table travels without its card.

    Returns:
        The footprints, in their order, with the fields of the standards page, `footprint_confidence` (of sources that
        give one, such as detection), `not_assessed_detail`, the footprint's own shift and the source of the shifts, and
        the indicative crosswalks (`ems_damage_gra`, `unosat_class`, `fema_class`). Columns that the index or the
        footprints of an older event lack are null. Text columns are objects with None where there is none;
        `damage_level`, `unosat_class` are Int64 and `damaged`, `model_damaged` are boolean, with NA; other numbers are
        float64 with NaN.

    Raises:
        InputError: a footprint is there twice. WorkspaceError: the tables do not belong together.
    """
    _check_together(footprints, index, predictions, labels)
    if predictions is not None and threshold is None:
        raise WorkspaceError("product: predictions without a threshold; predict again with `damage-ssl predict`")
    building_id = footprints["building_id"].astype(str)
    by_building = index.set_index(index["building_id"].astype(str)).loc[building_id]
    said = labels.set_index(labels["building_id"].astype(str)).reindex(building_id)
    model_class = _model_classes(predictions, scheme, threshold, building_id)
    result_of = cache(partial(building_result, scheme=scheme))  # few kinds of rows, hundreds of thousands of them
    results = [
        result_of(model, bool(assessed), _text(reason), _text(value))
        for model, assessed, reason, value in zip(
            model_class, by_building["assessed"], by_building["not_assessed_reason"], said["value"], strict=True
        )
    ]
    columns: dict[str, object] = {
        "building_id": _objects(building_id.tolist()),
        "footprint_source": _texts(footprints["source"]),
        "footprint_source_id": _texts(footprints["source_id"]),
        "footprint_confidence": _numbers(footprints, "confidence"),
        "area_m2": footprints["area_m2"].to_numpy(dtype=np.float64),
        "lon": by_building["lon"].to_numpy(dtype=np.float64),
        "lat": by_building["lat"].to_numpy(dtype=np.float64),
        "plus_code": [
            openlocationcode.encode(lat, lon, PLUS_CODE_DIGITS)
            for lon, lat in zip(by_building["lon"], by_building["lat"], strict=True)
        ],
        "damage_class": _objects([result.damage_class for result in results]),
        "damage_level": pd.array([result.damage_level for result in results], dtype="Int64"),
        "damaged": pd.array([result.damaged for result in results], dtype="boolean"),
        **_probabilities(predictions, scheme, building_id),
        "model_class": _objects(model_class),
        "model_damaged": pd.array([_is_damaged(name, scheme) for name in model_class], dtype="boolean"),
        "analyst_class": _objects([result.answer for result in results]),
        "assessed": np.array([result.assessed for result in results], dtype=bool),
        "not_assessed_reason": _objects([result.reason for result in results]),
        "not_assessed_detail": _details(results, by_building),
        **{name: _texts(_column(by_building, name)) for name in _TEXTS_FROM_INDEX},
        **{name: _numbers(by_building, name) for name in _NUMBERS_FROM_INDEX},
        "run_id": _objects([run_id] * len(results)),
        "method": _objects([method] * len(results)),
        "threshold": np.full(len(results), np.nan if threshold is None else threshold),
        "label_source": _objects([result.source for result in results]),
        "labeller": _texts(said["labeller"]),
        "label_time": _texts(said["time"]),
        "edited": np.array([result.edited for result in results], dtype=bool),
        "comment": _objects([text or None for text in _texts(said["comment"])]),
        **_crosswalk(results, scheme),
    }
    return gpd.GeoDataFrame(columns, geometry=footprints.geometry.to_numpy(), crs=footprints.crs)


def _check_together(
    footprints: gpd.GeoDataFrame, index: pd.DataFrame, predictions: pd.DataFrame | None, labels: pd.DataFrame
) -> None:
    known = set(_unique(footprints, "footprints", "give every footprint its own building_id"))
    indexed = set(_unique(index, "patch index", "cut the patches again with `damage-ssl patches`"))
    again = "cut the patches again with `damage-ssl patches`"
    _same(known - indexed, "footprints", "has no row in the patch index", again)
    _same(indexed - known, "patch index", "is not among the footprints", again)
    if predictions is not None:
        predicted = set(_unique(predictions, "predictions", "predict again with `damage-ssl predict`"))
        assessed = set(index.loc[index["assessed"].to_numpy(dtype=bool), "building_id"].astype(str))
        again = "the patches changed since; predict again with `damage-ssl predict`"
        _same(assessed - predicted, "predictions", "is assessed but was not predicted", again)
        _same(predicted - assessed, "predictions", "was predicted but is not assessed", again)
    labelled = set(_unique(labels, "labels", "give the current labels, one a building"))
    _same(labelled - known, "labels", "is not among the footprints", "the labels belong to other footprints")


def _unique(table: pd.DataFrame, what: str, advice: str) -> list[str]:
    building_id = table["building_id"].astype(str)
    twice = building_id[building_id.duplicated()]
    if len(twice):
        raise InputError(f"{what}: building '{twice.iloc[0]}' is there more than once; {advice}")
    return building_id.tolist()


def _same(odd: set[str], what: str, problem: str, advice: str) -> None:
    if odd:
        more = f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""
        raise WorkspaceError(f"{what}: building '{min(odd)}'{more} {problem}; {advice}")


def _model_classes(
    predictions: pd.DataFrame | None, scheme: ClassScheme, threshold: float | None, building_id: pd.Series
) -> list[str | None]:
    if predictions is None or threshold is None:
        return [None] * len(building_id)
    decided = decide(class_probabilities(predictions, scheme), scheme, threshold)
    name_of = dict(
        zip(predictions["building_id"].astype(str), (scheme.class_names[index] for index in decided), strict=True)
    )
    return [name_of.get(building) for building in building_id]


def _is_damaged(damage_class: str | None, scheme: ClassScheme) -> bool | None:
    return None if damage_class is None else scheme.is_damaged(LabelValue(damage_class))


def _probabilities(predictions: pd.DataFrame | None, scheme: ClassScheme, building_id: pd.Series) -> dict[str, object]:
    """The columns `p_damaged`, `p_<class>`, `p_damaged_image`, `uncertainty`; null where there are none."""
    classes = () if predictions is None else tuple(probability_column(name) for name in scheme.class_names)
    names = dict.fromkeys(("p_damaged", *classes, IMAGE_COLUMN, "uncertainty"))
    if predictions is None:
        return {name: np.full(len(building_id), np.nan) for name in names}
    rows = predictions.set_index(predictions["building_id"].astype(str)).reindex(building_id)
    return {name: _numbers(rows, name) for name in names}


def _crosswalk(results: list[BuildingResult], scheme: ClassScheme) -> dict[str, object]:
    grades_of = cache(partial(_grades_of, scheme=scheme))
    grades = [grades_of(result) for result in results]
    ems = [
        word_for(each, EMS_WORDS) if result.assessed else EMS_NOT_APPLICABLE
        for result, each in zip(results, grades, strict=True)
    ]
    unosat = pd.array([word_for(each, UNOSAT_CODES) for each in grades], dtype="Int64")
    fema = _objects([word_for(each, FEMA_WORDS) for each in grades])
    return {"ems_damage_gra": _objects(ems), "unosat_class": unosat, "fema_class": fema}


def _grades_of(result: BuildingResult, scheme: ClassScheme) -> frozenset[DamageGrade]:
    """The grades that the building may have: the one that an analyst gave, else those of its class or verdict."""
    said = result.answer or result.damage_class
    return frozenset() if said is None else scheme.grades_behind(LabelValue(said))


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    return table[name] if name in table else pd.Series([None] * len(table), index=table.index, dtype=object)


def _numbers(table: pd.DataFrame, name: str) -> NDArray[np.float64]:
    return np.asarray(pd.to_numeric(_column(table, name)), dtype=np.float64)


def _details(results: list[BuildingResult], by_building: pd.DataFrame) -> pd.Series:
    """What the index adds to its own reason, where that reason still stands after the analyst's answer."""
    rows = zip(
        results, by_building["not_assessed_reason"], _texts(_column(by_building, "not_assessed_detail")), strict=True
    )
    return _objects(
        [detail if not result.assessed and result.reason == _text(reason) else None for result, reason, detail in rows]
    )


def _texts(column: pd.Series) -> pd.Series:
    return _objects([_text(value) for value in column])


def _text(value: object) -> str | None:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return None
    return value.isoformat() if isinstance(value, pd.Timestamp) else str(value)


def _objects(values: list[str | None]) -> pd.Series:
    """Text that keeps None: pandas' own text type would turn it into NaN."""
    return pd.Series(values, dtype=object)

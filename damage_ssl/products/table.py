"""The assessment as a table: every footprint exactly once, with its result, coverage, provenance and human answer."""

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from openlocationcode import openlocationcode

from damage_ssl.damage_scale import EMS_NOT_APPLICABLE, ClassScheme, ems_damage_gra, mildest_grade, unosat_class
from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.evaluation.calibration import decide
from damage_ssl.products.assessment import BuildingResult, building_result
from damage_ssl.runs.predictions import class_probabilities, probability_column

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
    scheme: ClassScheme | None,
    threshold: float | None,
    run_id: str | None,
    method: str | None = None,
) -> gpd.GeoDataFrame:
    """Join everything known of each footprint, by `building_id` only.

    An analyst's answer overrides the model's: a grade or verdict becomes `damage_class` as it was given (the finer
    word, also under a binary scheme), with `damage_level` 0-3 for a grade; and the building counts as assessed even if
    the model could not see it. Another answer takes the building off the assessment: `unclear` → reason `unclear`,
    `bad-imagery` → `bad_imagery`, `offset` → `misaligned`, `not-a-building` → `not_a_building`. The model's own numbers
    (`p_*`, `uncertainty`) are never touched. `edited` is true where there was a model's class and the answer changes
    it. A binary model cannot know the grade: its `damage_level` is null.

    Before any training `predictions`, `scheme`, `threshold` and `run_id` are None: the same rows without
    probabilities; `damaged` is then given only where all schemes agree on the analyst's grade.

    Args:
        footprints: EPSG:4326: `building_id`, `source`, `source_id`, `area_m2`, geometry.
        index: the patch index: every footprint once.
        predictions: what `predict_run` returns: every building that the index calls assessed, or None.
        labels: the current labels (`LabelStore.current`).
        scheme: the classes of the predictions.
        threshold: damaged is P(damaged) ≥ threshold.
        run_id: the run that predicted.
        method: how, in words; goes into every row, since a table travels without its card.

    Returns:
        The footprints, in their order, with the fields of the standards page, `footprint_confidence` (of sources that
        give one, such as detection), `not_assessed_detail`, the footprint's own shift and the source of the shifts, and
        the indicative crosswalk (`ems_damage_gra`, `unosat_class`). Columns that the index or the footprints of an
        older event lack are null. Text columns are objects with None where there is none; `damage_level`,
        `unosat_class` are Int64 and `damaged` is boolean, with NA; other numbers are float64 with NaN.

    Raises:
        InputError: a footprint is there twice. WorkspaceError: the tables do not belong together.
    """
    _check_together(footprints, index, predictions, labels)
    if predictions is not None and (scheme is None or threshold is None):
        raise WorkspaceError(
            "product: predictions without a scheme and threshold; predict again with `damage-ssl predict`"
        )
    building_id = footprints["building_id"].astype(str)
    by_building = index.set_index(index["building_id"].astype(str)).loc[building_id]
    said = labels.set_index(labels["building_id"].astype(str)).reindex(building_id)
    model_class = _model_classes(predictions, scheme, threshold, building_id)
    results = [
        building_result(model, bool(assessed), _text(reason), _text(value), scheme)
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
    predictions: pd.DataFrame | None, scheme: ClassScheme | None, threshold: float | None, building_id: pd.Series
) -> list[str | None]:
    if predictions is None or scheme is None or threshold is None:
        return [None] * len(building_id)
    decided = decide(class_probabilities(predictions, scheme), scheme, threshold)
    name_of = dict(
        zip(predictions["building_id"].astype(str), (scheme.class_names[index] for index in decided), strict=True)
    )
    return [name_of.get(building) for building in building_id]


def _probabilities(
    predictions: pd.DataFrame | None, scheme: ClassScheme | None, building_id: pd.Series
) -> dict[str, object]:
    """The columns `p_damaged`, `p_<class>` and `uncertainty`; null where nothing was predicted."""
    classes = () if scheme is None else tuple(probability_column(name) for name in scheme.class_names)
    names = dict.fromkeys(("p_damaged", *classes, "uncertainty"))
    if predictions is None:
        return {name: np.full(len(building_id), np.nan) for name in names}
    rows = predictions.set_index(predictions["building_id"].astype(str)).reindex(building_id)
    return {name: rows[name].to_numpy(dtype=np.float64) for name in names}


def _crosswalk(results: list[BuildingResult], scheme: ClassScheme | None) -> dict[str, object]:
    grades = [None if result.damage_class is None else mildest_grade(result.damage_class, scheme) for result in results]
    ems = [
        EMS_NOT_APPLICABLE if not result.assessed else None if grade is None else ems_damage_gra(grade)
        for result, grade in zip(results, grades, strict=True)
    ]
    unosat = [None if grade is None else unosat_class(grade) for grade in grades]
    return {"ems_damage_gra": _objects(ems), "unosat_class": pd.array(unosat, dtype="Int64")}


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

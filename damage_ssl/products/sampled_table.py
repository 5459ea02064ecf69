"""The totals of any map, of another tool too, from a random sample of its buildings."""

from collections.abc import Sequence
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import ClassScheme, LabelValue
from damage_ssl.errors import InputError
from damage_ssl.evaluation.random_sample import current_values
from damage_ssl.evaluation.total import Totals
from damage_ssl.products.total_rows import CountedBuildings, evidence_of, totals_of
from damage_ssl.products.units import assign_units


def sample_log(sample: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """A table of random answers as rows of a label log; see `table_totals`.

    Raises:
        InputError: an answer that is none.
    """
    building, answer = columns
    words = {"1": "damaged", "0": "intact", "true": "damaged", "false": "intact", "1.0": "damaged", "0.0": "intact"}
    values = [
        LabelValue.parse(words.get(str(value).strip().lower(), str(value)), f"sample, row {row}").value
        for row, value in enumerate(sample[answer], start=2)
    ]

    def text(name: str) -> list[str]:
        if name not in sample:
            return [""] * len(sample)
        return ["" if pd.isna(value) else str(value) for value in sample[name]]

    def number(name: str) -> NDArray[np.float64]:
        if name not in sample:
            return np.full(len(sample), np.nan)
        return np.asarray(pd.to_numeric(sample[name], errors="coerce").fillna(-1.0).where(sample[name].notna()), float)

    return pd.DataFrame(
        {
            "building_id": sample[building].astype(str).to_numpy(object),
            "value": np.array(values, dtype=object),
            "labeller": "sample",
            "drawn": "random",
            "inclusion_probability": number("inclusion_probability"),
            "stratum": text("stratum"),
            "cluster_id": text("cluster_id"),
            "cluster_probability": number("cluster_probability"),
        }
    )


def table_totals(
    table: pd.DataFrame,
    sample: pd.DataFrame,
    *,
    scheme: ClassScheme,
    building_id: str = "building_id",
    answer: str = "grade",
    score: str | None = None,
    damaged: str | None = None,
    assessed: str | None = None,
    units: gpd.GeoDataFrame | None = None,
    name: str = "map",
) -> Totals:
    """The totals of any map, of another tool too, from a random sample of its buildings.

    The sample must not have taught the map: nobody can see from here whether it did.

    Args:
        table: a row a building; with geometry where units are given.
        sample: a row an answer, drawn at random from the table's assessed buildings: the building's id, a grade,
            `intact`, `damaged` or 1 and 0; optional `inclusion_probability`, `stratum`, `cluster_id`,
            `cluster_probability`.
        scheme: which grades count as damaged.
        building_id: the column with the building's name, in both.
        answer: the column of the sample with the answer.
        score: column of the table with a number that is higher the more a building looks damaged; it assists.
        damaged: column of the table with the map's verdict, true or 1 for damaged; None: score ≥ 0.5.
        assessed: column that is true or 1 where the map says something; None: where it has a score or a verdict.
        units: as for `event_totals`.
        name: what the whole is called.

    Raises:
        InputError: a column is missing, ids are doubled or not in the table, an answer is none.

    Examples:
        >>> import pandas as pd
        >>> theirs = pd.DataFrame({"building_id": range(400), "burnt": [row % 4 == 0 for row in range(400)]})
        >>> checked = pd.DataFrame({"building_id": range(0, 400, 10), "grade": [1, 0] * 20})
        >>> found = table_totals(theirs, checked, scheme=scheme_named("binary-major"), damaged="burnt")
        >>> found.total.model_count, found.total.damaged, found.total.answers
        (100, 100, 40)
    """
    _has(table, "map", [each for each in (building_id, score, damaged, assessed) if each is not None])
    _has(sample, "sample", [building_id, answer])
    ids = table[building_id].astype(str).to_numpy(str)
    if len(np.unique(ids)) < len(ids):
        raise InputError(
            f"map: values of '{building_id}' are there more than once; name a column that is different in each"
        )
    log = sample_log(sample, (building_id, answer))
    strangers = sorted(set(log["building_id"]) - set(ids.tolist()))
    if strangers:
        raise InputError(f"sample: {len(strangers)} buildings are not in the map, e.g. '{strangers[0]}'; check the ids")
    p = np.full(len(ids), np.nan) if score is None else pd.to_numeric(table[score], errors="coerce").to_numpy(float)
    said = _flags(table[damaged]) if damaged is not None else p >= 0.5
    looked = np.isfinite(p) if score is not None else np.ones(len(ids), dtype=bool)
    if assessed is not None:
        looked = _flags(table[assessed])
    # An answer without a grade takes the building off the assessment, as everywhere.
    no_grade = current_values(log).map(lambda value: scheme.is_damaged(LabelValue(value)) is None)
    looked = looked & ~np.isin(ids, no_grade.index[no_grade.to_numpy(bool)].to_numpy(str))
    has_map = score is not None or damaged is not None
    buildings = CountedBuildings(
        building_id=ids,
        position_of={building: row for row, building in enumerate(ids.tolist())},
        assessed=looked,
        damaged=said,
        flagged=said if has_map else None,
        candidate=looked,
    )
    evidence = evidence_of(log, scheme, buildings)
    assisting = p if score is not None else said.astype(float) if damaged is not None else None
    if assisting is not None:
        fair = np.ones(evidence.drawn.sample.n, dtype=bool)
        evidence = replace(evidence, p_damaged=assisting, fair=fair, words="the map's own")
    assigned = None
    if units is not None:
        if not isinstance(table, gpd.GeoDataFrame):
            raise InputError("map: has no geometry, so nobody can say in which unit a building lies; give GeoJSON")
        assigned = assign_units(table.geometry, units)
    return totals_of(name, buildings, evidence, assigned)


def _has(table: pd.DataFrame, what: str, names: Sequence[str]) -> None:
    for each in names:
        if each not in table:
            raise InputError(
                f"{what}: has no column '{each}' but {', '.join(map(str, table.columns))}; name the right one"
            )


def _flags(column: "pd.Series") -> NDArray[np.bool_]:
    return np.asarray(
        column.astype(str).str.strip().str.lower().isin(["true", "1", "1.0", "yes", "damaged"]), dtype=bool
    )

"""Totals of a map's buildings as rows: of the whole, of each grade, of each unit, and what a person is told of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import ClassScheme, DamageGrade, LabelValue
from damage_ssl.evaluation.random_sample import LogSample, RandomSample, current_values, sample_of_log
from damage_ssl.evaluation.small_areas import pooled_units
from damage_ssl.evaluation.total import Total, Totals
from damage_ssl.evaluation.total_estimates import TotalEstimate, answers_for, estimate_total, score_parts, too_few
from damage_ssl.products.units import OUTSIDE, AssignedUnits

OWN_ANSWERS = 30
"""A unit with so many random answers is estimated from them alone."""
POOLED_ANSWERS, POOLED_UNITS = 30, 3
"""Units with fewer are pooled where the event has so many answers, in so many units."""
WITHIN = 0.10
"""The precision that the next step is counted for."""

COUNT = "count of the map, not an estimate: no random answers"


@dataclass(frozen=True, kw_only=True, eq=False)
class CountedBuildings:
    """The buildings of a map: F rows.

    `damaged` is the map's verdict with people's answers over it, `flagged` the model's own; `candidate` says which a
    random draw could take.
    """

    building_id: NDArray[np.str_]
    position_of: Mapping[str, int]
    """The row of each."""
    assessed: NDArray[np.bool_]
    damaged: NDArray[np.bool_]
    flagged: NDArray[np.bool_] | None
    candidate: NDArray[np.bool_]

    @classmethod
    def of_table(cls, table: pd.DataFrame) -> "CountedBuildings":
        """Those of an exported table (`export_table`)."""
        p = table["p_damaged"].to_numpy(float)
        if "model_damaged" in table:
            flagged: NDArray[np.bool_] = _is_true(table["model_damaged"])
        else:
            flagged = p >= table["threshold"].to_numpy(float)
        has_model = bool(np.isfinite(p).any())
        assessed = table["assessed"].to_numpy(bool)
        building_id = table["building_id"].to_numpy(str)
        return cls(
            building_id=building_id,
            position_of={building: row for row, building in enumerate(building_id.tolist())},
            assessed=assessed,
            damaged=_is_true(table["damaged"]),
            flagged=flagged if has_model else None,
            candidate=np.isfinite(p) if has_model else assessed,
        )


def _is_true(column: "pd.Series[bool]") -> NDArray[np.bool_]:
    return column.eq(True).fillna(False).to_numpy(bool)


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What there is to go by: the log of those buildings, what damaged means, and scores that may assist.

    `p_damaged` [F] assists the draws of which `fair` [n] is True; `words` says what it is.
    """

    log: pd.DataFrame
    scheme: ClassScheme
    drawn: LogSample
    p_damaged: NDArray[np.float64] | None = None
    fair: NDArray[np.bool_] | None = None
    words: str = ""


def evidence_of(log: pd.DataFrame, scheme: ClassScheme, buildings: CountedBuildings) -> Evidence:
    """The random answers of a log about these buildings; rows of others are left out."""
    known = np.array([building in buildings.position_of for building in log["building_id"]], dtype=bool)
    log = log[known].reset_index(drop=True)
    graded = np.isfinite(_truth(log, buildings, scheme.is_damaged))
    place = np.cumsum(buildings.assessed) - 1
    position = np.array([buildings.position_of[building] for building in log["building_id"]], dtype=np.intp)
    row_of = np.where(buildings.assessed[position], place[position], -1)
    drawn = sample_of_log(log, row_of, graded, buildings.candidate[buildings.assessed])
    return Evidence(log=log, scheme=scheme, drawn=drawn)


def totals_of(name: str, buildings: CountedBuildings, evidence: Evidence, units: AssignedUnits | None) -> Totals:
    """Totals of a map's buildings from the evidence.

    The units' totals are estimated each by itself and need not add up to the whole.
    """
    scheme, size = evidence.scheme, int(buildings.assessed.sum())
    sample, score = evidence.drawn.sample, None
    if evidence.p_damaged is not None and evidence.fair is not None:
        sample, score = sample.without(~evidence.fair), evidence.p_damaged[buildings.assessed]
    truth = _truth(evidence.log, buildings, scheme.is_damaged)
    part = score_parts(score, sample)
    lacking = too_few(sample)
    whole = None if lacking else estimate_total(sample, truth, part)
    total = _stated(
        Total(
            unit_id=None,
            name=name,
            assessed=size,
            not_assessed=len(buildings.assessed) - size,
            damaged=None,
            damaged_low=None,
            damaged_high=None,
            model_count=None if buildings.flagged is None else int(buildings.flagged[buildings.assessed].sum()),
            method=_method(sample, whole, evidence.words) if whole else lacking or "",
            answers=sample.n,
            note=_note(evidence.drawn),
        ),
        whole,
    )
    if not sample.n:
        total = replace(total, damaged=int(buildings.damaged[buildings.assessed].sum()), method=COUNT)
    rows: tuple[Total, ...] = ()
    if units is not None:
        rows = _of_units(total, buildings, units, _UnitEvidence(sample, truth, score, part, whole, evidence.words))
    return Totals(
        total=total,
        grades=() if whole is None else _of_grades(total, evidence, buildings, sample, part),
        units=rows,
        statement=statement_of(total),
        next_step=_next_step(total, whole, sample),
    )


def _truth(
    log: pd.DataFrame, buildings: CountedBuildings, verdict: Callable[[LabelValue], bool | None]
) -> NDArray[np.float64]:
    """[N] 1, 0 or NaN of the assessed buildings by the current label; `verdict` judges a label's value."""
    truth = np.full(len(buildings.assessed), np.nan)
    for building, value in current_values(log).items():
        so = verdict(LabelValue(value))
        truth[buildings.position_of[str(building)]] = np.nan if so is None else so
    return truth[buildings.assessed]


def _stated(total: Total, found: TotalEstimate | None) -> Total:
    if found is None:
        return total
    return replace(total, damaged=round(found.value), damaged_low=int(found.low), damaged_high=int(found.high))


def _of_grades(
    total: Total, evidence: Evidence, buildings: CountedBuildings, sample: RandomSample, part: NDArray[np.intp]
) -> tuple[Total, ...]:
    """A total for each grade, where every random answer is a grade."""
    graded = np.isfinite(_truth(evidence.log, buildings, lambda value: None if value.grade is None else True))
    if not graded[sample.row].all():
        return ()
    rows = []
    for grade in DamageGrade:
        truth = _truth(evidence.log, buildings, _is_grade(grade))
        known = np.isfinite(truth[sample.known_row])
        of_grade = replace(sample, known_row=sample.known_row[known], known_at=sample.known_at[known])
        named = replace(total, unit_id=grade.label, name=grade.label, model_count=None)
        rows.append(_stated(named, estimate_total(of_grade, truth, part)))
    return tuple(rows)


def _is_grade(grade: DamageGrade) -> Callable[[LabelValue], bool | None]:
    """A known verdict without a grade tells nothing of grades: such a building counts as not known."""
    return lambda value: None if value.grade is None else value.grade is grade


@dataclass(frozen=True, eq=False)
class _UnitEvidence:
    sample: RandomSample
    truth: NDArray[np.float64]
    score: NDArray[np.float64] | None
    part: NDArray[np.intp]
    whole: TotalEstimate | None
    words: str


def _of_units(
    total: Total, buildings: CountedBuildings, units: AssignedUnits, have: _UnitEvidence
) -> tuple[Total, ...]:
    """A row for each unit, also without buildings, and one for the buildings of none."""
    names = [*zip(units.unit_id, units.name, units.note, strict=True), (None, OUTSIDE, None)]
    last = len(names) - 1
    unit = np.where(units.of_building < 0, last, units.of_building)
    inside = unit[buildings.assessed]
    sample, whole = have.sample, have.whole
    answers = np.bincount(inside[sample.row], minlength=len(names))
    pooled = None
    if whole is not None and sample.n >= POOLED_ANSWERS and (answers > 0).sum() >= min(POOLED_UNITS, last):
        pooled = pooled_units(sample, have.truth, have.part, inside, whole, len(names))
    every = np.bincount(unit, minlength=len(names))
    assessed = np.bincount(inside, minlength=len(names))
    rows = []
    for number, (unit_id, name, note) in enumerate(names):
        if number == last and not every[last]:
            continue
        mine = inside == number
        flagged = None if buildings.flagged is None else int(buildings.flagged[buildings.assessed][mine].sum())
        row = replace(
            total,
            unit_id=unit_id,
            name=name,
            assessed=int(assessed[number]),
            not_assessed=int(every[number] - assessed[number]),
            damaged=None,
            damaged_low=None,
            damaged_high=None,
            model_count=flagged,
            answers=int(answers[number]),
            note=note,
        )
        if not assessed[number]:
            row = replace(row, damaged=0, damaged_low=0, damaged_high=0, method="no assessed buildings")
        elif not sample.n:
            row = replace(row, damaged=int(buildings.damaged[buildings.assessed][mine].sum()), method=COUNT)
        elif answers[number] >= OWN_ANSWERS and too_few(own := sample.within(mine)) is None:
            part = score_parts(None if have.score is None else have.score[mine], own)
            found = estimate_total(own, have.truth[mine], part)
            row = _stated(replace(row, method=_method(own, found, have.words)), found)
        elif pooled is not None:
            row = replace(
                row,
                damaged=round(float(pooled.value[number])),
                damaged_low=int(pooled.low[number]),
                damaged_high=int(pooled.high[number]),
                method=f"pooled (Fay-Herriot): {answers[number]} answers of its own, the rest from the whole event",
            )
        else:
            row = replace(row, method=f"too few to say: {answers[number]} random answers here, {sample.n} in all")
        rows.append(row)
    return tuple(rows)


def _method(sample: RandomSample, found: TotalEstimate, words: str) -> str:
    if sample.is_clustered:
        drawn = f"{sample.clusters} random draws of tiles and buildings, by the variance between them"
    elif sample.has_equal_chances:
        drawn = "simple random sample"
    else:
        drawn = "random draws weighted by 1 / probability"
    helped = f", post-stratified by score ({words}) in {found.parts} parts" if found.parts > 1 else ""
    return f"{drawn}{helped}; 95 % mid-P bounds"


def _note(drawn: LogSample) -> str | None:
    parts = []
    if drawn.ungraded:
        share = drawn.ungraded / max(drawn.ungraded + drawn.sample.n, 1)
        parts.append(
            f"{drawn.ungraded:,} random answers gave no grade ({share:.0%}); their buildings count as not assessed, "
            "and the others are taken to be as those with a grade"
            + ("; with so many the total is a guess" if share > 0.5 else "")
        )
    if drawn.unusable:
        parts.append(f"{drawn.unusable:,} rows left out: their probability is not in (0, 1]")
    return "; ".join(parts) or None


def statement_of(total: Total) -> str:
    """The headline for a person."""
    flags = "" if total.model_count is None else f"The model flags {total.model_count:,} of {total.assessed:,}. "
    if total.damaged_low is not None and total.damaged is not None and total.damaged_high is not None:
        bounds = f"({total.damaged_low:,}–{total.damaged_high:,})"
        of = "" if flags else f" of {total.assessed:,}"
        return f"{flags}From {total.answers:,} random answers about {total.damaged:,}{of} {bounds} are damaged."
    if total.answers:
        return f"{flags}{total.method[:1].upper()}{total.method[1:]}."
    return f"{flags}The map counts {total.damaged or 0:,} of {total.assessed:,} as damaged: a count without bounds."


def _next_step(total: Total, found: TotalEstimate | None, sample: RandomSample) -> str | None:
    if not total.assessed:
        return None
    if found is None:
        p = (total.model_count or total.damaged or 0) / total.assessed
        p = min(max(p, 0.5 / total.assessed), 0.95)
        more = max(10 - sample.n, 1)
        half = 1.96 * float(np.sqrt((1 - p) / (p * 10)))
        tells = "bounds, though not how many to better than half" if half > 0.5 else f"the total to about ±{half:.0%}"
        return f"{more} more random answers would give {tells}; 30 or more always give numbers."
    more_for = answers_for(WITHIN, found, sample)
    if more_for is None:
        return "No damaged building was among the random answers; more of them would bring the upper bound down."
    if not more_for:
        return f"The total is known to ±{WITHIN:.0%}."
    return f"Answer {more_for:,} more at random to know the total to ±{WITHIN:.0%}."

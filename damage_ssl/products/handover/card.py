"""The card of a product: what it shows, what it was made from, and how far to trust it. Markdown, one page."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import geopandas as gpd
import numpy as np

from damage_ssl.damage_scale import ClassScheme, reason_words
from damage_ssl.evaluation.calibration import FEWEST_RANDOM, Calibration
from damage_ssl.evaluation.intervals import LEAST
from damage_ssl.evaluation.metrics import LEAST_VALIDATED, Evaluation, enough_to_validate
from damage_ssl.evaluation.total import Totals
from damage_ssl.files import write_text
from damage_ssl.runs.model import RunKind
from damage_ssl.runs.trained import TRAINED

FEW_VALIDATION_BUILDINGS = 50


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What the card says that the product's own rows do not.

    `label_counts` are the labels that the run was trained and validated with, by value; `validation` are the metrics
    on the run's held-out blocks. Everything about the model is None before any training. `statement` comes before all
    else. `source_label_counts` are the labels of other events that the run learned from, by event.
    """

    event: str
    hazard: str | None = None
    kind: RunKind = TRAINED
    algorithm: str | None = None
    scheme: ClassScheme | None = None
    label_counts: Mapping[str, int] | None = None
    calibration: Calibration | None = None
    validation: Evaluation | None = None
    statement: str | None = None
    source_label_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    totals: Totals | None = None


def run_card(product: gpd.GeoDataFrame, facts: CardFacts) -> str:
    """The card as Markdown. `product` is what `assessed_footprints` returns."""
    run_ids = product["run_id"].dropna().unique()
    sections = [
        f"# {facts.kind.heading}: {facts.event}",
        *([facts.statement, ""] if facts.statement else []),
        *_bullets(
            {
                "Hazard": facts.hazard or "not stated",
                "Run": run_ids[0] if len(run_ids) else "none yet: coverage and the analysts' answers only",
                "Algorithm": facts.algorithm or "none",
                "Scale": facts.scheme.statement if facts.scheme is not None else "not stated",
            }
        ),
        "## Imagery",
        *_imagery(product, "pre"),
        *_imagery(product, "post"),
        "## Result",
        *_result(product),
        *_totals(facts.totals),
        "## Coverage",
        *_coverage(product),
        "## Labels",
        *(_bullets({value: f"{count:,}" for value, count in (facts.label_counts or {}).items()}) or ["- none"]),
        *_bullets({f"of event {name}": _counts(counts) for name, counts in facts.source_label_counts.items()}),
        "## Threshold and validation",
        *_validation(facts),
        "## Before you use it",
        *(f"- {caveat}" for caveat in _caveats(facts)),
    ]
    spaced = (f"\n{line}\n" if line.startswith("#") else line for line in sections)
    return "\n".join(spaced).lstrip("\n") + "\n"


def write_card(path: Path, product: gpd.GeoDataFrame, facts: CardFacts) -> None:
    """Write the card, atomically.

    Raises:
        StorageError: the disk is full or not writable.
    """
    write_text(path, run_card(product, facts))


def _bullets(values: Mapping[str, str]) -> list[str]:
    return [f"- {name}: {value}" for name, value in values.items()]


def _imagery(product: gpd.GeoDataFrame, side: str) -> list[str]:
    name, date = f"{side}_image_id", f"{side}_datetime"
    seen = product[[name, date]].dropna(subset=[name])
    if seen.empty:
        return [f"- {side}: no scene was used"]
    dates = sorted(seen[date].dropna().astype(str).str[:10].unique())
    unknown = int(seen.loc[seen[date].isna(), name].nunique())
    when = f"{dates[0]} to {dates[-1]}" if len(dates) > 1 else dates[0] if dates else "date unknown"
    missing = f", {unknown} of unknown date" if unknown and dates else ""
    return [f"- {side}: {_count(seen[name].nunique(), 'scene')}, {when}{missing}"]


def _result(product: gpd.GeoDataFrame) -> list[str]:
    classes = product["damage_class"].dropna().value_counts()
    if classes.empty:
        return ["- no building has a class yet"]
    damaged = int(product["damaged"].fillna(False).astype(bool).sum())
    by_analyst = int((product["label_source"] == "analyst").sum())
    return [
        f"- damaged: {damaged:,} of {int(product['assessed'].sum()):,} assessed buildings "
        "(a count of verdicts, not an unbiased estimate of the total)",
        *(f"- {name}: {int(count):,}" for name, count in classes.items()),
        f"- answered by an analyst: {by_analyst:,}",
    ]


def _totals(totals: Totals | None) -> list[str]:
    """What random answers say of how many there are, with the bounds of each grade and unit."""
    if totals is None or not totals.total.answers:
        return [] if totals is None else ["- no random answers, so the count has no bounds"]
    lines = [f"- {totals.statement}", f"- how: {totals.total.method}"]
    lines += [f"- {totals.total.note}"] if totals.total.note else []
    rows = [
        f"  - {row.name}: {row.damaged:,} ({row.damaged_low:,}–{row.damaged_high:,}) of {row.assessed:,}"
        for row in (*totals.grades, *totals.units)
        if row.damaged is not None and row.damaged_low is not None and row.damaged_high is not None
    ]
    return [*lines, "- each by itself; they need not add up to the total", *rows] if rows else lines


def _coverage(product: gpd.GeoDataFrame) -> list[str]:
    reasons = product.loc[~product["assessed"], "not_assessed_reason"].fillna("not stated").value_counts()
    return [
        f"- footprints: {len(product):,}",
        f"- assessed: {int(product['assessed'].sum()):,}",
        f"- not assessed: {int((~product['assessed']).sum()):,}",
        *(f"  - {reason_words(str(reason))} (`{reason}`): {int(count):,}" for reason, count in reasons.items()),
        *_shifts(product),
    ]


def _shifts(product: gpd.GeoDataFrame) -> list[str]:
    moved = product.reindex(columns=["shift_x_m", "shift_y_m"])[product["assessed"]].dropna().astype(float)
    if moved.empty:
        return []
    length_m = np.hypot(moved["shift_x_m"], moved["shift_y_m"])
    return [
        f"- shift of post against pre: median {length_m.median():.1f} m, 95 % of the buildings up to "
        f"{length_m.quantile(0.95):.1f} m; undone before comparing"
    ]


def _validation(facts: CardFacts) -> list[str]:
    if facts.calibration is None:
        return ["- no model yet"] if facts.algorithm is None else ["- not validated: nothing was held out to check it"]
    lines = [f"- threshold {facts.calibration.threshold:.3f}: {facts.calibration.method}"]
    if facts.validation is None:
        return [*lines, "- no validation metrics"]
    if not enough_to_validate([sum(row) for row in facts.validation.confusion]):
        lines.append(
            f"- not validated: too few buildings to check it on; {LEAST_VALIDATED} with {LEAST} of each class would be "
            "enough"
        )
    return lines + [f"- {line}" for line in facts.validation.lines()]


def _caveats(facts: CardFacts) -> list[str]:
    caveats = [
        "A building that is not assessed is not a building without damage.",
        "Damage is judged from above: walls, interiors and most flood damage do not show.",
        "`ems_damage_gra`, `unosat_class` and `fema_class` are indicative: those scales ask other questions. They are "
        "empty where the word cannot be known: an intact building may have minor damage where that does not count.",
    ]
    if not facts.kind.is_probability:
        caveats.insert(
            0, f"`p_damaged` is a {facts.kind.measure} between 0 and 1, not a probability: do not add it up."
        )
    if facts.calibration is not None and facts.calibration.n_validation and facts.validation is not None:
        if not facts.calibration.cross_fitted:
            caveats.append(
                "The threshold was chosen on the validation buildings, so the numbers above are somewhat optimistic; "
                "`damage-ssl evaluate` with independent labels is the honest measure."
            )
        if facts.kind.is_probability and facts.calibration.n_random < FEWEST_RANDOM:
            caveats.append(
                f"Of the labels that calibrated `p_damaged` {facts.calibration.n_random} were drawn at random "
                f"({FEWEST_RANDOM} are needed): the probabilities fit the labels' share of damaged buildings, not the "
                "event's."
            )
        if facts.calibration.n_validation < FEW_VALIDATION_BUILDINGS:
            caveats.append(
                f"Only {_count(facts.calibration.n_validation, 'building')} decided the threshold: label more to "
                "make it firm."
            )
    return caveats


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {value}" for value, count in counts.items())


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")

"""What somebody should look at before a map is handed over."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import pandas as pd

from damage_ssl.damage_scale import reason_words
from damage_ssl.evaluation.audit import AuditReport, audit_answers, audit_of_map
from damage_ssl.evaluation.intervals import LEAST
from damage_ssl.evaluation.metrics import LEAST_VALIDATED, Estimate, Evaluation
from damage_ssl.products.handover.card import FEW_VALIDATION_BUILDINGS
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.runs.model import MapModel
from damage_ssl.runs.spatial_stack import stack_statement
from damage_ssl.runs.validation import fair_verdicts

State = Literal["good", "look", "bad"]
"""`good`: nothing to do; `look`: the receiver should know; `bad`: better mended first."""

_OLD_S = 7 * 86400
_WIDE_COVERAGE = 0.9

FEW_DAMAGED = 10
"""Fewer damaged buildings than this leave a threshold to chance."""


@dataclass(frozen=True)
class HandoverCheck:
    """One line of the list: what it is about, what was found, and how that is."""

    title: str
    text: str
    state: State


def handover_checks(
    table: pd.DataFrame,
    model: MapModel | None,
    log: pd.DataFrame,
    validation: Evaluation | None,
    *,
    now: float | None = None,
) -> list[HandoverCheck]:
    """The list, in the order of what matters to the receiver.

    Args:
        table: the map: `building_id`, `assessed`, `not_assessed_reason`, `p_damaged`.
        model: whose numbers the map shows; None: no model.
        log: all labels ever given, oldest first (`LabelStore.log`).
        validation: the run on its held-out blocks (`validation_of`).
        now: seconds since the epoch.
    """
    return [
        _coverage(table),
        *_model(model, validation),
        _audit(table, model, log),
        *_freshness(model, log, time.time() if now is None else now),
    ]


def _coverage(table: pd.DataFrame) -> HandoverCheck:
    assessed = int(table["assessed"].sum())
    left = len(table) - assessed
    if not left:
        return HandoverCheck("Coverage", f"all {assessed:,} buildings assessed", "good")
    reasons = table.loc[~table["assessed"].to_numpy(bool), "not_assessed_reason"].fillna("not stated").value_counts()
    named = ", ".join(f"{int(count):,} {reason_words(str(reason))}" for reason, count in reasons.items())
    state: State = "good" if assessed >= _WIDE_COVERAGE * len(table) else "look"
    return HandoverCheck("Coverage", f"{assessed:,} of {len(table):,} assessed; not: {named}", state)


def _model(model: MapModel | None, validation: Evaluation | None) -> Iterator[HandoverCheck]:
    if model is None:
        yield HandoverCheck("Model", "none: the map holds coverage and your labels only", "look")
        return
    if (places := stack_statement(model.stack)) is not None:
        yield HandoverCheck("Places", places, "look")
    if not isinstance(model, FinishedRun):
        said = "live model, not validated: train a run before anybody decides by this map"
        if validation is not None:
            said += f" (each label as it sees it without having learned from it: {_figures(validation)})"
        yield HandoverCheck("Model", said, "bad")
        return
    calibration = model.calibration
    unseen = "cross-fitted labels" if calibration.cross_fitted else "held-out buildings"
    decided = f"chosen on {calibration.n_validation:,} {unseen}, {calibration.n_damaged:,} of them damaged"
    chosen = decided if calibration.n_validation else calibration.method
    few_damaged = calibration.n_validation > 0 and calibration.n_damaged < FEW_DAMAGED
    yield HandoverCheck("Threshold", f"{calibration.threshold:.2f}, {chosen}", "look" if few_damaged else "good")
    if not model.kind.is_probability:
        said = f"{model.kind.measure} without training: not a probability, not validated"
        yield HandoverCheck("Validation", said, "bad")
    elif validation is None:
        yield HandoverCheck("Validation", "nothing was held out, so nobody knows how good the map is", "bad")
    elif not model.validated:
        yield HandoverCheck(
            "Validation",
            f"not validated: {validation.n:,} held-out buildings, {validation.n_damaged:,} of them damaged, are too "
            f"few; {LEAST_VALIDATED} with {LEAST} of each class would be enough",
            "bad",
        )
    else:
        few = validation.n < FEW_VALIDATION_BUILDINGS
        yield HandoverCheck(
            "Validation",
            f"{_figures(validation)} on {validation.n:,} {unseen}{': few, so take it as rough' if few else ''}",
            "look" if few else "good",
        )


def _audit(table: pd.DataFrame, model: MapModel | None, log: pd.DataFrame) -> HandoverCheck:
    report = audit_of_table(table, model, log)
    if report is None or not report.accuracy.n:
        return HandoverCheck("Audit", "none: judge a random sample (step 4) to know how right the map is", "look")
    said = f"verdicts right: {report.accuracy.sentence}"
    return HandoverCheck("Audit", said, "look" if report.accuracy.tells_little else "good")


def audit_of_table(table: pd.DataFrame, model: MapModel | None, log: pd.DataFrame) -> AuditReport | None:
    """The audit of what the model says, on buildings that it says something of without having learned from them."""
    if model is None:
        return None
    answers = audit_answers(log)
    p_damaged = pd.to_numeric(table.set_index("building_id")["p_damaged"]).reindex(answers["building_id"])
    said = p_damaged.to_numpy(float, na_value=np.nan) >= model.threshold
    said, fair = fair_verdicts(model, answers["building_id"].to_numpy(str), said)
    return audit_of_map(answers, said, fair & p_damaged.notna().to_numpy(), model.scheme, population=len(table))


def _freshness(model: MapModel | None, log: pd.DataFrame, now: float) -> Iterator[HandoverCheck]:
    if model is None or model.run is None:
        return
    begun = model.run.begun / 1e9
    since = log[pd.to_datetime(log["time"], utc=True, format="ISO8601") > datetime.fromtimestamp(begun, UTC)]
    count = since["building_id"].nunique()
    if count and model.kind.learns:
        yield HandoverCheck(
            "Labels since",
            f"{count:,}, in the map as answers; the model has not learned from them",
            "look",
        )
    else:
        yield HandoverCheck("Labels since", "none", "good")
    yield HandoverCheck("Age of the model", _age(now - begun), "look" if now - begun > _OLD_S else "good")


def _age(seconds: float) -> str:
    hours = seconds / 3600
    return (
        f"{seconds / 60:.0f} minutes" if hours < 2 else f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"
    )


def _figures(validation: Evaluation) -> str:
    return f"AUROC {_rounded(validation.auroc)}, F1 {_rounded(validation.f1)}"


def _rounded(estimate: Estimate) -> str:
    if estimate.value is None:
        return "unknown"
    between = "" if estimate.low is None or estimate.high is None else f" ({estimate.low:.2f}–{estimate.high:.2f})"
    return f"{estimate.value:.2f}{between}"

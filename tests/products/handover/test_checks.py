"""What the list before handing over says, on small tables whose figures can be counted by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from damage_ssl.damage_scale import scheme_named
from damage_ssl.evaluation.audit import AUDIT
from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.evaluation.metrics import evaluate
from damage_ssl.events.event import Event
from damage_ssl.files import write_json
from damage_ssl.labels.schema import LABEL_COLUMNS
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.products.handover.checks import HandoverCheck, audit_of_table, handover_checks
from damage_ssl.runs.change_score import CHANGE_SCORE
from damage_ssl.runs.cross_fitting import CrossFitted
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.runs.live import LiveModel, LivePrediction
from damage_ssl.runs.plan import RunPlan
from damage_ssl.runs.run import Run
from damage_ssl.settings import SplitSettings

BINARY = scheme_named("binary-major")


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "building_id": list("abcde"),
            "assessed": [True, True, True, True, False],
            "not_assessed_reason": [None, None, None, None, "no_post"],
            "p_damaged": [0.9, 0.8, 0.1, 0.2, np.nan],
        }
    )


def log(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    """(building, value, drawn, time) of one analyst."""
    return pd.DataFrame(
        [
            {"building_id": b, "value": v, "labeller": "Ana", "drawn": d, "time": t, "comment": ""}
            for b, v, d, t in rows
        ],
        columns=list(LABEL_COLUMNS),
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return planned(tmp_path / "run", "fixmatch")


def planned(folder: Path, algorithm: str, *, held_out: int = 10) -> Run:
    """A run that learned from a; b and others of each class were held out, and 30 buildings chose its threshold."""
    run = Run(folder)
    run.path.mkdir()
    plan = RunPlan(
        train=TrainSettings(algorithm=algorithm),
        split=SplitSettings(),
        train_id=("a",),
        train_class=(1,),
        validation_id=("b", *(f"v{number}" for number in range(2 * held_out - 1))),
        validation_class=(1,) * held_out + (0,) * held_out,
        block_m=150.0,
        patches_fingerprint="",
    )
    write_json(run.settings_path, plan.to_json())
    Calibration(threshold=0.5, temperature=1.0, n_validation=30, n_damaged=12, method="F1").write(run.calibration_path)
    return run


def of(title: str, checks: list[HandoverCheck]) -> HandoverCheck:
    [found] = [check for check in checks if check.title == title]
    return found


def test_coverage_counts_reasons() -> None:
    check = of("Coverage", handover_checks(table(), None, log(), None))
    assert (check.text, check.state) == ("4 of 5 assessed; not: 1 no post imagery", "look")
    whole = table().assign(assessed=True)
    assert of("Coverage", handover_checks(whole, None, log(), None)).text == "all 5 buildings assessed"


def test_model_that_nothing_was_held_out_for_is_called_not_validated(run: Run, tmp_path: Path) -> None:
    p = np.array([0.9, 0.8, 0.1, 0.2])
    said = LivePrediction(
        scheme=BINARY,
        building_id=np.array(list("abcd")),
        probabilities=np.stack([1 - p, p], axis=1),
        p_damaged=p,
        uncertainty=p,
        learned_from={},
    )
    live = handover_checks(table(), LiveModel(Event(tmp_path, "e"), "features", 1, said), log(), None)
    assert of("Model", live).state == "bad" and "not validated" in of("Model", live).text
    change = handover_checks(table(), FinishedRun(planned(tmp_path / "change", CHANGE_SCORE.name)), log(), None)
    assert of("Validation", change).state == "bad" and "not a probability" in of("Validation", change).text
    assert "nobody knows" in of("Validation", handover_checks(table(), FinishedRun(run), log(), None)).text


def test_figures_come_with_how_many_they_rest_on(run: Run, tmp_path: Path) -> None:
    p = np.array([0.1, 0.9, 0.8, 0.3])
    few = evaluate(
        np.stack([1 - p, p], axis=1),
        np.array([0, 1, 1, 0]),
        np.array([False, True, True, False]),
        np.array(list("abcd")),
        scheme=BINARY,
        threshold=0.5,
    )
    unsure = handover_checks(table(), FinishedRun(planned(tmp_path / "few", "fixmatch", held_out=4)), log(), few)
    assert of("Validation", unsure).state == "bad"
    assert of("Validation", unsure).text == (
        "not validated: 4 held-out buildings, 2 of them damaged, are too few; 20 with 5 of each class would be enough"
    )
    checks = handover_checks(table(), FinishedRun(run), log(), few)
    assert of("Validation", checks).text.startswith("AUROC 1.00")
    assert of("Validation", checks).text.endswith("on 4 held-out buildings: few, so take it as rough")
    assert of("Validation", checks).state == "look"
    assert of("Validation", handover_checks(table(), FinishedRun(run), log(), replace(few, n=400))).state == "good"
    assert of("Threshold", checks).text == "0.50, chosen on 30 held-out buildings, 12 of them damaged"


def test_audit_of_the_live_model_asks_it_as_if_it_had_not_learned_the_answers(tmp_path: Path) -> None:
    p = np.array([0.9, 0.8, 0.1, 0.2])
    unseen = CrossFitted(
        scheme=BINARY,
        building_id=np.array(["a", "b", "c"]),
        classes=np.array([1, 1, 0]),
        fold=np.array([0, 1, 2]),
        random=np.ones(3, dtype=bool),
        # without its answer a looks intact, and nothing can be said of c
        probabilities=np.array([[0.99, 0.01], [0.01, 0.99], [np.nan, np.nan]]),
    )
    said = LivePrediction(
        scheme=BINARY,
        building_id=np.array(list("abcd")),
        probabilities=np.stack([1 - p, p], axis=1),
        p_damaged=p,
        uncertainty=p,
        learned_from={},
        unseen=unseen,
    )
    model = LiveModel(Event(tmp_path, "e"), "features", 1, said)
    then = "2026-01-01T00:00:00Z"
    answers = [("a", "destroyed"), ("b", "destroyed"), ("c", "no-damage"), ("d", "no-damage")]
    report = audit_of_table(table(), model, log(*((*each, AUDIT, then) for each in answers)))
    assert report is not None and report.learned == 1  # c
    assert report.accuracy.n == 3 and report.accuracy.hits == 2  # not a, whose answer it had learned by heart
    plain = LiveModel(Event(tmp_path, "e"), "features", 1, replace(said, unseen=None))
    report = audit_of_table(table(), plain, log(*((*each, AUDIT, then) for each in answers)))
    assert report is not None and not report.accuracy.n  # who knows what it learned from


def test_audit_leaves_out_what_the_model_learned_from(run: Run) -> None:
    then = "2026-01-01T00:00:00Z"
    said = log(
        ("a", "destroyed", AUDIT, then),  # learned from
        ("b", "no-damage", AUDIT, then),  # chose the threshold
        ("c", "no-damage", AUDIT, then),  # right
        ("d", "destroyed", AUDIT, then),  # wrong
        ("e", "unclear", AUDIT, then),  # no grade
    )
    check = of("Audit", handover_checks(table(), FinishedRun(run), said, None))
    assert "2 answers tell little" in check.text
    assert of("Audit", handover_checks(table(), FinishedRun(run), log(), None)).text.startswith("none")


def test_labels_since_the_run_are_counted_by_building(run: Run) -> None:
    later, before = "2099-01-01T00:00:00Z", "2001-01-01T00:00:00+00:00"
    said = log(("a", "destroyed", "map", before), ("c", "destroyed", "map", later), ("c", "no-damage", "map", later))
    checks = handover_checks(table(), FinishedRun(run), said, None)
    assert of("Labels since", checks).text == "1, in the map as answers; the model has not learned from them"
    assert of("Labels since", handover_checks(table(), FinishedRun(run), log(), None)).text == "none"


def test_old_model_is_pointed_out(run: Run) -> None:
    begun = run.begun / 1e9
    for days, text, state in ((1 / 48, "30 minutes", "good"), (1, "24 hours", "good"), (9, "9 days", "look")):
        check = of(
            "Age of the model", handover_checks(table(), FinishedRun(run), log(), None, now=begun + days * 86400)
        )
        assert (check.text, check.state) == (text, state)

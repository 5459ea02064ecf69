from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from shapely.geometry import box

from damage_ssl.damage_scale import scheme_named
from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.evaluation.metrics import evaluate
from damage_ssl.products.handover.card import CardFacts, run_card, write_card
from damage_ssl.runs.change_score import CHANGE_SCORE

BINARY = scheme_named("binary-major")


def product(run_id: str | None) -> gpd.GeoDataFrame:
    trained = run_id is not None
    return gpd.GeoDataFrame(
        {
            "building_id": list("abcde"),
            "assessed": [True, True, True, False, False],
            "not_assessed_reason": [None, None, None, "no_post", "nodata"],
            "damage_class": ["damaged", "destroyed", "intact", None, None] if trained else [None] * 5,
            "damaged": pd.array([True, True, False, None, None] if trained else [None] * 5, dtype="boolean"),
            "label_source": ["model", "analyst", "model", None, None] if trained else [None] * 5,
            "pre_image_id": ["p1", "p1", "p2", "p2", None],
            "pre_datetime": [None, None, "2017-05-01T10:00:00Z", "2017-05-01T10:00:00Z", None],
            "post_image_id": ["q", "q", "r", None, None],
            "post_datetime": ["2017-10-11T00:00:00Z", "2017-10-11T00:00:00Z", "2017-10-12T00:00:00Z", None, None],
            "run_id": [run_id] * 5,
        },
        geometry=[box(0, 0, 1, 1)] * 5,
        crs=4326,
    )


def facts() -> CardFacts:
    p = np.array([0.1, 0.9, 0.8, 0.3])
    validation = evaluate(
        np.stack([1 - p, p], axis=1),
        np.array([0, 1, 1, 0]),
        np.array([False, True, True, False]),
        np.array(list("abcd")),
        scheme=BINARY,
        threshold=0.55,
    )
    return CardFacts(
        event="santa-rosa",
        hazard="wildfire",
        algorithm="fixmatch",
        scheme=BINARY,
        label_counts={"destroyed": 20, "no-damage": 1500},
        calibration=Calibration(threshold=0.55, temperature=1.0, n_validation=4, n_damaged=2, method="highest F1"),
        validation=validation,
    )


def test_card_says_what_when_how_and_how_good() -> None:
    card = run_card(product("run1"), facts())
    for line in (
        "# Damage map: santa-rosa",
        "- Hazard: wildfire",
        "- Run: run1",
        "- Algorithm: fixmatch",
        "- Scale: damaged means major-damage or worse on the xBD joint damage scale",
        "- pre: 2 scenes, 2017-05-01, 1 of unknown date",
        "- post: 2 scenes, 2017-10-11 to 2017-10-12",
        "- footprints: 5",
        "- assessed: 3",
        "- not assessed: 2",
        "  - no post imagery (`no_post`): 1",
        "  - missing pixels (`nodata`): 1",
        "- answered by an analyst: 1",
        "- destroyed: 20",
        "- no-damage: 1,500",
        "- threshold 0.550: highest F1",
        "- not validated: too few buildings to check it on; 20 with 5 of each class would be enough",
        "- AUROC: 1.000 (too few to say; 3 more damaged buildings and 3 more intact buildings would be enough)",
    ):
        assert line in card.splitlines(), line
    assert "- damaged: 2 of 3 assessed buildings" in card
    assert "Only 4 buildings decided the threshold" in card


def test_card_before_training_promises_nothing() -> None:
    lines = run_card(product(None), CardFacts(event="e")).splitlines()
    assert "- Run: none yet: coverage and the analysts' answers only" in lines
    assert "- no building has a class yet" in lines
    assert "- Hazard: not stated" in lines
    assert "- assessed: 3" in lines
    assert not any("threshold" in line and "0." in line for line in lines)


def test_headings_stand_alone_in_the_file(tmp_path: Path) -> None:
    write_card(tmp_path / "card.md", product("run1"), facts())
    lines = (tmp_path / "card.md").read_text().split("\n")
    for number, line in enumerate(lines):
        if line.startswith("#"):
            assert lines[number + 1] == ""
            assert number == 0 or lines[number - 1] == ""


def test_shifts_are_summed_up() -> None:
    moved = product("run1").assign(shift_x_m=[3.0, 3.0, 3.0, 9.0, np.nan], shift_y_m=[4.0, 4.0, 4.0, 9.0, np.nan])
    assert "- shift of post against pre: median 5.0 m, 95 % of the buildings up to 5.0 m" in run_card(moved, facts())


def test_card_of_a_change_score_says_so_before_anything_else() -> None:
    change = CardFacts(
        event="santa-rosa",
        kind=CHANGE_SCORE,
        algorithm=CHANGE_SCORE.name,
        statement=CHANGE_SCORE.statement,
        scheme=BINARY,
        calibration=Calibration(threshold=0.5, temperature=1.0, n_validation=0, n_damaged=0, method="no labels"),
    )
    lines = [line for line in run_card(product("run1"), change).splitlines() if line]
    assert lines[:2] == ["# First map without labels: santa-rosa", CHANGE_SCORE.statement]
    assert not any("validation buildings" in line for line in lines)

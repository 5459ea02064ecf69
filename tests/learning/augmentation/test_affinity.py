"""What views are worth: affinity and diversity; the contact sheet."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from damage_ssl.errors import LabelsError, SettingsError
from damage_ssl.learning.augmentation import affinity as measuring
from damage_ssl.learning.augmentation.affinity import PolicyMeasure, choose, measure
from damage_ssl.learning.augmentation.contact_sheet import STRENGTHS, draw_sheet, sheet_rows
from damage_ssl.learning.augmentation.frozen_scorer import LabelledPairs, fit
from damage_ssl.learning.augmentation.views import Views
from damage_ssl.learning.pair_tensor import pair_bytes
from tests.learning.augmentation.test_views import seeded
from tests.learning.trainer.drawn_pairs import draw_pairs

# --- Measurement --------------------------------------------------------------------------------------------------


@pytest.fixture
def labelled() -> LabelledPairs:
    pairs, classes = draw_pairs(60, seed=1)
    pixels = pair_bytes(pairs)
    return LabelledPairs(
        train=pixels[:36], train_class=classes[:36], validation=pixels[36:], validation_class=classes[36:]
    )


class MeanColours:
    """In the place of the frozen network: mean and deviation of each colour, in microseconds."""

    def __init__(self, sample: Tensor, generator: torch.Generator) -> None:
        self.channels = sample.shape[1]

    def features(self, x: Tensor) -> np.ndarray:
        colours = x[:, :6].flatten(2)
        return torch.cat([colours.mean(2), colours.std(2)], dim=1).numpy() * 10


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "FrozenScorer", MeanColours)


@pytest.mark.usefixtures("quick")
def test_affinity_and_diversity_are_the_papers_ratios(labelled: LabelledPairs, monkeypatch: pytest.MonkeyPatch) -> None:
    inverted = lambda x, generator: torch.cat([1 - x[:, :6], x[:, 6:]], dim=1)  # noqa: E731
    monkeypatch.setattr(measuring, "policies", lambda: {"random": inverted, "weak": lambda x, generator: x})
    monkeypatch.setattr(measuring, "single_operations", dict)
    report = measure(labelled)
    untouched, changed, same = report.rows
    assert (untouched.name, untouched.affinity, untouched.diversity) == ("untouched", 1.0, 1.0)
    assert (same.affinity, same.loss) == (1.0, pytest.approx(untouched.loss, rel=1e-3))
    assert same.diversity == pytest.approx(1.0, rel=1e-3)  # four times the same views at a quarter of the weight

    scorer = MeanColours(labelled.train, seeded())
    x, v = (each.float() / 255 for each in (labelled.train, labelled.validation))
    clean = fit(scorer.features(x), labelled.train_class)
    accuracy = clean.accuracy(scorer.features(v), labelled.validation_class)
    moved = clean.accuracy(scorer.features(inverted(v, None)), labelled.validation_class)
    assert changed.affinity == pytest.approx(moved / accuracy)
    other = fit(scorer.features(inverted(x, None)), labelled.train_class)
    assert changed.diversity == pytest.approx(other.training_loss / clean.training_loss, rel=1e-3)
    assert changed.loss == pytest.approx(
        float(other.losses(scorer.features(v), labelled.validation_class).mean()), rel=1e-2
    )


@pytest.mark.usefixtures("quick")
def test_policies_are_measured_in_any_case_and_what_had_no_time_is_named(labelled: LabelledPairs) -> None:
    report = measure(labelled, seconds=0.0)
    assert [row.name for row in report.rows] == ["untouched", "random", "weak", "augmix"]
    assert {"blur", "rotation", "patch-gaussian"} <= set(report.left_out)
    assert report.chosen in ("random", "augmix")
    assert json.loads(json.dumps(report.to_json()))["trained_on"] == 36
    assert all(row.affinity > 0 and row.diversity > 0 for row in report.rows)


def test_default_stays_unless_another_is_better_by_more_than_its_error() -> None:
    def row(name: str, loss: float, better_by: float | None, is_policy: bool = True) -> PolicyMeasure:
        return PolicyMeasure(
            name=name, is_policy=is_policy, affinity=1, diversity=1, accuracy=1, loss=loss, better_by=better_by
        )

    default, untouched = row("random", 0.5, None), row("untouched", 0.1, 9.0, is_policy=False)
    assert choose((untouched, default, row("augmix", 0.45, 0.7))) == "random"
    assert choose((untouched, default, row("augmix", 0.45, 1.7))) == "augmix"
    assert choose((untouched, default, row("augmix", 0.55, -1.0))) == "random"


def test_labels_of_one_class_are_refused(labelled: LabelledPairs) -> None:
    with pytest.raises(LabelsError, match="validated on are of fewer than two classes"):
        LabelledPairs(
            train=labelled.train,
            train_class=labelled.train_class,
            validation=labelled.validation[:1],
            validation_class=labelled.validation_class[:1],
        )


# --- The sheet -----------------------------------------------------------------------------------------------------


def test_sheet_shows_each_operation_by_strength_pre_above_post() -> None:
    pixels = pair_bytes(draw_pairs(2)[0])
    rows = sheet_rows(pixels, ["brightness", "noise@context"], {"weak": Views().weak}, seeded())
    assert [row.label for row in rows] == ["brightness", "noise@context", "weak"]
    assert rows[0].captions == ("-1", "-0.5", "0", "+0.5", "+1")
    middle = STRENGTHS.index(0.0)
    torch.testing.assert_close(rows[0].views[middle], pixels[0].float() / 255)
    means = rows[0].views[:, :6].mean((1, 2, 3))
    assert (means.diff() > 0).all()
    sheet = draw_sheet(rows, "town")
    shown = np.asarray(sheet)
    top, left = 48 + 26, 150 + 2 * 6 + middle * (32 + 6)
    np.testing.assert_array_equal(shown[top, left], pixels[0, :3, 0, 0].numpy())
    np.testing.assert_array_equal(shown[top + 32 + 2, left], pixels[0, 3:6, 0, 0].numpy())
    assert (shown == (255, 210, 0)).all(axis=2).any()  # the footprint's rim


def test_sheet_of_an_unknown_operation_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'noise'"):
        sheet_rows(pair_bytes(draw_pairs(1)[0]), ["nois"], {}, seeded())

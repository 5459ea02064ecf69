"""Probabilities from a finished run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from damage_ssl.errors import SettingsError, WorkspaceError
from damage_ssl.learning.checkpoints import CheckpointCard, save_model
from damage_ssl.learning.networks.pair_network import NetworkSpec, build_network
from damage_ssl.learning.predictor import Predictor, load_predictor
from damage_ssl.patches.pairs import PairSet
from damage_ssl.runs.run import Run
from tests.learning.trainer.drawn_pairs import draw_pairs


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    spec = NetworkSpec(network="small-cnn", fusion="siamese", channels=7, input_px=32, classes=2)
    card = CheckpointCard(
        spec=spec,
        scheme="binary-major",
        class_names=("intact", "damaged"),
        size_px=32,
        gsd_m=0.5,
        context_gsd_m=None,
        rotations=4,
        training={},
        steps=1,
        version="0",
    )
    network = build_network(spec, torch.Generator().manual_seed(0))
    torch.nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(1))
    save_model(Run(tmp_path), network, card, "abc")
    return load_predictor(Run(tmp_path), "cpu")


def test_a_pair_s_probabilities_do_not_depend_on_how_many_are_predicted(predictor: Predictor) -> None:
    pairs, _ = draw_pairs(70)
    p = predictor.predict(pairs)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(p[65:], predictor.predict(pairs.take(np.arange(65, 70))), atol=1e-5)
    assert p[:, 1].std() > 0.01


def test_a_turned_pair_has_the_same_probabilities(predictor: Predictor) -> None:
    pairs, _ = draw_pairs(5)
    np.testing.assert_allclose(predictor.predict(_turned(pairs)), predictor.predict(pairs), atol=1e-5)
    once = replace(predictor, card=replace(predictor.card, rotations=1))
    assert np.abs(once.predict(_turned(pairs)) - once.predict(pairs)).max() > 1e-4


def test_no_pairs_give_no_rows(predictor: Predictor) -> None:
    assert predictor.predict(draw_pairs(2)[0].take(np.array([], dtype=np.intp))).shape == (0, 2)


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        (draw_pairs(2, size_px=48)[0], "patches of 32 px at 0.5 m with no context view, but these are of 48 px"),
        (draw_pairs(2, context=True)[0], "these are of 32 px at 0.5 m with a context view at 1 m"),
    ],
)
def test_pairs_cut_in_another_way_are_refused_with_both_ways_named(
    predictor: Predictor, pairs: PairSet, text: str
) -> None:
    with pytest.raises(WorkspaceError, match=text):
        predictor.predict(pairs)


def test_a_device_that_is_not_there_is_a_settings_error(predictor: Predictor) -> None:
    with pytest.raises(SettingsError, match="device 'abacus'"):
        load_predictor(predictor.folder, "abacus")


def _turned(pairs: PairSet) -> PairSet:
    close = pairs.close
    return replace(
        pairs,
        close=replace(
            close,
            pre=np.rot90(close.pre, axes=(2, 3)).copy(),
            post=np.rot90(close.post, axes=(2, 3)).copy(),
            footprint=np.rot90(close.footprint, axes=(1, 2)).copy(),
            valid=np.rot90(close.valid, axes=(1, 2)).copy(),
        ),
    )

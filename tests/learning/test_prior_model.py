"""Prior models: fitted on sources that weigh alike, written to a file without code, and found by a hazard's words."""

from pathlib import Path

import numpy as np
import pytest

from damage_ssl.errors import InputError, LabelsError
from damage_ssl.learning.features.pair_features import FORMAT_VERSION, FUSED, PairFeatures
from damage_ssl.learning.networks.efficientnet_lite0 import POOLED_FEATURES
from damage_ssl.learning.prior.fitting import SOURCE_WEIGHT, Source, fit_prior, labelled_source
from damage_ssl.learning.prior.hazards import MODELS, models_for, packaged_model, packaged_path
from damage_ssl.learning.prior.model import ModelCard, PriorModel, prior_log_odds

CARD = ModelCard(
    name="mine",
    title="two events",
    learned_from=("one", "two"),
    buildings=10,
    damaged=4,
    damaged_means="major damage or worse",
    licence="CC BY 4.0",
    synthetic=False,
    auroc=0.9,
    made_with="damage_ssl",
    features=FORMAT_VERSION,
)


def model(seed: int = 0, temperature: float = 2.0) -> PriorModel:
    weights = np.random.default_rng(seed).normal(0, 0.01, FUSED).astype(np.float32)
    return PriorModel(weights=weights, intercept=0.3, temperature=temperature, card=CARD)


def source(name: str, count: int, axis: int, *, share: float = 0.4, seed: int = 0) -> Source:
    rng = np.random.default_rng(seed)
    damaged = np.arange(count) < share * count
    features = rng.normal(size=(count, 6))
    features[:, axis] += 3 * damaged
    return Source(name, features.astype(np.float16), damaged)


def test_a_file_gives_the_model_back(tmp_path: Path) -> None:
    written = model()
    written.write(tmp_path / "mine.npz")
    read = PriorModel.read(tmp_path / "mine.npz")
    assert (read.card, read.intercept, read.temperature) == (CARD, 0.3, 2.0)
    np.testing.assert_allclose(read.weights, written.weights, rtol=1e-3, atol=1e-6)
    assert (tmp_path / "mine.npz").stat().st_size < 40_000


def test_what_is_no_model_or_would_run_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="model list"):
        PriorModel.read(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("weights")
    np.savez(tmp_path / "pickle.npz", format=np.array([object()], dtype=object), weights=np.zeros(FUSED))
    np.savez(tmp_path / "lacks.npz", format=np.array(1))
    for name in ("text", "pickle", "lacks"):
        with pytest.raises(InputError, match="no prior model"):
            PriorModel.read(tmp_path / f"{name}.npz")
    PriorModel(weights=np.zeros(7, np.float32), intercept=0.0, temperature=1.0, card=CARD).write(tmp_path / "short.npz")
    with pytest.raises(InputError, match="another version"):
        PriorModel.read(tmp_path / "short.npz")


def test_log_odds_are_the_mean_of_the_models_on_standardised_columns() -> None:
    values = np.random.default_rng(2).normal(1.0, 0.5, (40, 4, POOLED_FEATURES)).astype(np.float16)
    features = PairFeatures(np.array([f"b{n}" for n in range(40)]), values, "f")
    columns = np.concatenate(list(features.standardised())).astype(np.float64)
    one, other = model(0), model(1, temperature=0.5)
    expected = ((columns @ one.weights + 0.3) / 2.0 + (columns @ other.weights + 0.3) / 0.5) / 2
    np.testing.assert_allclose(prior_log_odds([one, other], features), expected, atol=1e-4)


def test_a_source_weighs_the_same_however_large_it_is() -> None:
    """Two sources that disagree about an axis: the larger one has no more say."""
    small, large = source("small", 60, 0, seed=1), source("large", 1200, 1, seed=2)
    weights = fit_prior([small, large]).weights
    assert SOURCE_WEIGHT > 0 and 0.6 < weights[0] / weights[1] < 1.6
    repeated = Source("large", np.tile(large.features, (3, 1)), np.tile(large.damaged, 3))
    np.testing.assert_allclose(fit_prior([small, repeated]).weights, weights, atol=2e-3)


def test_the_auroc_is_of_sources_that_were_not_learned_from() -> None:
    alike = [source(str(n), 80, 0, seed=n) for n in range(3)]
    assert (fit_prior(alike).auroc or 0) > 0.95
    assert (fit_prior([source(str(n), 80, n, seed=n) for n in range(3)]).auroc or 1) < 0.8
    assert fit_prior(alike[:1]).auroc is None


def test_only_labelled_buildings_are_learned_from_and_both_classes_are_needed() -> None:
    values = np.random.default_rng(3).normal(size=(30, 4, POOLED_FEATURES)).astype(np.float16)
    features = PairFeatures(np.array([f"b{n}" for n in range(30)]), values, "f")
    ids = np.array([f"b{n}" for n in (4, 2, 9, 11, 20, 21)])
    found = labelled_source("town", features, ids, np.array([True, True, True, False, False, False]))
    everything = np.concatenate(list(features.standardised()))
    assert found.damaged.tolist() == [True, True, True, False, False, False]
    np.testing.assert_allclose(found.features, everything[[2, 4, 9, 11, 20, 21]].astype(np.float16))
    with pytest.raises(LabelsError, match="3 labelled buildings of either class"):
        labelled_source("town", features, ids, np.zeros(6, bool))


@pytest.mark.parametrize(
    ("hazard", "models"),
    [
        ("fire", ("fire",)),
        ("Wildfire", ("fire",)),
        ("tsunami", ("flood",)),
        ("wind and flood", ("wind", "flood")),
        ("hurricane", ("wind", "flood")),
        ("tornado", ("wind",)),
        ("volcano", ("all",)),
        ("", ("all",)),
        (None, ("all",)),
    ],
)
def test_a_hazard_in_any_words_has_a_model(hazard: str | None, models: tuple[str, ...]) -> None:
    assert models_for(hazard) == models


def test_the_packaged_models_are_small_ours_and_of_simulated_towns_alone() -> None:
    sizes = 0
    for name in MODELS:
        card = packaged_model(name).card
        assert card.synthetic and card.name == name and card.auroc is not None and card.auroc > 0.8
        assert "simulated" in card.licence
        sizes += packaged_path(name).stat().st_size
    assert sizes < 300_000

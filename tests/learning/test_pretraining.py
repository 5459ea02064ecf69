"""Self-supervised pretraining: its losses, exact resume, the file it leaves and who can start from it."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from damage_ssl.errors import DamageSSLError, InputError, SettingsError, WorkspaceError
from damage_ssl.learning import pretraining
from damage_ssl.learning.checkpoints import load_model
from damage_ssl.learning.networks.encoders import encoder_named
from damage_ssl.learning.networks.torchvision_compat import ensure_torchvision
from damage_ssl.learning.networks.weights import load_weights, read_weights
from damage_ssl.learning.pair_tensor import pair_bytes
from damage_ssl.learning.pretraining import Pretraining, PretrainSettings, loss_named, pretraining_fingerprint
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.training import train
from damage_ssl.runs.run import Run
from tests.learning.trainer.drawn_pairs import draw_pairs, targets_of

ensure_torchvision()


pytest.importorskip("lightly", reason="the losses of lightly (extra 'pretrain')")


PAIRS, CLASSES = draw_pairs(16)
PIXELS = pair_bytes(PAIRS)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def settings(**changes: Any) -> PretrainSettings:
    values: dict[str, Any] = {"network": "small-cnn", "steps": 4, "batch": 8, "input_px": 32, "projection": 16}
    return PretrainSettings(**(values | {"device": "cpu"} | changes))


def begun(**changes: Any) -> Pretraining:
    given = settings(**changes)
    return Pretraining([PIXELS], given, pretraining_fingerprint(given, ["patches"]))


def encoder_of(made: Pretraining) -> dict[str, Tensor]:
    return made.network.encoder.state_dict()


@pytest.mark.parametrize("loss", ["simclr", "vicreg", "barlow-twins"])
def test_each_loss_is_lower_for_views_that_agree(loss: Any) -> None:
    torch.manual_seed(0)
    one, other = torch.randn(12, 16), torch.randn(12, 16)
    measure = loss_named(settings(loss=loss))
    assert measure(one, one + 0.01 * other) < measure(one, other)


def test_nt_xent_is_the_equation_of_the_paper() -> None:
    torch.manual_seed(0)
    one, other = torch.randn(5, 8).double(), torch.randn(5, 8).double()
    z = torch.nn.functional.normalize(torch.cat([one, other]), dim=1)
    similarity = (z @ z.T / 0.2).fill_diagonal_(-torch.inf)
    partner = torch.arange(10).roll(5)
    expected = (similarity.logsumexp(dim=1) - similarity[torch.arange(10), partner]).mean()
    torch.testing.assert_close(loss_named(settings(loss="simclr"))(one, other), expected)


def test_the_encoder_learns_and_the_loss_falls(tmp_path: Path) -> None:
    made, losses = begun(steps=15, learning_rate=1e-3), []
    before = {name: each.clone() for name, each in encoder_of(made).items()}
    assert made.run(tmp_path / "resume", lambda progress: losses.append(progress.loss))
    assert losses[-1] < losses[0]
    assert all(not torch.equal(each, before[name]) for name, each in encoder_of(made).items() if each.ndim > 1)


def test_a_stopped_pretraining_goes_on_to_exactly_the_same_weights(tmp_path: Path) -> None:
    unbroken, stopped = begun(), begun()
    unbroken.run(tmp_path / "unbroken")
    asked = iter(range(100))
    assert not stopped.run(tmp_path / "resume", should_stop=lambda: next(asked) >= 2)
    later = begun()
    assert later.run(tmp_path / "resume") and later.step == 4
    assert all(torch.equal(each, encoder_of(unbroken)[name]) for name, each in encoder_of(later).items())


def test_the_state_of_another_pretraining_is_refused(tmp_path: Path) -> None:
    begun().run(tmp_path / "resume", should_stop=lambda: True)
    with pytest.raises(WorkspaceError, match="of another pretraining"):
        begun(seed=1).run(tmp_path / "resume")


@pytest.mark.parametrize("algorithm", ["supervised-weak", "frozen-start"])
def test_what_was_learned_is_where_training_starts(algorithm: str, tmp_path: Path) -> None:
    made = begun(steps=1)
    made.run(tmp_path / "resume")
    made.write(tmp_path / "w.safetensors", {"events": ["town"]})
    facts = read_weights(tmp_path / "w.safetensors").facts
    assert facts["events"] == ["town"] and facts["network"] == "small-cnn" and facts["steps"] == 1
    encoder = encoder_named("small-cnn", 3)
    load_weights(encoder, "small-cnn", read_weights(tmp_path / "w.safetensors"))
    assert all(torch.equal(each, encoder_of(made)[name]) for name, each in encoder.state_dict().items())
    run = Run(tmp_path / "run")
    run.path.mkdir()
    options = {"weights": str(tmp_path / "w.safetensors"), "texture_filters": 8, "start_weight": 1.0}
    given = TrainSettings(algorithm=algorithm, network="small-cnn", input_px=32, steps=1, device="cpu", options=options)
    train(PAIRS, targets_of(PAIRS, CLASSES, train=8), given, run)
    network, card = load_model(run)  # with start_weight 1 the averaged weights are the starting ones
    assert card.training["options"]["weights"] == options["weights"] and card.spec.network == "small-cnn"
    for name, each in network.encoder.state_dict().items():
        torch.testing.assert_close(each, encoder_of(made)[name])


def test_events_of_different_patch_sizes_do_not_mix() -> None:
    other = pair_bytes(draw_pairs(8, size_px=48)[0])
    with pytest.raises(InputError, match="different sizes"):
        Pretraining([PIXELS, other], settings(), "f")


def test_stacked_dates_have_no_encoder_of_one_date() -> None:
    with pytest.raises(SettingsError, match="stacked"):
        settings(fusion="stacked")


def test_a_loss_that_is_no_number_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = begun(steps=1)
    monkeypatch.setattr(made, "loss", lambda one, other: (one - other).sum() * float("nan"))
    with pytest.raises(DamageSSLError, match="not a finite number"):
        made.run(tmp_path / "resume")


def test_without_lightly_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightly.loss", None)
    with pytest.raises(DamageSSLError, match=r"--no-deps 'lightly"):
        pretraining.loss_named(settings())

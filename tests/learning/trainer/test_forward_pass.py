"""A step reads nothing back from the device; a batch in parts, or in several processes, gives what it gives whole."""

import os
import signal
import socket
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed

from damage_ssl.errors import SettingsError
from damage_ssl.learning import tensor_files
from damage_ssl.learning.algorithms import ALGORITHMS
from damage_ssl.learning.settings import FitOptions, TrainSettings
from damage_ssl.learning.tensor_files import read_tensors
from damage_ssl.learning.trainer import trainer
from damage_ssl.learning.trainer.data import distinct, make_task
from damage_ssl.learning.trainer.forward_pass import Passes, TrainedNetwork, as_cuda_graphs, joined, passes_of
from damage_ssl.learning.trainer.trainer import Trainer
from damage_ssl.learning.training import train
from damage_ssl.runs.run import Run
from tests.learning.trainer.drawn_pairs import draw_pairs, targets_of
from tests.learning.trainer.host_reads import host_reads

PAIRS, CLASSES = draw_pairs(40)
TARGETS = targets_of(PAIRS, CLASSES, train=8, validation=8)
EVERY = [*({"algorithm": name} for name in sorted(ALGORITHMS)), {"options": {"imbalance": "abc"}}]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def new_run(path: Path) -> Run:
    path.mkdir(parents=True)
    return Run(path)


def settings(**changes: Any) -> TrainSettings:
    values: dict[str, Any] = {
        "network": "small-cnn",
        "input_px": 32,
        "steps": 4,
        "batch_labelled": 5,
        "unlabelled_ratio": 2,
        "device": "cpu",
    }
    return TrainSettings(**(values | changes))


def new_fit(path: Path, **changes: Any) -> Trainer:
    task = make_task(PAIRS, TARGETS, settings(**changes), new_run(path), lambda _: None, lambda: False)
    return Trainer(task, lambda: 0.0)


def trained(path: Path, **changes: Any) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Weights and metrics of a whole training."""
    run = new_run(path)
    train(PAIRS, TARGETS, settings(**changes), run)
    return read_tensors(run.checkpoint_path)[0], run.metrics()


def largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)


def test_the_finder_of_host_reads_tells_the_device_s_values_from_draws() -> None:
    x = torch.rand(4)  # made outside, so the device's
    with host_reads() as found:
        drawn = torch.randperm(4, generator=torch.Generator())
        drawn[:2].tolist(), int(drawn[0])
        assert found == []
        moved = x[drawn] * 2
        moved.sum().item(), moved.tolist(), moved[moved > 1], bool(moved[0] > 0)
    assert len(found) == 4


@pytest.mark.parametrize("changes", EVERY, ids=str)
def test_a_step_reads_nothing_back_from_the_device(changes: dict[str, Any], tmp_path: Path) -> None:
    fit = new_fit(tmp_path / "run", **changes)
    fit._one_step(0.0)  # what the first step alone does may read
    with host_reads() as found:
        fit._one_step(0.5)
    assert found == []


def test_a_report_does_read_the_device(tmp_path: Path) -> None:
    fit = new_fit(tmp_path / "run")
    fit._unreported.append(fit._one_step(0.0))
    with host_reads() as found:
        fit._report()
    assert found


@pytest.mark.parametrize("changes", EVERY, ids=str)
def test_a_batch_in_parts_gives_the_gradient_of_the_whole(changes: dict[str, Any], tmp_path: Path) -> None:
    gradients = []
    for parts in (1, 3):
        options = {**changes.get("options", {}), "accumulate": parts}
        fit = new_fit(tmp_path / str(parts), **{**changes, "options": options})
        losses = fit._one_step(0.5)
        flat = [each.grad.flatten() for each in fit.student.parameters() if each.grad is not None]
        gradients.append(torch.cat([losses[:1], *flat]))
    whole, in_parts = gradients
    assert float((whole - in_parts).norm() / whole.norm()) < 1e-6
    assert not torch.equal(whole, torch.zeros_like(whole))


def test_a_batch_in_parts_holds_the_activations_of_one_part(tmp_path: Path) -> None:
    def saved_bytes(parts: int) -> int:
        fit = new_fit(tmp_path / str(parts))
        seen = TrainedNetwork(fit.student, CPU, "float32", gradient=True, passes=Passes(parts=parts))
        saved: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            seen(torch.rand(32, 7, 32, 32, generator=torch.Generator().manual_seed(0)))
        return sum(saved.values())

    assert saved_bytes(4) < saved_bytes(1) / 4


def test_what_the_options_cannot_have_here_is_refused() -> None:
    with pytest.raises(SettingsError, match="on cpu there are no CUDA graphs"):
        passes_of(FitOptions(compile="reduce-overhead"), CPU, "run")
    with pytest.raises(SettingsError, match="use one"):
        passes_of(FitOptions(compile="reduce-overhead", accumulate=2), torch.device("cuda"), "run")
    assert passes_of(FitOptions(compile="reduce-overhead"), torch.device("cuda"), "run").compiler is as_cuda_graphs
    with pytest.raises(SettingsError, match="accumulate is 0; it must be at least 1"):
        FitOptions(accumulate=0)


def in_processes(count: int, work: Callable[[int], None]) -> None:
    """Do `work` in that many forked processes with what torchrun puts into their environment; all must succeed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(count):
        child = os.fork()
        if child:
            children.append(child)
            continue
        try:
            numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
            os.environ |= {name: str(value) for name, value in numbers.items()} | {"MASTER_ADDR": "127.0.0.1"}
            work(rank)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * count


@pytest.mark.long
def test_two_processes_train_what_one_does_with_every_algorithm(tmp_path: Path) -> None:
    """A batch of 5 does not divide evenly; ABC passes a second head, CDMAD a single blank pair.

    The head starts at a logistic regression: at random it is undecided, and rounding may turn a pseudo-label.
    """
    options = [
        *(each.get("options", {}) for each in EVERY),
        {"imbalance": "cdmad"},
        {"accumulate": 2, "gradient_clip": 1},
    ]
    names = [*sorted(ALGORITHMS), "fixmatch", "fixmatch", "fixmatch"]
    every = [
        {"algorithm": name, "steps": 2, "options": each | {"head_start": "logistic", "start_weight": 0.0}}
        for name, each in zip(names, options, strict=True)
    ]

    def work(rank: int) -> None:
        with joined() as world:
            assert (world.rank, world.size) == (rank, 2)
            for number, changes in enumerate(every):
                trained(tmp_path / f"process-{rank}-{number}", **changes)

    in_processes(2, work)
    for number, changes in enumerate(every):
        alone, metrics = trained(tmp_path / f"alone-{number}", **changes)
        first, second = (Run(tmp_path / f"process-{rank}-{number}") for rank in (0, 1))
        weights = [read_tensors(run.checkpoint_path)[0] for run in (first, second)]
        assert largest_difference(*weights) == 0, changes
        assert largest_difference(weights[0], alone) < 1e-5, changes
        losses = [[line["loss"] for line in lines if "loss" in line] for lines in (first.metrics(), metrics)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5), changes


def test_processes_stop_together_when_the_first_is_asked_to(tmp_path: Path) -> None:
    def work(rank: int) -> None:
        asked = iter(range(100))
        with joined():
            run = new_run(tmp_path / f"process-{rank}")
            train(PAIRS, TARGETS, settings(), run, should_stop=lambda: rank == 0 and next(asked) >= 2)
            assert (run.status().state, run.status().step) == ("cancelled", 2)
            assert not distributed.is_initialized() or distributed.get_world_size() == 2

    in_processes(2, work)


def killed_at(moment: str, path: Path, patch: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    """Train in a process that is killed in its third step (`step`), or while it writes its third checkpoint."""
    run = new_run(path)
    child = os.fork()
    if child:
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        return
    seen = iter(range(100))

    def die_in(module: Any, name: str, after: int) -> None:
        plain = getattr(module, name)

        def deadly(*args: Any, **kwargs: Any) -> Any:
            if next(seen) >= after:
                os.kill(os.getpid(), signal.SIGKILL)
            return plain(*args, **kwargs)

        patch.setattr(module, name, deadly)

    if moment == "step":
        die_in(torch.optim.SGD, "step", 2)  # gradients are there, weights and average not yet
    elif moment == "average":
        die_in(trainer.Ema, "update", 2)  # weights are, the average is not
    else:
        die_in(tensor_files, "checked_path", 2)
    train(PAIRS, TARGETS, settings(**changes), run)
    os._exit(0)


SAMPLE = (
    ("remixmatch", "step"),
    ("remixmatch", "checkpoint"),
    ("flexmatch", "average"),
    ("mean-teacher", "checkpoint"),
)
EVERY_KILL = tuple(product(sorted(ALGORITHMS), ("step", "average", "checkpoint")))


@pytest.mark.parametrize(
    ("algorithm", "moment"),
    [pytest.param(*kill, marks=pytest.mark.long if kill in SAMPLE else pytest.mark.nightly) for kill in EVERY_KILL],
)
def test_a_training_killed_at_any_moment_goes_on_to_exactly_the_same_weights(
    algorithm: str, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ReMixMatch has learned strengths, queues and a second head; FlexMatch remembers every pair."""
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    unbroken, _ = trained(tmp_path / "unbroken", algorithm=algorithm)
    with monkeypatch.context() as patch:
        killed_at(moment, tmp_path / "killed", patch, {"algorithm": algorithm})
    killed = Run(tmp_path / "killed")
    assert read_tensors(killed.resume_path)[1]["step"] == 2
    train(PAIRS, TARGETS, settings(algorithm=algorithm), killed)
    assert killed.status().state == "trained"
    assert largest_difference(read_tensors(killed.checkpoint_path)[0], unbroken) == 0


def test_few_draws_out_of_a_million_differ_and_take_no_shuffle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randperm", lambda *_, **__: pytest.fail("all are shuffled"))
    drawn = distinct(10**6, 2000, torch.Generator().manual_seed(0))  # two of 2,000 are alike with a chance of 0.86
    assert len(drawn.unique()) == 2000 and int(drawn.min()) >= 0 and int(drawn.max()) < 10**6
    assert abs(float(drawn.double().mean()) / 10**6 - 0.5) < 0.03  # 5 standard errors

"""The benchmarks of the trainer run on tiny inputs; what they would measure is not checked here."""

import argparse
import copy
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import cifar10, ssl_throughput, ssl_usual, step_memory
from benchmarks.ssl_feeds import PilPairs, drawn_pairs
from benchmarks.wide_resnet import WideResNet
from damage_ssl.learning.algorithms import ALGORITHMS
from damage_ssl.learning.algorithms.base import TrainingBatch
from damage_ssl.learning.networks.pair_network import PairNetwork


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def write_archive(path: Path) -> None:
    rng = np.random.default_rng(0)
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:xz") as tar:
        for part, count in (("train", 50), ("test", 50)):
            for kind in cifar10.CLASSES:
                for number in range(count):
                    file = io.BytesIO()
                    colour = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                    Image.fromarray(colour).save(file, "JPEG")
                    member = tarfile.TarInfo(f"{part}/{kind}/{number:04d}.jpg")
                    member.size = file.tell()
                    file.seek(0)
                    tar.addfile(member, file)


def test_the_smoke_run_on_cifar10_writes_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_archive(tmp_path / "data" / "cifar10" / "cifar10_jpeg.tar.xz")
    monkeypatch.setenv("DAMAGE_SSL_SHARED", str(tmp_path))
    out = tmp_path / "table.md"
    given = ["--smoke", "--steps", "2", "--batch", "4", "--depth", "10", "--device", "cpu", "--out", str(out)]
    rows = cifar10.main(given)
    assert [(row["algorithm"], row["labels"]) for row in rows] == list(cifar10.RUNS)
    assert all(np.isfinite(row["last_loss"]) and row["steps"] == 2 and 0 <= row["accuracy"] <= 1 for row in rows)
    text = out.read_text(encoding="utf-8")
    assert "10 training and 10 test images" in text and "94.93 ± 0.65" in text and "mean nothing" in text
    assert len(out.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()) == 4


def test_cifar10_views_stay_upright() -> None:
    ramp = torch.linspace(0, 255, 32).to(torch.uint8)[None, None, :, None].expand(64, 3, 32, 32)  # darker at the top
    settings = cifar10.ViewSettings(quarter_turns=False, rotation_deg=0, zoom=1, shear=0, operations="identity")
    views = cifar10.Views(settings.replace(cutout=0.0))
    generator = torch.Generator().manual_seed(0)
    for draw in (views.weak, views.strong):
        shown = draw(cifar10.as_pairs(ramp), generator)
        assert (shown[:, 3, 20:].mean((1, 2)) > shown[:, 3, :12].mean((1, 2))).all()


def test_wide_resnet_28_2_is_the_papers() -> None:
    assert sum(each.numel() for each in WideResNet(10).parameters()) == 1_467_610
    assert WideResNet(10, depth=10)(torch.rand(2, 7, 32, 32)).shape == (2, 10)


@pytest.mark.long
def test_throughput_reports_ratios_of_the_same_run() -> None:
    given = [
        "--device",
        "cpu",
        "--labelled",
        "4",
        "--ratio",
        "2",
        "--pairs",
        "80",
        "--workers",
        "2",
        "--rounds",
        "1",
        "--steps",
        "1",
        "--sizes",
        "32",
        "--precision",
        "auto",
        "float32",
    ]
    (line,) = ssl_throughput.main(given)
    assert line["ours_images_per_s"] > 0 and line["teraflop_per_step"] > 0
    for name in ("usual", "feed_only", "ours_float32"):
        expected = line["ours_images_per_s"] / line[f"{name}_images_per_s"]
        assert line[f"ours_over_{name}"] == pytest.approx(expected, rel=0.02, abs=0.006)


def test_the_usual_loop_is_fixmatch_on_the_same_network() -> None:
    loop = ssl_usual.UsualLoop(ssl_usual.usual_network("small-cnn", 32), torch.device("cpu"))
    spec, weights = loop.model.spec, copy.deepcopy(loop.model.state_dict())
    known = {"weak": torch.rand(4, 6, 32, 32), "index": torch.arange(4)}
    other = {"weak": torch.rand(8, 6, 32, 32), "strong": torch.rand(8, 6, 32, 32)}
    loop.step(known, other)
    ours = PairNetwork(spec)
    ours.load_state_dict(weights)

    def shown(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, torch.ones_like(x[:, :1])], dim=1)

    batch = TrainingBatch(
        target=known["index"] % 2,
        labelled_weak=shown(known["weak"]),
        unlabelled=(shown(other["weak"]), shown(other["strong"])),
    )
    terms = ALGORITHMS["fixmatch"]({}, "test").loss(ours, None, batch, progress=0.5, generator=torch.Generator())
    expected = (terms.loss, terms.supervised, terms.unlabelled, terms.mask_rate)
    assert loop.losses == pytest.approx([float(each.detach()) for each in expected], abs=1e-5)
    averaged, new = loop.average.state_dict(), loop.model.state_dict()
    name = "head.weight"
    assert torch.allclose(averaged[name], ssl_usual.DECAY * weights[name] + (1 - ssl_usual.DECAY) * new[name])
    assert not torch.equal(new[name], weights[name])


def test_pil_views_are_those_of_a_pair() -> None:
    pair = PilPairs(drawn_pairs(4, 32), strong=True)[1]
    assert pair["weak"].shape == pair["strong"].shape == (6, 32, 32)
    assert float(pair["strong"].min()) >= 0 and float(pair["strong"].max()) <= 1


def test_step_memory_measures_a_mapped_patch_set(tmp_path: Path) -> None:
    arguments = argparse.Namespace(
        folder=str(tmp_path), size=32, labelled=4, ratio=2, warm=1, steps=1, device="cpu", pairs=80
    )
    arguments.compile, arguments.precision = "off", "auto"
    line = step_memory.measure(arguments, "flexmatch", 500)
    assert line["pairs"] == 500 and line["step_s"] > 0 and line["training_mib"] >= line["step_mib"]
    assert "| flexmatch | 500 |" in step_memory.table([line])
    assert not list(tmp_path.iterdir())

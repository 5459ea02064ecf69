"""`damage-ssl benchmark` on a simulated town, with a trainer that answers at once."""

import json

import pytest

from damage_ssl.cli import benchmark
from damage_ssl.cli.root import cli
from damage_ssl.events.event import Event
from damage_ssl.settings import PatchSettings
from damage_ssl.simulation.event import SimulatedEvent
from damage_ssl.workflow import cut_patches
from tests.benchmarking.bench_division import FakeTrainer


def test_benchmark_runs_resumes_and_reports(
    small_town: tuple[Event, SimulatedEvent],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event, drawn = small_town
    trainer = FakeTrainer()
    monkeypatch.setattr(benchmark, "train_and_predict", trainer)
    cut_patches(event, PatchSettings(size_px=32))

    def run(*more: str) -> dict[str, object]:
        arguments = ["benchmark", "town", "--truth", str(drawn.truth), "--workspace", str(event.path.parent)]
        arguments += ["--methods", "frozen-random,supervised-weak", "--experiments", "labels", "--labels", "3"]
        arguments += ["--network", "small-cnn", "--steps", "2", "--trials", "1", "--json", *more]
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli(args=arguments, prog_name="damage-ssl", standalone_mode=True)
        assert end.value.code in (0, None)
        answer: dict[str, object] = json.loads(capsys.readouterr().out)
        return answer

    done = run()
    assert (done["missing"], done["failed"]) == (0, 0)
    cells = {path: path.stat().st_mtime_ns for path in (event.path / "benchmark" / "cells").glob("*.json")}
    assert len(cells) == len(trainer.trainings) == 8
    planned = run("--plan")
    assert (planned["trials"], planned["fits"], planned["missing"], planned["report"]) == (2, 6, 0, None)
    assert {path: path.stat().st_mtime_ns for path in cells} == cells
    text = (event.path / "benchmark" / "report.html").read_text(encoding="utf-8")
    assert "supervised-weak" in text
    assert "Not complete" not in text


def test_a_list_that_is_none_is_an_error(
    small_town: tuple[Event, SimulatedEvent], capsys: pytest.CaptureFixture[str]
) -> None:
    event, drawn = small_town
    arguments = ["benchmark", "town", "--truth", str(drawn.truth), "--workspace", str(event.path.parent)]
    with pytest.raises(SystemExit) as end:
        cli(args=[*arguments, "--labels", "few"], prog_name="damage-ssl", standalone_mode=True)
    assert end.value.code == 2
    assert "--labels: 'few' is not a list of whole numbers" in capsys.readouterr().err.replace("\n", " ")

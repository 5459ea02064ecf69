"""`damage-ssl views` on a simulated event."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from damage_ssl.simulation.event import SimulatedEvent
from tests.cli.conftest import Outcome, grades_of, inputs_of, write_labels

Run = Callable[..., Outcome]


@pytest.fixture
def workspace(run: Run, simulated: SimulatedEvent, tmp_path: Path) -> Path:
    run("init", "town", *inputs_of(simulated), "--workspace", tmp_path / "w")
    return tmp_path / "w"


def test_views_draws_and_measures(run: Run, workspace: Path, simulated: SimulatedEvent, tmp_path: Path) -> None:
    missing = run("views", "town", "--workspace", workspace)
    assert missing.code == 2
    assert "damage-ssl patches" in missing.err

    run("patches", "town", "--workspace", workspace)
    drawn = run("views", "town", "--workspace", workspace, "--out", tmp_path / "sheet.png", "--operations", "blur tint")
    assert drawn.code == 0, drawn.err
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 1000

    unlabelled = run("views", "town", "--workspace", workspace, "--measure")
    assert unlabelled.code == 2
    assert "no building has a label" in unlabelled.err
    unknown = run("views", "town", "--workspace", workspace, "--operations", "blurr")
    assert "did you mean 'blur'" in unknown.err

    labels = write_labels(tmp_path / "labels.csv", grades_of(simulated.truth))
    run("label", "import", "town", labels, "--workspace", workspace)
    found = run("views", "town", "--workspace", workspace, "--measure", "--budget", 0, "--json")
    assert found.code == 0, found.err
    values = found.json
    assert [row["name"] for row in values["rows"]] == ["untouched", "random", "weak", "augmix"]
    assert values["chosen"] in ("random", "augmix")
    table = json.loads((workspace / "town" / "views.json").read_text())
    assert (table["event"], table["rows"]) == ("town", values["rows"])

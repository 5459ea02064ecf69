"""`damage-ssl train EVENT --source OTHER`: a map of an event without labels, from another one's."""

from pathlib import Path

import pandas as pd
import pytest

from damage_ssl.simulation.event import SimulatedEvent, simulate
from damage_ssl.simulation.settings import SimulationSettings
from tests.cli.conftest import grades_of, inputs_of
from tests.cli.test_main_job import Run, labels_from

SETTINGS = '[train]\nnetwork = "small-cnn"\nsteps = 2\nbatch_labelled = 4\n[sources]\nmax_labelled = 30\n'


@pytest.fixture
def at(run: Run, simulated: SimulatedEvent, tmp_path: Path) -> list[object]:
    """A workspace with `town`, which has no labels, and `north`, of which 40 buildings are labelled."""
    at: list[object] = ["--workspace", tmp_path / "w"]
    north = simulate(tmp_path / "north", SimulationSettings(buildings=50, seed=8, damaged_share=0.4))
    for name, event in (("town", simulated), ("north", north)):
        assert run("init", name, *inputs_of(event), *at).code == 0
    assert run("patches", "north", *at).code == 0
    assert run("label", "import", "north", labels_from(north, tmp_path / "labels.csv"), *at).code == 0
    (tmp_path / "settings.toml").write_text(SETTINGS)
    return at


@pytest.mark.long
def test_labels_of_another_event_give_a_map_that_says_where_its_threshold_is_from(
    run: Run, simulated: SimulatedEvent, at: list[object], tmp_path: Path
) -> None:
    command = ["train", "town", "--source", "north", "--algorithm", "adamatch"]
    command += ["--settings", tmp_path / "settings.toml", *at]
    said = run(*command)
    assert said.code == 0, said.err
    text, note = " ".join(said.out.split()), " ".join(said.err.split())
    assert "of event north) and validated on" in text
    assert "Threshold and calibration come from other events (north)" in note
    again = run(*command, "--json")
    assert again.code == 0 and again.json["statement"] in note
    assert again.json["trained_on_sources"] == {"north": again.json["trained_on"]}
    assert again.json["trained_on"] + again.json["validated_on"] == 30
    table = pd.read_parquet(tmp_path / "w" / "town" / "runs" / again.json["run_id"] / "predictions.parquet")
    assert set(table["building_id"]) <= set(grades_of(simulated.truth)) and len(table) > 60

    exported = run("export", "town", "--out", tmp_path / "map.geojson", *at)
    assert "Threshold and calibration come from other events (north)" in " ".join(exported.err.split())
    pack = run("export", "town", "--pack", tmp_path / "pack", "--zip", *at)
    assert pack.code == 0, pack.err
    measured = run("evaluate", "town", "--truth", simulated.truth, *at)
    assert again.json["statement"] in " ".join(measured.out.split())

    run("label", "import", "town", labels_from(simulated, tmp_path / "own.csv", 60), *at)
    joined = run(*command, "--json")
    assert joined.code == 0, joined.err
    assert joined.json["statement"] is None and joined.json["trained_on_sources"] == {"north": 30}
    assert joined.json["trained_on"] > 30 and joined.json["validated_on"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "nroth"], "source 'nroth': no such event in"),
        (["--source", "town"], "source 'town': is the event that is trained for"),
        (["--source", "north", "--source", "north"], "source 'north': is named twice"),
        (["--resume", "x", "--source", "north"], "--resume: the run goes on with its own settings"),
        ([], "learn from another event with `--source`"),
    ],
)
def test_what_cannot_be_done_is_said_with_exit_code_2(
    run: Run, at: list[object], arguments: list[str], message: str
) -> None:
    outcome = run("train", "town", *arguments, *at)
    assert outcome.code == 2 and message in " ".join(outcome.err.split()), outcome.err
    assert not list((Path(str(at[1])) / "town").glob("runs/*"))

"""`damage-ssl train --network cached-lite0`: a run like any other, and the features serve the next one."""

from pathlib import Path

from damage_ssl.simulation.event import SimulatedEvent
from tests.cli.test_main_job import Run, labels_from


def test_a_head_on_cached_features_is_trained_exported_and_trained_again_on_the_same_features(
    run: Run, simulated: SimulatedEvent, cut: Path, tmp_path: Path
) -> None:
    at = ["--workspace", cut]
    run("label", "import", "town", labels_from(simulated, tmp_path / "a.csv", 40), *at)
    settings = tmp_path / "quick.toml"
    settings.write_text(
        '[train]\nnetwork = "cached-lite0"\nsteps = 3\n[train.options]\ncached_strong = 1\ncached_weak = 0\n'
    )
    quick = ["--settings", settings, *at, "--json"]
    first = run("train", "town", *quick)
    assert first.code == 0, first.err
    (features,) = (tmp_path / "w" / "town" / "views").iterdir()
    made = (features / "values.npy").stat().st_mtime_ns
    out = tmp_path / "map.geojson"
    assert run("export", "town", "--out", out, *at).code == 0
    assert '"p_damaged"' in out.read_text()
    run("label", "import", "town", labels_from(simulated, tmp_path / "b.csv", 60), *at)
    second = run("train", "town", *quick, "--algorithm", "remixmatch").json
    assert second["run_id"] != first.json["run_id"] and second["algorithm"] == "remixmatch"
    assert list(features.parent.iterdir()) == [features]
    assert (features / "values.npy").stat().st_mtime_ns == made

"""The notebooks run from the top, without Jupyter, and what their text claims holds."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
KEPT_BYTES = 300_000


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in, with figures drawn to nowhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    matplotlib.use("agg")
    return tmp_path


def cells_of(name: str) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return cells


def run(name: str) -> dict[str, Any]:
    """What the notebook's names hold when it has run; its figures are in `figures`."""
    from matplotlib import pyplot

    source = "\n".join("".join(cell["source"]) for cell in cells_of(name) if cell["cell_type"] == "code")
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, f"{name}.ipynb", "exec"), names)
    names["figures"] = len(pyplot.get_fignums())
    pyplot.close("all")
    return names


@pytest.mark.long
def test_the_main_job_makes_a_map_whose_auroc_is_as_said_and_does_nothing_twice(place: Path) -> None:
    found = run("main_job")
    assert found["report"].evaluation.auroc.value > 0.9
    assert found["figures"] == 3
    assert len(json.loads((place / "workspace/map.geojson").read_text())["features"]) == 120
    again = run("main_job")
    assert len(list((place / "workspace/town/runs").iterdir())) == 1
    assert again["report"].evaluation == found["report"].evaluation


@pytest.mark.long
def test_the_new_algorithm_is_trained_by_its_name_and_no_method_guesses(place: Path) -> None:
    from damage_ssl import ALGORITHMS

    try:
        found = run("new_algorithm")
    finally:
        ALGORITHMS.pop("entropy", None)
    scores = found["scores"].pivot(index="draw", columns="method", values="AUROC")
    assert sorted(scores.columns) == ["entropy", "fixmatch", "supervised-weak"]
    assert scores.mean().min() > 0.6 and found["figures"] == 1
    assert np.ptp(scores.mean()) < np.ptp(scores, axis=0).min()
    (definition,) = ["".join(c["source"]) for c in cells_of("new_algorithm") if "class Entropy" in "".join(c["source"])]
    assert len(definition.splitlines()) <= 30


@pytest.mark.long
def test_ones_own_analysis_counts_every_building_once(place: Path) -> None:
    found = run("own_analysis")
    assert found["figures"] == 2
    assert found["by_district"]["buildings"].sum() == found["by_cell"]["buildings"].sum() == len(found["buildings"])
    assert found["along"]["assessed"].gt(0).all()


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_what_is_kept_of_the_outputs_is_small_and_names_no_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    own = [str(NOTEBOOKS.parent), str(Path.home()), tempfile.gettempdir()]
    assert len(text) < KEPT_BYTES and not any(f"{place}/" in text for place in own)
    assert not any(out["output_type"] == "error" for cell in cells_of(path.stem) for out in cell.get("outputs", []))
    assert all(cell.get("execution_count") for cell in cells_of(path.stem) if cell["cell_type"] == "code")

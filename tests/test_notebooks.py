"""The notebooks run from the top, on a smaller town, without Jupyter."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
SMALLER = {"BUILDINGS = 300": "BUILDINGS = 90", "STEPS = 40": "STEPS = 2"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_twice_from_the_top(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    source = "\n".join(cells)
    for original, smaller in SMALLER.items():
        assert original in source
        source = source.replace(original, smaller)
    for _ in range(2):
        exec(compile(source, path.name, "exec"), {"__name__": "__main__"})
    assert "AUROC" in capsys.readouterr().out
    assert len(list((tmp_path / "workspace" / "town" / "runs").iterdir())) == 1
    assert json.loads((tmp_path / "workspace" / "map.geojson").read_text())["features"]

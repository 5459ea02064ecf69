"""Run the notebooks from the top and keep their outputs, small enough for a repository: `python notebooks/execute.py`.

Needs `pip install nbclient ipykernel`, which nothing else here does. The workspace is a temporary folder; pictures are
reduced to 64 colours, and a path of this machine in an output is an error.
"""

import base64
import io
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parent


def main() -> None:
    for path in [FOLDER / f"{name}.ipynb" for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as place:
            NotebookClient(notebook, timeout=900, resources={"metadata": {"path": place}}).execute()
            notebook.metadata["language_info"] = {"name": "python"}
            for cell in (each for each in notebook.cells if each.cell_type == "code"):
                cell.metadata.pop("execution", None)
                cell.outputs = [each for each in cell.get("outputs", []) if each.get("name") != "stderr"]
                for output in cell.outputs:
                    if str(FOLDER.parent) in str(output) or place in str(output):
                        raise SystemExit(
                            f"{path.name}: a path of this machine is in the output of {cell.source[:60]!r}"
                        )
                    if "image/png" in output.get("data", {}):
                        output["data"]["image/png"] = smaller(output["data"]["image/png"])
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size // 1000} kB")


def smaller(png: str) -> str:
    out = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").quantize(64).save(out, "png", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


if __name__ == "__main__":
    main()

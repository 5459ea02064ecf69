"""The structure of docs/architecture.md: no circles, layers, one name for one thing, files of one sitting."""

import ast
import graphlib
import subprocess
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import grimp
from importlinter.api import read_configuration

ROOT = Path(__file__).parents[1]
PACKAGES = ("damage_ssl", "app")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MOST_LINES = 400


@cache
def imports() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def is_face(module: str) -> bool:
    return (ROOT / module.replace(".", "/")).is_dir()


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = imports()
    order = {
        module: {each for each in graph.find_modules_directly_imported_by(module) if not is_face(each)}
        for module in graph.modules
        if not is_face(module)
    }
    graphlib.TopologicalSorter(order).prepare()  # raises CycleError, which names the circle


def test_layers_hold() -> None:
    assert read_configuration(str(ROOT / "pyproject.toml"))["contracts_options"], "no contract is configured"
    # In a process of its own: it silences every logger that it finds, and with them the tests that read a log.
    command = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    checked = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_two_public_classes_share_a_name() -> None:
    found = defaultdict(set)
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].add(path.relative_to(ROOT).as_posix())
    assert {name: sorted(places) for name, places in found.items() if len(places) > 1} == {}


def test_no_module_reaches_for_the_private_names_of_another() -> None:
    reached = [
        f"{path.relative_to(ROOT)}: {node.module}.{alias.name}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert reached == []


def test_every_file_can_be_read_in_one_go() -> None:
    lines = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for folder in (*PACKAGES, "tests", "benchmarks", "docs", "data_catalog")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}

"""environment.yml and pyproject.toml (with its extra `app`) ask for the same packages, in versions conda can parse."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CONDA_NAMES = {"torch": "pytorch"}


def split_spec(text: str) -> tuple[str, str]:
    name, version = re.fullmatch(r"([A-Za-z0-9_.-]+?)\s*([<>=!~].*)?", text).groups()
    return name.lower(), (version or "").replace(" ", "")


def conda_specs() -> dict[str, str]:
    specs: dict[str, str] = {}
    for entry in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]:
        for text in entry["pip"] if isinstance(entry, dict) else [entry]:
            if text != "-e .":
                name, version = split_spec(text)
                specs[name] = version
    return specs


def test_environment_has_the_packages_and_versions_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = dict(split_spec(text) for text in [*project["dependencies"], *project["optional-dependencies"]["app"]])
    wanted = {CONDA_NAMES.get(name, name): version for name, version in wanted.items()}
    assert conda_specs() == {**wanted, "python": project["requires-python"], "pip": ""}


def test_every_conda_spec_parses() -> None:
    rattler = pytest.importorskip("rattler")
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    parsed = [rattler.MatchSpec(entry).name for entry in environment["dependencies"] if isinstance(entry, str)]
    assert len(parsed) == sum(isinstance(entry, str) for entry in environment["dependencies"])


def test_core_dependencies_of_the_users_choice_are_there() -> None:
    fixed = {"rasterio", "geopandas", "pytorch", "segmentation-models-pytorch", "streamlit", "shapely"}
    assert fixed <= set(conda_specs())

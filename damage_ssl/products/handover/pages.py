"""What is read without a GIS: the offline map and the report, in the receiver's language."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from damage_ssl.languages import LANGUAGES, language_named
from damage_ssl.products.handover.facts import HandoverFacts
from damage_ssl.products.handover.template import read_template


def page_steps(folder: Path, handing: HandoverFacts) -> list[Callable[[], object]]:
    """Writing `map.html` and `report.pdf` of a pack."""
    from damage_ssl.products.handover.html_map import write_html_map
    from damage_ssl.products.handover.report import write_report

    return [
        partial(write_html_map, folder / "map.html", handing),
        partial(write_report, folder / "report.pdf", handing),
    ]


def check_pages(language: str, template: Path | None) -> None:
    """Raises InputError where the language is not known or the template cannot be used."""
    language_named(language)
    read_template(template)


def language_names() -> Mapping[str, str]:
    """Own name of each language that report and offline map can be had in, by its code."""
    return {code: language.name for code, language in LANGUAGES.items()}

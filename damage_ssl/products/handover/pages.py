"""What is read without a GIS: the offline map and the report, in the receiver's language."""

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from damage_ssl.products.handover.facts import HandoverFacts

_HERE = "damage_ssl.products.handover"


def page_steps(folder: Path, handing: HandoverFacts) -> list[Callable[[], object]]:
    """Writing `map.html` and `report.pdf` of a pack."""
    html_map, report = _found(f"{_HERE}.html_map", "write_html_map"), _found(f"{_HERE}.report", "write_report")
    pages = (("map.html", html_map), ("report.pdf", report))
    return [partial(write, folder / name, handing) for name, write in pages if write is not None]


def check_pages(language: str, template: Path | None) -> None:
    """Raises InputError where the language is not known or the template cannot be used."""
    for check, value in (
        (_found("damage_ssl.languages", "language_named"), language),
        (_found(f"{_HERE}.template", "read_template"), template),
    ):
        if check is not None:
            check(value)


def language_names() -> Mapping[str, str]:
    """Own name of each language that report and offline map can be had in, by its code."""
    try:
        known = importlib.import_module("damage_ssl.languages").LANGUAGES
    except ModuleNotFoundError:
        return {"en": "English"}
    return {code: language.name for code, language in known.items()}


def _found(module: str, name: str) -> Callable[..., Any] | None:
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        return None
    return found

"""The filter of the map, a `Selection` of the product, as it goes through addresses and widgets."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from damage_ssl.products.selection import Selection

_NONE = "none"
"""Stands in an address for "no class", which an absent parameter could not say."""


def query_of(wanted: Selection) -> dict[str, Any]:
    """The filter as query parameters, read back by `app.routes.common.filter_in`; none for one that is open."""
    if wanted.is_open:
        return {}
    classes = {} if wanted.classes is None else {"class": list(wanted.classes) or [_NONE]}
    return {**classes, "p_min": wanted.p_min, "p_max": wanted.p_max, "not_assessed": int(wanted.not_assessed)}


def classes_in(names: Sequence[str]) -> tuple[str, ...] | None:
    """The classes of such an address."""
    return tuple(name for name in names if name != _NONE) if names else None


def without_idle(wanted: Selection, classes: Collection[str], *, not_assessed: int) -> Selection:
    """The same filter, open where it leaves out none of the `classes` or `not_assessed` buildings there are."""
    chosen = wanted.classes
    if chosen is not None and set(chosen) >= set(classes):
        chosen = None
    return replace(wanted, classes=chosen, not_assessed=wanted.not_assessed or not not_assessed)

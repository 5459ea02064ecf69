"""Which buildings of an assessment are handed over: the filter of the map, in the file, in words, in an address."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Classes as in the product (None: all), a range of P(damaged) in 0..1, and whether buildings not assessed belong.

    A building without a probability passes only the full range; one without a class only when no classes are chosen.
    What is not assessed passes by `not_assessed` alone.
    """

    classes: tuple[str, ...] | None = None
    p_min: float = 0.0
    p_max: float = 1.0
    not_assessed: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.p_min <= self.p_max <= 1.0:
            raise InputError(f"selection: probabilities from {self.p_min} to {self.p_max}; give 0 ≤ from ≤ to ≤ 1")

    @property
    def is_open(self) -> bool:
        """True where nothing is left out."""
        return self == type(self)()

    @property
    def words(self) -> str:
        """The selection for a person."""
        parts = []
        if self.classes is not None:
            parts.append(f"class {' or '.join(self.classes)}" if self.classes else "no class")
        if (self.p_min, self.p_max) != (0.0, 1.0):
            parts.append(f"p_damaged from {self.p_min:g} to {self.p_max:g}")
        if not self.not_assessed:
            parts.append("assessed buildings only")
        elif parts:
            parts.append("and the buildings not assessed")
        return ", ".join(parts) or "every building"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def mask(self, table: pd.DataFrame) -> NDArray[np.bool_]:
        """Rows [N] of an assessment table that pass."""
        assessed = table["assessed"].to_numpy(bool)
        wanted = np.ones(len(table), dtype=bool)
        if self.classes is not None:
            wanted = table["damage_class"].isin(self.classes).to_numpy(bool)
        if (self.p_min, self.p_max) != (0.0, 1.0):
            p = pd.to_numeric(table["p_damaged"]).to_numpy(float, na_value=np.nan)
            wanted = wanted & (p >= self.p_min) & (p <= self.p_max)
        return np.where(assessed, wanted, self.not_assessed)

    def check(self, known: Collection[str]) -> None:
        """Refuse a class that the product cannot have.

        Raises:
            InputError: names the class and those there are.
        """
        for name in self.classes or ():
            if name not in known:
                raise InputError(f"selection: class '{name}' is not one of {', '.join(sorted(known))}")


_NONE = "none"
"""Stands in an address for "no class", which an absent parameter could not say."""


def query_of(wanted: Selection) -> dict[str, Any]:
    """The filter as query parameters, read back by `app.api.parameters.filter_in`; none for one that is open."""
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

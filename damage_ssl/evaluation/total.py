"""How many buildings are damaged, with bounds: the values that estimators give and products state."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Total:
    """The damaged buildings of an event or of one unit, a count among its assessed ones, with a 95 % interval.

    `damaged`, `damaged_low` and `damaged_high` are None where too few answers say anything; `damaged` with no bounds is
    a model's count, and `method` calls it one. `answers` counts the answers that decided.
    """

    unit_id: str | None
    name: str
    assessed: int
    not_assessed: int
    damaged: int | None
    damaged_low: int | None
    damaged_high: int | None
    model_count: int | None
    method: str
    answers: int
    note: str | None = None

    @property
    def share(self) -> float | None:
        """Damaged among assessed."""
        return None if self.damaged is None or not self.assessed else self.damaged / self.assessed

    @property
    def words(self) -> str:
        """In a few words, e.g. `about 12 (8–17) of 60`; a count of the map is called one."""
        of = f"of {self.assessed:,}"
        if self.damaged is None:
            return f"{self.method}; {of} assessed"
        if self.damaged_low is None:
            return f"{self.damaged:,} {of}, a count of the map"
        return f"about {self.damaged:,} ({self.damaged_low:,}–{self.damaged_high:,}) {of}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, the shares beside the counts."""
        n = self.assessed
        shares = {
            name.replace("damaged", "share"): None if value is None or not n else round(value / n, 4)
            for name, value in (
                ("damaged", self.damaged),
                ("damaged_low", self.damaged_low),
                ("damaged_high", self.damaged_high),
            )
        }
        return asdict(self) | shares


@dataclass(frozen=True, kw_only=True)
class Totals:
    """The total of an event, of each of its grades, and of each unit; `statement` is the headline for a person."""

    total: Total
    grades: tuple[Total, ...] = ()
    units: tuple[Total, ...] = ()
    statement: str = ""
    next_step: str | None = None
    """What more random answers would bring, as a sentence."""

    def to_json(self) -> dict[str, Any]:
        """`{"total": …, "grades": […], "units": […], …}`."""
        return {
            "total": self.total.to_json(),
            "grades": [each.to_json() for each in self.grades],
            "units": [each.to_json() for each in self.units],
            "statement": self.statement,
            "next_step": self.next_step,
        }

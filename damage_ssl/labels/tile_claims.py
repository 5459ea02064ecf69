"""Who has which tile open, and how large an event's tiles are: one small file beside its labels, for everybody."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from damage_ssl.errors import InputError
from damage_ssl.files import locked, read_json, write_json
from damage_ssl.labels.tiles import LEAST_SIDE_M, MOST_SIDE_M, SIDE_M

LEFT_AFTER_S = 3600.0
"""A tile that nobody has answered for so long after it was opened is free again."""


@dataclass(frozen=True)
class TileClaims:
    """The tiles of one event that are open, kept in a JSON file. Safe for many processes at once.

    Examples:
        >>> claims = TileClaims(Path("tiles.json"))
        >>> claims.take("T150-3-4", "ada", now=0.0)
        >>> claims.taken(by_others_than="bob", now=10.0)
        {'T150-3-4': 'ada'}
        >>> claims.take("T150-3-4", "bob", now=10.0)
        Traceback (most recent call last):
        damage_ssl.errors.InputError: tile 'T150-3-4': ada has it open; take another one
    """

    path: Path

    def take(self, tile_id: str, labeller: str, *, now: float) -> None:
        """Open a tile, or go on with it. Nobody has two open: an earlier one is let go.

        Raises:
            InputError: somebody else has it open. StorageError: the disk is full or not writable.
        """
        with self._locked():
            kept = self._read()
            holder, since = kept["open"].get(tile_id, (labeller, now))
            if holder != labeller and now - since < LEFT_AFTER_S:
                raise InputError(f"tile '{tile_id}': {holder} has it open; take another one")
            others = {tile: held for tile, held in kept["open"].items() if held[0] != labeller}
            write_json(self.path, {**kept, "open": {**others, tile_id: [labeller, now]}})

    def release(self, labeller: str) -> None:
        """Let go of what somebody has open."""
        with self._locked():
            kept = self._read()
            others = {tile: held for tile, held in kept["open"].items() if held[0] != labeller}
            if others != kept["open"]:
                write_json(self.path, {**kept, "open": others})

    def taken(self, *, by_others_than: str, now: float) -> dict[str, str]:
        """The tiles that somebody else has open, and who."""
        return {
            tile: holder
            for tile, (holder, since) in self._read()["open"].items()
            if holder != by_others_than and now - since < LEFT_AFTER_S
        }

    @property
    def side_m(self) -> float:
        """Metres a side of the event's tiles."""
        return float(self._read()["side_m"])

    def choose_side(self, side_m: float) -> None:
        """Lay the event out anew, for everybody; answers stay, and tiles of the other side that are open are let go.

        Raises:
            InputError: the side is out of range. StorageError: the disk is full or not writable.
        """
        if not LEAST_SIDE_M <= side_m <= MOST_SIDE_M:
            raise InputError(f"tiles of {side_m:g} m a side; allowed: {LEAST_SIDE_M:g} to {MOST_SIDE_M:g}")
        with self._locked():
            if side_m != self._read()["side_m"]:
                write_json(self.path, {"side_m": side_m, "open": {}})

    def _locked(self) -> Any:
        return locked(self.path.with_name(f"{self.path.name}.lock"))

    def _read(self) -> dict[str, Any]:
        try:
            kept = read_json(self.path)
            return {"side_m": float(kept["side_m"]), "open": _pairs(kept["open"].items())}
        except FileNotFoundError:
            return {"side_m": SIDE_M, "open": {}}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{self.path}: does not say who has which tile ({error}); correct or delete it") from error


def _pairs(items: Collection[Any]) -> dict[str, tuple[str, float]]:
    return {str(tile): (str(holder), float(since)) for tile, (holder, since) in items}

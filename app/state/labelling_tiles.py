"""The tiles of an event as the map shows them: how far each is, who has it open, and the next one to open."""

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.state.event_view import EventView, current_labels, kept_with_view
from app.state.label_evidence import label_log
from app.state.sampling_shares import shares_of
from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import InputError
from damage_ssl.grid import crs_of_epsg, transformer, utm_epsg
from damage_ssl.labels.new_label import NewLabel
from damage_ssl.labels.sampling import RANDOM, SPREAD
from damage_ssl.labels.tile_claims import TileClaims
from damage_ssl.labels.tiles import Strategy, TileDraw, Tiling, draw_tile, drawn_tiles, lay_out, tile_answers
from damage_ssl.runs.model import MapModel


def claims_of(view: EventView) -> TileClaims:
    """Who has which tile of the event open."""
    return TileClaims(view.event.path / "tiles.json")


def tiling_of(view: EventView) -> Tiling:
    """The event's tiles, of the side that was chosen for it.

    Raises:
        WorkspaceError: its pairs are not cut yet.
    """
    return _tiling(view, claims_of(view).side_m)


@kept_with_view(2)
def _tiling(view: EventView, side_m: float) -> Tiling:
    return lay_out(view.pairs, side_m)


@kept_with_view(2)
def _corners(view: EventView, side_m: float) -> list[list[list[float]]]:
    """The four corners of each tile, latitude before longitude as Leaflet has them."""
    tiling = _tiling(view, side_m)
    west, south, east, north = view.bounds
    to_degrees = transformer(crs_of_epsg(utm_epsg((west + east) / 2, (south + north) / 2)), crs_of_epsg(4326))
    around = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * side_m
    x_m, y_m = np.moveaxis(tiling.corner_m[:, None] + around, -1, 0)
    lon, lat = to_degrees.transform(x_m, y_m)
    corners: list[list[list[float]]] = np.stack([np.round(lat, 7), np.round(lon, 7)], axis=-1).tolist()
    return corners


def _labels(tiling: Tiling) -> list[str]:
    """What people call the tiles: a letter from west to east and a number from north to south, as on a town plan."""
    cell = np.rint(tiling.corner_m / tiling.side_m).astype(int)
    if not len(cell):
        return []
    column, row = cell[:, 0] - cell[:, 0].min(), cell[:, 1].max() - cell[:, 1]
    return [f"{_letters(east)}{south + 1}" for east, south in zip(column.tolist(), row.tolist(), strict=True)]


def _letters(number: int) -> str:
    """A, B, … Z, AA, AB, …"""
    before, last = divmod(number, 26)
    return (_letters(before - 1) if before else "") + chr(ord("A") + last)


def tiles_shown(view: EventView, labeller: str) -> dict[str, Any]:
    """Every tile with its corners, how many buildings it has and how many are answered, and who else has it open."""
    tiling = tiling_of(view)
    answered = _answered(view)
    counted = tiling.count(answered).tolist()
    by_chance = drawn_tiles(tiling, label_log(view.event, current_labels(view.event)[1])).tolist()
    taken = claims_of(view).taken(by_others_than=labeller, now=time.time())
    rows = zip(
        tiling.tile_id.tolist(),
        _labels(tiling),
        _corners(view, tiling.side_m),
        tiling.buildings.tolist(),
        counted,
        by_chance,
        strict=True,
    )
    return {
        "side_m": tiling.side_m,
        "tiles": [
            {
                "id": name,
                "label": label,
                "corners": corners,
                "buildings": buildings,
                "answered": done,
                "random": drawn,
                "taken_by": taken.get(name),
            }
            for name, label, corners, buildings, done, drawn in rows
        ],
    }


def open_tile(
    view: EventView, model: MapModel | None, labeller: str, wanted: str, rng: np.random.Generator | None = None
) -> dict[str, Any] | None:
    """Open a tile for a labeller: the one of this name, or the next by a strategy; `mixed` draws some by chance.

    Returns:
        The tile with its buildings and their labels, how it was drawn and the chance of that; None where none is left.

    Raises:
        InputError: somebody else has it open, or the strategy needs a model.
    """
    tiling = tiling_of(view)
    if wanted in tiling.tile_id:
        claims_of(view).take(wanted, labeller, now=time.time())
        return _opened(view, tiling, tiling.place(wanted), "map", None)
    draw = _claim_next(view, model, tiling, labeller, wanted, rng or np.random.default_rng())
    return None if draw is None else _opened(view, tiling, draw.tile, draw.drawn, draw.probability)


def _opened(view: EventView, tiling: Tiling, tile: int, drawn: str, probability: float | None) -> dict[str, Any]:
    labels = current_labels(view.event)[0]
    value_of = dict(zip(labels["building_id"], labels["value"], strict=True))
    ids = view.building_id[tiling.rows(tile)].tolist()
    return {
        "id": str(tiling.tile_id[tile]),
        "label": _labels(tiling)[tile],
        "corners": _corners(view, tiling.side_m)[tile],
        "buildings": [{"id": building, "label": value_of.get(building)} for building in ids],
        "drawn": drawn,
        "probability": probability,
    }


def _claim_next(
    view: EventView, model: MapModel | None, tiling: Tiling, labeller: str, wanted: str, rng: np.random.Generator
) -> TileDraw | None:
    """The next tile, opened; where somebody else was quicker, the one after it."""
    claims = claims_of(view)
    taken = set(claims.taken(by_others_than=labeller, now=time.time()))
    while (draw := _next(view, model, tiling, taken, wanted, rng)) is not None:
        name = str(tiling.tile_id[draw.tile])
        try:
            claims.take(name, labeller, now=time.time())
            return draw
        except InputError:
            taken.add(name)
    return None


def _next(
    view: EventView, model: MapModel | None, tiling: Tiling, taken: set[str], wanted: str, rng: np.random.Generator
) -> TileDraw | None:
    """`mixed`: by chance as often as the event's share of random answers says, else where the model is unsure."""
    chance = rng.random() < shares_of(view.event).random
    asked: Any = (RANDOM if chance else SPREAD if model is None else "uncertain") if wanted == "mixed" else wanted
    answered, log = _answered(view), label_log(view.event, current_labels(view.event)[1])

    def draw(strategy: Strategy) -> TileDraw | None:
        return draw_tile(
            tiling,
            strategy,
            answered=answered,
            drawn_before=drawn_tiles(tiling, log),
            taken=taken,
            rng=rng,
            score=_score(view, model, strategy),
        )

    found = draw(asked)
    if found is None and wanted == "mixed":
        found = draw("spread" if asked == RANDOM else "random")
    return found


def _score(view: EventView, model: MapModel | None, strategy: Strategy) -> NDArray[np.float64] | None:
    if model is None or strategy not in ("uncertain", "likely"):
        return None
    said = model.prediction
    value = said.uncertainty if strategy == "uncertain" else said.p_damaged
    score = np.full(len(view.building_id), np.nan)
    rows = np.array([view.position_of.get(building, -1) for building in said.building_id.tolist()], dtype=np.intp)
    score[rows[rows >= 0]] = np.asarray(value, dtype=float)[rows >= 0]
    return score


def _answered(view: EventView) -> NDArray[np.bool_]:
    return np.isin(view.building_id, current_labels(view.event)[0]["building_id"].to_numpy(str))


def rows_of_tile(
    view: EventView, tile_id: str, marks: dict[str, LabelValue], *, rest: LabelValue, drawn: str, labeller: str,
    chance: object,
) -> list[NewLabel]:  # fmt: skip
    """What is written of a tile that was answered whole; see `tile_answers`.

    The chance is that of the draw, not what the page says: 1 / the number of tiles where `chance` is not None.

    Raises:
        InputError: no such tile, or a mark is of a building elsewhere.
    """
    tiling = tiling_of(view)
    buildings = view.building_id[tiling.rows(tiling.place(tile_id))].tolist()
    return tile_answers(
        tile_id,
        buildings,
        marks,
        _standing(view, buildings),
        rest=rest,
        drawn=drawn,
        probability=None if chance is None else 1 / len(tiling),
        labeller=labeller,
    )


def _standing(view: EventView, buildings: Iterable[str]) -> dict[str, LabelValue]:
    labels = current_labels(view.event)[0]
    inside = labels[labels["building_id"].isin(list(buildings))]
    try:
        return {b: LabelValue(v) for b, v in zip(inside["building_id"], inside["value"], strict=True)}
    except ValueError as error:
        raise InputError(f"the label log holds a value that is none: {error}") from error

"""`damage-ssl totals`: how many buildings are damaged, with bounds, by unit; of an event or of another tool's map."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from damage_ssl import workflow
from damage_ssl.cli.console import Console, command
from damage_ssl.cli.options import WORKSPACE, Json, RunId, Workspace
from damage_ssl.errors import InputError
from damage_ssl.evaluation.total import Total, Totals
from damage_ssl.events.event import Event
from damage_ssl.spreadsheet import inert_rows, meant

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd


def totals(
    event: Annotated[
        str | None, typer.Argument(metavar="[EVENT]", help="Name of the event; left out with --table.")
    ] = None,
    by: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Polygons that totals are given for: any vector file.")
    ] = None,
    grid: Annotated[
        float | None, typer.Option(metavar="METRES", min=1.0, help="Squares with this side instead, e.g. 500.")
    ] = None,
    by_id: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of --by with each unit's code.")] = None,
    by_name: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of --by with each unit's name.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CSV, or GeoJSON with the outlines, of the units to write.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A map to audit instead of an event: CSV or any vector file.")
    ] = None,
    sample: Annotated[
        Path | None, typer.Option(metavar="CSV", help="With --table: answers on buildings of it drawn at random.")
    ] = None,
    id_column: Annotated[str, typer.Option(metavar="COLUMN", help="Of map and sample: the building.")] = "building_id",
    answer_column: Annotated[
        str, typer.Option(metavar="COLUMN", help="Of the sample: a grade, damaged, intact, 1 or 0.")
    ] = "grade",
    score_column: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Of the map: higher where more damaged (p_damaged, where there is one)."),
    ] = None,
    damaged_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Of the map: its verdict, 1 or true for damaged.")
    ] = None,
    assessed_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Of the map: 1 or true where it says something.")
    ] = None,
    scheme: Annotated[
        str, typer.Option(help="With --table, what damaged means: binary-major, binary-minor or grades.")
    ] = "binary-major",
    run_id: RunId = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Say how many buildings are damaged, plus or minus what, from the random answers and the map."""
    with command(json=json) as console:
        if (event is None) == (table is None):
            raise InputError("totals: name an event, or give another tool's map with --table and --sample")
        if by is not None and grid is not None:
            raise InputError("totals: give --by or --grid, not both")
        if (by_id or by_name) and by is None:
            raise InputError("totals: --by-id and --by-name name columns of --by; give that file too")
        if out is not None and by is None and grid is None:
            raise InputError("totals: --out writes the units; give --by FILE or --grid METRES too")
        if table is not None:
            from damage_ssl.damage_scale import scheme_named
            from damage_ssl.products.sampled_table import table_totals

            if sample is None:
                raise InputError("totals: --table needs --sample, the answers on buildings drawn at random")
            buildings = _read_map(table)
            units = _units(buildings, by, grid, by_id, by_name)
            known = "p_damaged" if "p_damaged" in buildings and damaged_column is None else None
            found = table_totals(
                buildings,
                _read_csv(sample),
                scheme=scheme_named(scheme),
                building_id=id_column,
                answer=answer_column,
                score=score_column or known,
                damaged=damaged_column,
                assessed=assessed_column or ("assessed" if "assessed" in buildings else None),
                units=units,
                name=table.stem,
            )
        else:
            from damage_ssl.cli.products import model_of
            from damage_ssl.products.totals import event_totals

            opened = Event.open(workspace, str(event))
            model = model_of(console, opened, run_id)
            whole = workflow.export_table(opened, model)
            units = _units(whole, by, grid, by_id, by_name)
            found = event_totals(opened, model, whole, units=units)
        _say(console, found)
        if out is not None and units is not None:
            _write(found, units, out)
            console.say(f"{len(found.units):,} units written to {out}")
        console.result(found.to_json())


def _units(
    buildings: "pd.DataFrame", by: Path | None, grid: float | None, by_id: str | None, by_name: str | None
) -> "gpd.GeoDataFrame | None":
    import geopandas as gpd

    from damage_ssl.products.units import grid_units, read_units

    if by is not None:
        return read_units(by, id_column=by_id, name_column=by_name)
    if grid is None:
        return None
    if not isinstance(buildings, gpd.GeoDataFrame):
        raise InputError("totals: the map has no geometry, so there is nothing to lay a grid over; give GeoJSON")
    return grid_units(buildings.geometry, grid)


def _read_map(path: Path) -> "pd.DataFrame":
    """A map of any tool: a vector file in WGS 84, or CSV, with points where it has `lon` and `lat`."""
    from geopandas import GeoDataFrame, points_from_xy

    from damage_ssl.footprints.reader import read_vector

    if path.suffix.lower() != ".csv":
        found = read_vector(path, "map")
        wgs84: pd.DataFrame = found if found.crs is None else found.to_crs("EPSG:4326")
        return wgs84
    table = _read_csv(path)
    if {"lon", "lat"} <= set(table.columns):
        points = points_from_xy(table["lon"].astype(float), table["lat"].astype(float))
        table = GeoDataFrame(table, geometry=points, crs="EPSG:4326")
    return table


def _read_csv(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        table: pd.DataFrame = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error})") from None
    if len(table) and all(pd.isna(value) or str(value).startswith("#") for value in table.iloc[0]):
        table = table.iloc[1:].reset_index(drop=True)  # a row of HXL tags
    return table.map(meant, na_action="ignore")


def _say(console: Console, found: Totals) -> None:
    total = found.total
    console.say(found.statement)
    console.say(f"{total.assessed:,} buildings assessed, {total.not_assessed:,} not; {total.method}")
    for row in found.grades:
        console.say(f"  {row.name}: {row.damaged:,} ({row.damaged_low:,}–{row.damaged_high:,})")
    for row in found.units:
        console.say(f"  {row.name}: {_row(row)}")
    if found.units:
        console.say("units are estimated each by itself and need not add up to the total")
    if total.note:
        console.warn(total.note)
    if found.next_step:
        console.say(found.next_step)


def _row(row: Total) -> str:
    if row.damaged is None:
        return f"{row.method}; {row.assessed:,} assessed, {row.not_assessed:,} not"
    bounds = "" if row.damaged_low is None else f" ({row.damaged_low:,}–{row.damaged_high:,})"
    return f"{row.damaged:,}{bounds} of {row.assessed:,} assessed, {row.not_assessed:,} not; {row.method}" + (
        f"; {row.note}" if row.note else ""
    )


def _write(found: Totals, units: "gpd.GeoDataFrame", out: Path) -> None:
    """The units as a table, by the ending with their outlines."""
    import geopandas as gpd
    import pandas as pd

    from damage_ssl.files import atomic_path

    rows = [each.to_json() for each in found.units]
    with atomic_path(out) as temporary:
        if out.suffix.lower() == ".csv":
            pd.DataFrame(inert_rows(rows)).to_csv(temporary, index=False)
        else:
            shapes = [*units.geometry, *([None] * (len(rows) - len(units)))]
            gpd.GeoDataFrame(pd.DataFrame(rows), geometry=shapes, crs=units.crs).to_file(temporary, driver="GeoJSON")

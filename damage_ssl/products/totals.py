"""The totals of an event: what its model and its logged random answers say of how many buildings are damaged."""

from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd

from damage_ssl.evaluation.total import Totals
from damage_ssl.events.definition import damage_scheme, stated_scheme
from damage_ssl.events.event import Event, open_labels
from damage_ssl.products.total_rows import CountedBuildings, evidence_of, totals_of
from damage_ssl.products.units import AssignedUnits, assign_units
from damage_ssl.runs.assisting import assistance
from damage_ssl.runs.model import MapModel


def event_totals(
    event: Event,
    model: MapModel | None,
    table: gpd.GeoDataFrame,
    *,
    units: gpd.GeoDataFrame | None = None,
) -> Totals:
    """The totals of an event, of its grades where answers are grades, and of units.

    Args:
        event: the event, for its label log.
        model: whose predictions assist where they may (`runs.assisting`); None: frozen features only, or nothing.
        table: the whole map (`export_table`).
        units: `unit_id`, `name`, geometry (`units.read_units`, `units.grid_units`); None: the event only.

    Raises:
        StorageError: the log cannot be read.

    Examples:
        >>> found = totals(event, FinishedRun(run), export_table(event, FinishedRun(run)))
        >>> found.total.assessed, found.total.answers, found.total.damaged_low is None
        (60, 0, True)
    """
    buildings = CountedBuildings.of_table(table)
    assigned = None if units is None else assign_units(table.geometry, units)
    return event_totals_of(event, model, buildings, open_labels(event).log(), assigned)


def event_totals_of(
    event: Event,
    model: MapModel | None,
    buildings: CountedBuildings,
    log: pd.DataFrame,
    units: AssignedUnits | None = None,
) -> Totals:
    """The same for whoever holds the buildings as arrays and the log already."""
    scheme = stated_scheme(event) or (damage_scheme(event) if model is None else model.scheme)
    evidence = evidence_of(log, scheme, buildings)
    sample, assessed = evidence.drawn.sample, buildings.assessed
    if sample.n:
        current = log.drop_duplicates("building_id", keep="last")
        found = assistance(event, model, current, scheme, buildings.building_id[assessed], sample.row)
        if found is not None:
            p = np.full(len(assessed), np.nan)
            p[assessed] = found.p_damaged
            evidence = replace(evidence, p_damaged=p, fair=found.fair, words=found.words)
    said = totals_of(event.name, buildings, evidence, units)
    if model is None or said.total.damaged_low is None or evidence.p_damaged is not None:
        return said
    alone = (
        f"the model learned from these answers, so they stand alone; `damage-ssl features {event.name}` lets it help"
    )
    note = "; ".join(part for part in (said.total.note, alone) if part)
    return replace(said, total=replace(said.total, note=note))

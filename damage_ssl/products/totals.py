"""The totals of an event: what its model and its logged random answers say of how many buildings are damaged."""

from typing import TYPE_CHECKING

from damage_ssl.evaluation.total import Total, Totals
from damage_ssl.events.event import Event
from damage_ssl.runs.model import MapModel

if TYPE_CHECKING:
    import geopandas as gpd


def event_totals(
    event: Event,
    model: MapModel | None,
    table: "gpd.GeoDataFrame",
    *,
    units: "gpd.GeoDataFrame | None" = None,
) -> Totals:
    """The totals of an event and of its units.

    Args:
        event: the event, for its label log.
        model: whose predictions assist; None: labels only.
        table: the whole map (`export_table`).
        units: `unit_id`, `name`, geometry; None: the event only.
    """
    assessed = int(table["assessed"].sum())
    counted = int(table["damaged"].eq(True).sum())
    total = Total(
        unit_id=None,
        name=event.name,
        assessed=assessed,
        not_assessed=len(table) - assessed,
        damaged=counted,
        damaged_low=None,
        damaged_high=None,
        model_count=None if model is None else counted,
        method="count of the map",
        answers=0,
    )
    return Totals(total=total, statement=f"The map counts {counted:,} of {assessed:,} assessed buildings as damaged.")

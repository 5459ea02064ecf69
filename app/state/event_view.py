"""What the pages and routes show of an event. Every cached function takes all of its inputs as arguments."""

from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, wraps
from itertools import chain
from typing import Any, Concatenate, ParamSpec, TypeVar

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from app.state.caching import ByteCache, shared
from app.state.configuration import open_event
from damage_ssl.damage_scale import ClassScheme, LabelValue, Reason
from damage_ssl.errors import WorkspaceError
from damage_ssl.evaluation.audit import audited_rows
from damage_ssl.events.area import Area, inside, whole_footprints
from damage_ssl.events.definition import DEFINITION_FILE, damage_scheme
from damage_ssl.events.event import Event, open_labels
from damage_ssl.footprints.lazy_shapes import Shapes, read_shapes
from damage_ssl.imagery.scene import Role, Scene
from damage_ssl.labels.label_log import LabelStore
from damage_ssl.patches.store import PatchStore
from damage_ssl.products.handover.map_export import export_table
from damage_ssl.registration.manual_shift import manual_shifts_path, read_manual_shifts
from damage_ssl.registration.placement import PlacedShapes, manually_shifted, shifts_on
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.runs.model import MapModel

ROLES: tuple[Role, Role] = ("pre", "post")


@dataclass(frozen=True)
class EventView:
    """An event as read from disk: footprints (none before it has some), the index of its pairs (None: not cut), scenes.

    `footprints` has no geometry, which `shapes` holds; rows of all of them are in the same order. `stamp` changes when
    any of it changes on disk: two views of the same event and stamp are equal. `fingerprint` is that of the pairs.
    """

    event: Event
    stamp: str
    footprints: pd.DataFrame = field(compare=False, repr=False)
    shapes: Shapes = field(compare=False, repr=False)
    index: pd.DataFrame | None = field(compare=False, repr=False)
    fingerprint: str | None = field(compare=False)
    scenes: Mapping[Role, tuple[Scene, ...]] = field(compare=False, repr=False)
    kept: dict[Hashable, ByteCache[Any]] = field(init=False, default_factory=dict, compare=False, repr=False)
    """What `kept_with_view` has worked out of it."""

    @cached_property
    def scheme(self) -> ClassScheme:
        """The event's classes, and which of them count as damaged."""
        return damage_scheme(self.event)

    @cached_property
    def building_id(self) -> NDArray[np.str_]:
        """All building ids, in order."""
        return self.footprints["building_id"].to_numpy(str)

    @cached_property
    def lowered_id(self) -> NDArray[np.str_]:
        """The ids in small letters, to be searched."""
        return np.char.lower(self.building_id)

    @cached_property
    def position_of(self) -> dict[str, int]:
        """Row of each building."""
        return {building: row for row, building in enumerate(self.building_id.tolist())}

    @cached_property
    def places(self) -> dict[Role, PlacedShapes]:
        """The footprints where the imagery of each side shows them (EPSG:4326), by what registration says."""
        if self.index is None:
            manual_shifts = read_manual_shifts(self.event, chain.from_iterable(self.scenes.values()))
            by_hand = manually_shifted(self.shapes.middles, self.scenes, manual_shifts)
            return {role: PlacedShapes(self.shapes, by_hand[role]) for role in ROLES}
        return {role: PlacedShapes(self.shapes, shifts_on(self.index, len(self.shapes), role)) for role in ROLES}

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north of the footprints, else of the imagery."""
        extents = shapely.bounds([scene.extent for role in ROLES for scene in self.scenes[role]])
        boxes = self.shapes.boxes if len(self.shapes) else extents
        (west, south), (east, north) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
        return float(west), float(south), float(east), float(north)

    @cached_property
    def assessed(self) -> NDArray[np.bool_]:
        """Per building: True where a pair was cut; all False before."""
        if self.index is None:
            return np.zeros(len(self.footprints), dtype=bool)
        return self.index["assessed"].to_numpy(bool)

    @cached_property
    def reasons(self) -> NDArray[np.object_]:
        """Per building why it cannot be assessed by its pair; None where it can."""
        if self.index is None:
            return np.full(len(self.footprints), Reason.NOT_PREPARED.value, dtype=object)
        reasons = self.index["not_assessed_reason"].to_numpy(object).copy()
        reasons[self.assessed | pd.isna(reasons)] = None
        return reasons

    @cached_property
    def not_assessed(self) -> dict[str, int]:
        """How many buildings cannot be assessed for each reason, the most frequent first."""
        counted = pd.Series(self.reasons[~self.assessed]).value_counts()
        return {str(reason): int(count) for reason, count in counted.items()}

    @cached_property
    def audit_order(self) -> NDArray[np.intp]:
        """Rows of the assessed buildings in the order in which they are audited."""
        return audited_rows(self.building_id, self.assessed)

    @property
    def pairs(self) -> pd.DataFrame:
        """The index of the pairs.

        Raises:
            WorkspaceError: they are not cut yet.
        """
        if self.index is None:
            raise WorkspaceError(f"event '{self.event.name}': its pairs are not cut yet; prepare the imagery first")
        return self.index


def kept_with_view(most: int) -> Callable[["OfView[P, V]"], "OfView[P, V]"]:
    """For a function of a view and of what else it takes: the last `most` results are kept, as long as the view is.

    An `lru_cache` would keep views alive that were long replaced, of a hundred megabytes in a large event.
    """

    def decorate(function: "OfView[P, V]") -> "OfView[P, V]":
        @wraps(function)
        def kept(view: EventView, /, *key: P.args, **named: P.kwargs) -> V:
            results: ByteCache[V] = view.kept.setdefault(function, ByteCache(most, lambda _: 1))
            return results.get((key, *named.items()), lambda: function(view, *key, **named))

        return kept

    return decorate


P = ParamSpec("P")
V = TypeVar("V")
OfView = Callable[Concatenate[EventView, P], V]


def view_of(name: str) -> EventView:
    """The event as it is on disk now; read again only when something changed.

    Raises:
        WorkspaceError: no such event.
    """
    event = open_event(name)
    parts = ("collection.json", DEFINITION_FILE)
    paths = (
        *(event.path / part for part in parts),
        event.footprints_path,
        event.patches_path,
        manual_shifts_path(event),
    )
    stamp = "-".join(format(path.stat().st_mtime_ns, "x") if path.exists() else "0" for path in paths)
    return view_at(event, stamp)


@shared
@lru_cache(maxsize=3)
def view_at(event: Event, stamp: str) -> EventView:
    """The event in the state that the stamp stands for."""
    with ThreadPoolExecutor(2) as readers:  # two tables of seconds each in a large event
        coming = readers.submit(_pairs_of, event)
        footprints, shapes = read_shapes(event.footprints_path)
        index, fingerprint = coming.result()
    if index is not None:
        index = index.set_index("building_id", drop=False)
        if not np.array_equal(index.index.to_numpy(object), footprints["building_id"].to_numpy(object)):
            known = set(footprints["building_id"]) <= set(index.index)
            index = index.reindex(footprints["building_id"]) if known else None
    scenes = {role: tuple(event.scenes(role)) for role in ROLES}
    return EventView(event, stamp, footprints, shapes, index, fingerprint, scenes)


def _pairs_of(event: Event) -> tuple[pd.DataFrame | None, str | None]:
    """Index and fingerprint of the pairs."""
    if not (event.has_footprints and event.patches_path.exists()):
        return None, None
    store = PatchStore.open(event.patches_path)
    return store.index(), store.fingerprint


@lru_cache(maxsize=16)
def label_store(event: Event) -> LabelStore:
    """The label log of an event, opened once."""
    return open_labels(event)


def current_labels(event: Event) -> tuple[pd.DataFrame, int]:
    """The current labels and their revision."""
    revision = label_store(event).revision()
    return _labels(event, revision), revision


@lru_cache(maxsize=2)
def _labels(event: Event, revision: int) -> pd.DataFrame:
    return label_store(event).current()


def label_counts(view: EventView) -> dict[LabelValue, int]:
    """How many buildings that can be assessed carry each label now; only these can be learned from."""
    labels = current_labels(view.event)[0]
    rows = [view.position_of.get(building, -1) for building in labels["building_id"].tolist()]
    usable = np.append(view.assessed, False)[np.array(rows, dtype=np.intp)]  # -1, of no such building, is the last
    counted = labels["value"][usable].value_counts()
    return {LabelValue(str(value)): int(count) for value, count in counted.items()}


def assessment(view: EventView, model: MapModel | None) -> gpd.GeoDataFrame:
    """Every footprint once with the product's fields, in the order of `view.footprints`: what is exported.

    Takes ten seconds for 300,000 buildings: for a file. What the screen shows comes from `map_assessment`.
    """
    revision = current_labels(view.event)[1]
    return _assessment(view, model, "" if model is None else model.stamp, revision)


@shared
@lru_cache(maxsize=1)  # the largest of all tables
def _assessment(view: EventView, model: MapModel | None, predicted: str, revision: int) -> gpd.GeoDataFrame:
    _ = view.pairs  # without them there is nothing to say
    # A run is opened anew: the one that is the key of caches must keep no table.
    opened = FinishedRun(model.run, model.definition) if isinstance(model, FinishedRun) else model
    table = export_table(view.event, opened)
    rows = pd.Index(table["building_id"].astype(str)).get_indexer(pd.Index(view.building_id))
    return table.iloc[rows].reset_index(drop=True)


def count_inside(view: EventView, area: Area | None) -> tuple[int, int]:
    """How many buildings of the whole event lie in an area, and how many there are.

    Raises:
        DamageSSLError: the buildings outside an earlier area cannot be had any more.
    """
    whole = _whole(view)
    return int(np.count_nonzero(inside(whole, area))), len(whole)


@lru_cache(maxsize=1)
def _whole(view: EventView) -> NDArray[np.object_]:
    return np.asarray(whole_footprints(view.event).table.geometry.to_numpy(), dtype=object)

"""Training across events: the labelled buildings of other events beside, or instead of, an event's own.

What is learned from another event is decided when a run is planned and kept in its plan (`SourcePlan`); the pixels stay
where they are and are read from the other event's patches when the run is trained. Unlabelled pairs are never taken
from there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import SCHEMES, ClassScheme, LabelValue
from damage_ssl.errors import InputError, LabelsError, WorkspaceError, nearest_name
from damage_ssl.evaluation.spatial_blocks import split_by_position
from damage_ssl.events.event import Event, list_events, open_labels
from damage_ssl.patches.pairs import PairSet, PairViews
from damage_ssl.patches.store import PatchStore
from damage_ssl.settings import SourceSettings, SplitSettings

_APART_M = 1e6
"""Sources are laid so far apart for the split that no block holds buildings of two."""


@dataclass(frozen=True, kw_only=True)
class SourcePlan:
    """What a run takes from another event of the workspace: who is trained on, who is held out, which pixels.

    Ids are those of that event, classes indices of the run's scheme.
    """

    event: str
    train_id: tuple[str, ...]
    train_class: tuple[int, ...]
    validation_id: tuple[str, ...]
    validation_class: tuple[int, ...]
    patches_fingerprint: str

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SourcePlan":
        """Read what `dataclasses.asdict` gave, lists for tuples."""
        lists: dict[str, Any] = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**{**values, **lists})

    def joint_id(self, building: str) -> str:
        """A building's id among those of all events."""
        return f"{self.event}/{building}"

    @property
    def joint_train_id(self) -> tuple[str, ...]:
        """`train_id` among those of all events."""
        return tuple(self.joint_id(building) for building in self.train_id)

    @property
    def joint_validation_id(self) -> tuple[str, ...]:
        """`validation_id` among those of all events."""
        return tuple(self.joint_id(building) for building in self.validation_id)


class JointPatches:
    """The patches of an event and the chosen ones of its sources, whose ids are `source/building`."""

    def __init__(self, own: PatchStore, sources: Sequence[tuple[SourcePlan, PatchStore]]) -> None:
        self._own = own
        self._stores = {plan.event: store for plan, store in sources}
        self._place = {
            plan.joint_id(building): (plan.event, building)
            for plan, _ in sources
            for building in (*plan.train_id, *plan.validation_id)
        }

    def index(self) -> pd.DataFrame:
        """The event's own index: what is predicted is its buildings only."""
        return self._own.index()

    def load(self, building_ids: NDArray[np.str_] | None = None) -> PairSet:
        """Pairs of these buildings in this order; None: all of the event itself, none of the sources.

        Raises:
            WorkspaceError: a building is not stored.
        """
        if building_ids is None:
            return self._own.load()
        wanted = np.asarray(building_ids).astype(str)
        owner = [self._place.get(building, ("", building)) for building in wanted.tolist()]
        parts, order = [], []
        for name in sorted({event for event, _ in owner}):
            rows = [row for row, (event, _) in enumerate(owner) if event == name]
            store = self._stores[name] if name else self._own
            parts.append(store.load(np.array([owner[row][1] for row in rows], dtype=str)))
            order.extend(rows)
        if not parts:
            return self._own.load(wanted)
        joint = _joined(parts, wanted[order])
        return joint if order == sorted(order) else joint.take(np.argsort(order))


def labelled_buildings(event: Event, store: PatchStore, scheme: ClassScheme) -> pd.DataFrame:
    """Assessable buildings whose current label has a class in the scheme: building_id, class_index, x_m, y_m."""
    current = open_labels(event).current()
    class_index = [scheme.index_of(LabelValue(value)) for value in current["value"]]
    current = current.assign(class_index=pd.array(class_index, dtype="Int64")).dropna(subset=["class_index"])
    index = store.index()
    assessed = index.loc[index["assessed"], ["building_id", "x_m", "y_m"]]
    return current[["building_id", "class_index"]].merge(assessed, on="building_id", validate="one_to_one")


def named_sources(event: Event, names: Sequence[str]) -> list[Event]:
    """The events of the same workspace by name.

    Raises:
        WorkspaceError: there is no such event. InputError: it is the event itself, or named twice.
    """
    others = [name for name in list_events(event.path.parent) if name != event.name]
    for name in names:
        if name == event.name:
            raise InputError(f"source '{name}': is the event that is trained for; its own labels are used anyway")
        if name not in others:
            hint = nearest_name(name, others) if others else "there is no other event; make it with damage-ssl init"
            raise WorkspaceError(f"source '{name}': no such event in {event.path.parent}: {hint}")
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise InputError(f"source '{twice}': is named twice; name each once")
    return [Event.open(event.path.parent, name) for name in names]


def plan_sources(
    event: Event,
    store: PatchStore,
    names: Sequence[str],
    scheme: ClassScheme,
    split: SplitSettings,
    settings: SourceSettings,
    seed: int,
    *,
    hold_out: bool,
) -> tuple[SourcePlan, ...]:
    """Decide which labelled buildings of the sources are trained on and, with `hold_out`, which are held out.

    Of more than `settings.max_labelled` the classes keep equal shares, within each the sources, as far as they go.

    Raises:
        WorkspaceError: an unknown source, or one without patches.
        InputError: a source is the event itself or named twice, its patches are of another size or resolution, or its
            buildings' ids would be those of the event.
        LabelsError: a source has no label that the scheme can use, or too few are there to hold some out.
    """
    if not names:
        return ()
    found = []
    for source in named_sources(event, names):
        theirs = _patches_of(source, event, store)
        labelled = _usable(source, theirs, scheme)
        found.append((source, theirs, labelled))
    known = set(store.index()["building_id"])
    for source, _, labelled in found:
        if clash := sorted(known & {f"{source.name}/{building}" for building in labelled["building_id"]}):
            raise InputError(
                f"source '{source.name}': building '{clash[0]}' of event '{event.name}' has the name that its building "
                "gets in a joint training; copy the source under another event name"
            )
    table = pd.concat([labelled.assign(source=source.name) for source, _, labelled in found], ignore_index=True)
    rng = np.random.default_rng(seed)
    table = table.iloc[_balanced(table, settings.max_labelled, rng)]
    held_out = _held_out(table, scheme, split, rng, event.name) if hold_out else np.zeros(len(table), dtype=bool)
    return tuple(
        _plan_of(source.name, theirs.fingerprint, table, held_out)
        for source, theirs, _ in found
        if (table["source"] == source.name).any()
    )


def joint_patches(event: Event, own: PatchStore, sources: Sequence[SourcePlan]) -> JointPatches:
    """The patches of the event and of a plan's sources, which are as they were when it was planned.

    Raises:
        WorkspaceError: a source was removed, or its patches were cut again.
    """
    stores = []
    for plan in sources:
        try:
            store = PatchStore.open(Event.open(event.path.parent, plan.event).patches_path)
        except WorkspaceError as error:
            raise WorkspaceError(
                f"source '{plan.event}': the run learns from it, and it cannot be opened any more ({error}); put it "
                "back, or start a new run"
            ) from error
        if store.fingerprint != plan.patches_fingerprint:
            raise WorkspaceError(
                f"source '{plan.event}': its patches were cut again since the run was planned; start a new run"
            )
        stores.append((plan, store))
    return JointPatches(own, stores)


def elsewhere_statement(sources: Iterable[SourcePlan]) -> str:
    """What must be said of a threshold that was chosen on other events."""
    names = ", ".join(plan.event for plan in sources if plan.validation_id)
    return (
        f"Threshold and calibration come from other events ({names}): no label of this event was held out to check "
        "them, and how good the map is here is not known."
    )


def _patches_of(source: Event, event: Event, store: PatchStore) -> PatchStore:
    try:
        theirs = PatchStore.open(source.patches_path)
    except WorkspaceError as error:
        raise WorkspaceError(
            f"source '{source.name}': {error} (damage-ssl patches {source.name} --workspace {event.path.parent})"
        ) from error
    if (theirs.settings.size_px, dict(theirs.views)) != (store.settings.size_px, dict(store.views)):
        wanted = f"--size-px {store.settings.size_px} --gsd-m {store.settings.gsd_m:g}"
        if store.settings.context_gsd_m is not None:
            wanted += f" --context-gsd-m {store.settings.context_gsd_m:g}"
        raise InputError(
            f"source '{source.name}': its patches are {_form(theirs)}, those of '{event.name}' {_form(store)}; cut "
            f"them alike, e.g. damage-ssl patches {source.name} {wanted}"
        )
    return theirs


def _form(store: PatchStore) -> str:
    views = " and ".join(f"{gsd_m:g} m a pixel ({name})" for name, gsd_m in store.views.items())
    return f"{store.settings.size_px} px at {views}"


def _usable(source: Event, store: PatchStore, scheme: ClassScheme) -> pd.DataFrame:
    labelled = labelled_buildings(source, store, scheme)
    if len(labelled):
        return labelled.sort_values("building_id", ignore_index=True)  # the draw does not depend on who labelled when
    counts = {value: count for value, count in open_labels(source).counts().items() if count}
    have = ", ".join(f"{count} {value.value}" for value, count in counts.items())
    if not counts:
        raise LabelsError(f"source '{source.name}': has no labels; label some of its buildings, or leave it out")
    if any(scheme.index_of(value) is not None for value in counts):
        raise LabelsError(
            f"source '{source.name}': none of its labelled buildings ({have}) is assessed in its patches; leave it out"
        )
    fit = [each.name for each in SCHEMES.values() if any(each.index_of(value) is not None for value in counts)]
    remedy = f"train with --scheme {' or '.join(fit)}, or leave it out" if fit else "leave it out"
    raise LabelsError(
        f"source '{source.name}': the scheme '{scheme.name}' ({', '.join(scheme.class_names)}) has no class for any of "
        f"its labels ({have}); {remedy}"
    )


def _balanced(table: pd.DataFrame, most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """At most so many rows, ascending: in turn one of each class, and within a class one of each source."""
    mixed = table.iloc[rng.permutation(len(table))]
    mixed = mixed.assign(turn=mixed.groupby(["class_index", "source"]).cumcount())
    mixed = mixed.sort_values("turn", kind="stable")
    mixed = mixed.assign(turn=mixed.groupby("class_index").cumcount()).sort_values("turn", kind="stable")
    return np.sort(mixed.index.to_numpy(dtype=np.intp)[:most])


def _held_out(
    table: pd.DataFrame, scheme: ClassScheme, split: SplitSettings, rng: np.random.Generator, name: str
) -> NDArray[np.bool_]:
    """Which rows are held out: whole blocks, divided over all sources at once."""
    number = pd.factorize(table["source"])[0]
    place = {side: table[side] - table.groupby("source")[side].transform("min") for side in ("x_m", "y_m")}
    joint_id = (table["source"] + "/" + table["building_id"]).to_numpy(str)
    try:
        parts = split_by_position(
            joint_id,
            place["x_m"].to_numpy(float) + number * _APART_M,
            place["y_m"].to_numpy(float),
            np.array(scheme.class_names)[table["class_index"].to_numpy(np.int64)],
            split,
            rng,
        )
    except LabelsError as error:
        raise LabelsError(
            f"event '{name}': has too few labels of its own to hold some out, and neither can some of its sources' be "
            f"held out: {error}"
        ) from error
    return np.isin(joint_id, parts.validation)


def _plan_of(source: str, fingerprint: str, table: pd.DataFrame, held_out: NDArray[np.bool_]) -> SourcePlan:
    here = (table["source"] == source).to_numpy(bool)
    train, validation = table[here & ~held_out], table[here & held_out]
    return SourcePlan(
        event=source,
        train_id=tuple(train["building_id"].astype(str)),
        train_class=tuple(int(index) for index in train["class_index"]),
        validation_id=tuple(validation["building_id"].astype(str)),
        validation_class=tuple(int(index) for index in validation["class_index"]),
        patches_fingerprint=fingerprint,
    )


def _joined(parts: Sequence[PairSet], building_id: NDArray[np.str_]) -> PairSet:
    """Pairs one after the other, under these ids."""
    contexts = [part.context for part in parts if part.context is not None]
    return PairSet(
        building_id=building_id,
        close=_joined_views([part.close for part in parts]),
        context=_joined_views(contexts) if contexts else None,
    )


def _joined_views(parts: Sequence[PairViews]) -> PairViews:
    if len(parts) == 1:
        return parts[0]
    return PairViews(
        pre=np.concatenate([part.pre for part in parts]),
        post=np.concatenate([part.post for part in parts]),
        footprint=np.concatenate([part.footprint for part in parts]),
        valid=np.concatenate([part.valid for part in parts]),
        gsd_m=parts[0].gsd_m,
    )

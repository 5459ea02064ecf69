"""What may be done to labels that were given: put back, undone, commented. Rows are added; nothing is ever deleted."""

import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import InputError
from damage_ssl.labels.label_log import LabelStore, NewLabel, withdrawal
from damage_ssl.labels.schema import REVERT, WITHDRAWN


def revert(store: LabelStore, building_id: str, to: int, labeller: str, *, answer_id: str | None = None) -> None:
    """Make the state after row `to` of the building's history the current one again.

    One's own answer is given again as it was, with how it was drawn. Another one's answer is put back as a row of
    `labeller` with `drawn` = revert, which counts as nobody's independent word (`agreement.independent_answers`).

    Args:
        store: the event's labels.
        building_id: the building.
        to: place in `LabelStore.history`, from 0; -1 is the time before the first row, when it had no label.
        labeller: who puts it back.
        answer_id: see `LabelStore.add_many`.

    Raises:
        InputError: there is no such row, or it is the current state. StorageError: the disk is full or not writable.
    """
    store.add_many([_putting_back(store.history(building_id), building_id, to, labeller)], answer_id=answer_id)


def undo_last(store: LabelStore, building_ids: Sequence[str], labeller: str, *, answer_id: str | None = None) -> None:
    """Put back what stood before this person's last answer on each building, somebody else's label too: all or none.

    Raises:
        InputError: on one of them somebody else has answered since. StorageError: the disk is full or not writable.
    """
    of_building = {str(building): rows for building, rows in store.histories(building_ids).groupby("building_id")}
    back = []
    for building_id in building_ids:
        rows = of_building.get(building_id)
        if rows is None or rows["labeller"].iloc[-1] != labeller:
            raise InputError(f"building '{building_id}': somebody else has answered since, so nothing was taken back")
        back.append(_putting_back(rows, building_id, before_last(rows), labeller))
    store.add_many(back, answer_id=answer_id)


def _putting_back(rows: pd.DataFrame, building_id: str, to: int, labeller: str) -> NewLabel:
    last = len(rows) - 1
    if not -1 <= to < last:
        raise InputError(
            f"building '{building_id}': row {to} cannot be put back; its history has the rows 0 to {last}, the last of "
            "which is the current state (-1: before any)"
        )
    row = None if to < 0 else rows.to_dict("records")[to]
    if row is None or row["value"] == WITHDRAWN:
        return withdrawal(building_id, labeller)
    own = row["labeller"] == labeller
    return NewLabel(
        building_id=building_id,
        value=LabelValue(row["value"]),
        labeller=labeller,
        drawn=str(row["drawn"]) if own else REVERT,
        inclusion_probability=float(row["inclusion_probability"]) if own else None,
        comment=_put_back(row),
        stratum=str(row["stratum"]) if own else "",
        cluster_id=str(row["cluster_id"]) if own else "",
        cluster_probability=float(row["cluster_probability"]) if own else None,
    )


def before_last(history: pd.DataFrame) -> int:
    """The state to go back to when the last word is undone: a place in the history, -1 for before any label.

    A row that put back an earlier one stands for that one, so that undoing twice goes back two answers instead of
    forth again.

    Args:
        history: a building's rows, oldest first (`LabelStore.history`), at least one.
    """
    stands_for: list[int] = []
    made = {_put_back(row): place for place, row in reversed(list(enumerate(history.to_dict("records"))))}
    for place, comment in enumerate(history["comment"]):
        source = made.get(comment, place)
        stands_for.append(stands_for[source] if source < place else place)
    return stands_for[-1] - 1


def put_back_from(comment: str) -> str | None:
    """Whose answer a row put back, by its comment; None for a row that is an answer of its own."""
    found = re.fullmatch(r"put back: (.+), \d{4}-\d\d-\d\dT[\d:.]+Z", comment)
    return found.group(1) if found else None


def _put_back(row: Mapping[Hashable, Any]) -> str:
    """The comment of a row that puts this one back."""
    return f"put back: {row['labeller']}, {row['time']}"


def comment_on_own(
    store: LabelStore, building_id: str, labeller: str, comment: str, *, answer_id: str | None = None
) -> None:
    """Say one's last answer again with another comment; how the building was drawn stays as it was.

    The log has no rows without an answer, so that nobody can comment under another one's: it would become their own.

    Raises:
        InputError: the building's last word is not an answer of this labeller's. StorageError: the disk is full or not
            writable.
    """
    rows = store.history(building_id)
    last = None if rows.empty else rows.iloc[-1]
    if last is None or last["labeller"] != labeller or last["value"] == WITHDRAWN or last["drawn"] == REVERT:
        raise InputError(f"building '{building_id}': a comment goes with an answer of your own; answer first")
    again = NewLabel(
        building_id=building_id,
        value=LabelValue(last["value"]),
        labeller=labeller,
        drawn=str(last["drawn"]),
        inclusion_probability=float(last["inclusion_probability"]),
        comment=comment,
        stratum=str(last["stratum"]),
        cluster_id=str(last["cluster_id"]),
        cluster_probability=float(last["cluster_probability"]),
    )
    store.add_many([again], answer_id=answer_id)


def repeats_own(store: LabelStore, label: NewLabel) -> bool:
    """Whether a building's last word is this very answer: the same person, value, comment, and reason for asking."""
    rows = store.history(label.building_id)
    if rows.empty:
        return False
    last = rows.iloc[-1]
    said = all(last[name] == getattr(label, name) for name in ("value", "labeller", "comment", "drawn", "cluster_id"))
    return said and pd.isna(last["inclusion_probability"]) == (label.inclusion_probability is None)

"""A comment on one's own answer, without answering anew."""

from damage_ssl.errors import InputError
from damage_ssl.grades import LabelValue
from damage_ssl.labelling.schema import REVERT, WITHDRAWN
from damage_ssl.labelling.store import LabelStore


def comment_on_own(store: LabelStore, building_id: str, labeller: str, comment: str) -> None:
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
    store.add(
        building_id,
        LabelValue(last["value"]),
        labeller=labeller,
        drawn=str(last["drawn"]),
        inclusion_probability=float(last["inclusion_probability"]),
        comment=comment,
    )

"""One answer about one building before it is in the log, and the row that it becomes."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import InputError
from damage_ssl.labels.schema import PROBABILITIES, WITHDRAWN


@dataclass(frozen=True, kw_only=True)
class NewLabel:
    """One answer about one building, ready to be appended.

    `drawn` says how the building came to be asked about (`map`, `random`, `spread`, `uncertain`, `import`, …);
    `inclusion_probability` in (0, 1] is the probability with which a random draw took it, None (or NaN) if it was not
    drawn at random. `time` is ISO 8601 (no zone means UTC); None means now. A building of a stratified draw names its
    `stratum`, one of a tile that was drawn whole its `cluster_id` with the tile's own `cluster_probability`.

    Raises:
        InputError: an empty id or name, or a probability outside (0, 1].

    Examples:
        >>> one = NewLabel(building_id="w1", value=LabelValue.INTACT, labeller="ada", drawn="map")
        >>> two = NewLabel(building_id="w2", value=LabelValue.UNCLEAR, labeller="ada", drawn="map", comment="trees")
        >>> labels = LabelStore("two.sqlite")
        >>> labels.add_many([one, two])
        >>> labels.current()["comment"].tolist()
        ['', 'trees']
    """

    building_id: str
    value: LabelValue
    labeller: str
    drawn: str
    inclusion_probability: float | None = None
    comment: str = ""
    time: str | None = None
    stratum: str = ""
    cluster_id: str = ""
    cluster_probability: float | None = None

    def __post_init__(self) -> None:
        for field in ("building_id", "labeller", "drawn"):
            if not str(getattr(self, field)).strip():
                raise InputError(f"label of building '{self.building_id}': {field} is empty; give a name")
        for field in PROBABILITIES:
            probability = getattr(self, field)
            if probability is None or math.isnan(probability):
                object.__setattr__(self, field, None)
            elif not 0.0 < probability <= 1.0:
                raise InputError(
                    f"label of building '{self.building_id}': {field.replace('_', ' ')} {probability} is not in "
                    "(0, 1]; leave it out for a building that was not drawn at random"
                )


def withdrawal(building_id: str, labeller: str) -> NewLabel:
    """The row that takes a building's label back."""
    return NewLabel(building_id=building_id, value=LabelValue.UNCLASSIFIED, labeller=labeller, drawn=WITHDRAWN)


def rows_of(labels: Iterable[NewLabel], answer_id: str | None = None) -> list[dict[str, str | float | None]]:
    """The labels as rows of the log, each with the id of the answer that they are of."""
    return [{**_row_of(label), "answer_id": answer_id} for label in labels]


def _row_of(label: NewLabel) -> dict[str, str | float | None]:
    takes_back = label.drawn == WITHDRAWN and label.value is LabelValue.UNCLASSIFIED
    return {
        "building_id": str(label.building_id),
        "value": WITHDRAWN if takes_back else LabelValue(label.value).value,
        "labeller": label.labeller,
        "time": utc_iso(label.time),
        "drawn": label.drawn,
        "inclusion_probability": label.inclusion_probability,
        "comment": label.comment,
        "stratum": label.stratum,
        "cluster_id": label.cluster_id,
        "cluster_probability": label.cluster_probability,
    }


def utc_iso(time: str | None) -> str:
    """ISO 8601 in UTC to the millisecond, `2025-01-31T12:00:00.000Z`; None means now.

    Raises:
        InputError: the text is not an ISO 8601 time.
    """
    try:
        moment = datetime.now(UTC) if time is None else datetime.fromisoformat(time.strip())
    except ValueError:
        raise InputError(f"time '{time}' is not ISO 8601, e.g. 2025-01-31T12:00:00Z") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

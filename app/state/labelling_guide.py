"""The labelling guide: what each grade looks like from above, with examples from the event itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.state.event_view import EventView, current_labels
from app.state.map_assessment import model_says
from damage_ssl.damage_scale import DamageGrade
from damage_ssl.products.map_style import name_of
from damage_ssl.runs.model import MapModel

EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class GradeText:
    """A sentence on the grade, and what to look for on a roof."""

    sentence: str
    look: tuple[str, ...]


GRADES: Mapping[DamageGrade, GradeText] = {
    DamageGrade.NO_DAMAGE: GradeText(
        sentence="The building looks the same in both pictures.",
        look=("Same outline, ridge and roof colour", "Shadow of the same length and with straight edges"),
    ),
    DamageGrade.MINOR_DAMAGE: GradeText(
        sentence="Part of the roof or a wall is damaged; the building stands and keeps its shape.",
        look=("Patches of missing tiles or a tarpaulin", "Debris close to the wall", "A small burnt or flooded part"),
    ),
    DamageGrade.MAJOR_DAMAGE: GradeText(
        sentence="Part of the building has collapsed, or water or mud surrounds it; some of it still stands.",
        look=("Open roof: rafters, rooms or rubble inside", "A piece of the outline is gone", "A jagged shadow"),
    ),
    DamageGrade.DESTROYED: GradeText(
        sentence="Nothing of use is left: collapsed, burnt out, washed away or under water.",
        look=("No ridge and no shadow, or grey rubble", "Only the foundation or the outer walls", "Ash or bare ground"),
    ),
}

HARD_CASES: Mapping[str, str] = {
    "Tarpaulin": "A plain blue or white sheet covers a hole: minor damage, major if it covers most of the roof.",
    "Shadow": "Another sun angle moves shadows and darkens roof sides. Compare shapes, not brightness.",
    "Lean": "Tall buildings lean differently in each picture: compare the roof, not the walls that come into view.",
    "Flooded": "Water against all walls is major damage even under an intact roof; over the roof it is destroyed.",
    "Roof without walls": "A roof that lies flat on the ground, its shadow gone or very short: destroyed.",
    "Outline elsewhere": "The outline misses the building: answer Offset (O), not a grade.",
    "Cannot tell": "Answer Unclear (U); for cloud, smoke or blur Bad imagery (B). A guess teaches the model wrongly.",
}


def guide(view: EventView, change: MapModel | None) -> dict[str, Any]:
    """Texts and example buildings as plain JSON values.

    Args:
        view: the event.
        change: a change score, for the examples as long as nobody has labelled a grade; None where there is none.
    """
    found = _labelled(view)
    if not any(found.values()) and change is not None:
        found = _unlabelled(view, change)
    return {
        "grades": [
            {
                "value": grade.label,
                "sentence": text.sentence,
                "look": list(text.look),
                "examples": found.get(grade, []),
            }
            for grade, text in GRADES.items()
        ],
        "hard": [{"name": name, "hint": hint} for name, hint in HARD_CASES.items()],
    }


def _labelled(view: EventView) -> dict[DamageGrade, list[dict[str, str]]]:
    """The newest labelled buildings of each grade, with who said so."""
    labels = current_labels(view.event)[0].iloc[::-1]
    found: dict[DamageGrade, list[dict[str, str]]] = {grade: [] for grade in GRADES}
    for building, value, labeller in zip(labels["building_id"], labels["value"], labels["labeller"], strict=True):
        for grade, examples in found.items():
            row = view.position_of.get(building)
            if value == grade.label and len(examples) < EXAMPLES and row is not None and view.assessed[row]:
                examples.append({"id": building, "text": f"{name_of(value)}, says {labeller}"})
    return found


def _unlabelled(view: EventView, change: MapModel) -> dict[DamageGrade, list[dict[str, str]]]:
    """The most and the least changed buildings: candidates for the two ends of the scale, and said to be no more."""
    score = model_says(view, change).p
    known = np.flatnonzero(np.isfinite(score))
    ranked: NDArray[np.intp] = known[np.argsort(score[known], kind="stable")]
    ends = {
        DamageGrade.NO_DAMAGE: (ranked[:EXAMPLES], "least"),
        DamageGrade.DESTROYED: (ranked[::-1][:EXAMPLES], "most"),
    }
    return {
        grade: [
            {"id": str(view.building_id[row]), "text": f"Not labelled: among the {words} changed"}
            for row in rows.tolist()
        ]
        for grade, (rows, words) in ends.items()
    }

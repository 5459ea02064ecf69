"""Names and colours for the screen: the product's palette, the answers that are no grade, probabilities, dates."""

from collections.abc import Mapping
from datetime import UTC, datetime

from damage_ssl.damage_scale import ClassScheme, DamageGrade, LabelValue
from damage_ssl.products.map_style import ANSWERS, colour_of, name_of
from damage_ssl.runs.finished_run import run_summary
from damage_ssl.runs.kinds import kind_of
from damage_ssl.runs.model import MapModel

_HELP: Mapping[LabelValue, str] = {
    LabelValue.NO_DAMAGE: "Roof and walls as in the pre image",
    LabelValue.MINOR_DAMAGE: "Part of the roof or walls damaged; the building stands",
    LabelValue.MAJOR_DAMAGE: "Part of the building collapsed, or surrounded by water or mud",
    LabelValue.DESTROYED: "Collapsed, burnt out, washed away or under water",
}
METHODS = {
    "mixmatch": ("MixMatch", "Learns from your labels and from all unlabelled buildings. The best in our tests."),
    "fixmatch": ("FixMatch", "Learns from your labels and from all unlabelled buildings, in about half the time."),
    "supervised-strong": ("Supervised", "Learns from your labels only."),
    "frozen-lite0": ("Quick model", "Fits your labels on ready-made image features, in seconds."),
}
"""The ways to train that the app offers: name and a sentence."""


def method_name(algorithm: str) -> str:
    """An algorithm for people; its own name where it is none of those offered."""
    return kind_of(algorithm).title or METHODS.get(algorithm, (algorithm, ""))[0]


def palette() -> dict[str, dict[str, str | bool]]:
    """Name, colour, help of every label value; `grade` where it is a grade or a verdict."""
    entries: dict[str, dict[str, str | bool]] = {}
    for value in LabelValue:
        if value is LabelValue.UNCLASSIFIED:
            continue
        text = _HELP.get(value) or (ANSWERS[value][2] if value in ANSWERS else "")
        entries[value.value] = {
            "name": name_of(value.value),
            "colour": colour_of(value.value),
            "help": text,
            "grade": value not in ANSWERS,
        }
    return entries


def legend_rows(scheme: ClassScheme) -> dict[str, list[str]]:
    """Which values the legend lists for results and for labels, in order."""
    return {"result": list(scheme.class_names), "labels": [grade.label for grade in DamageGrade]}


CHANGE_NAMES = {"intact": "Changed little", "damaged": "Changed strongly"}
"""What the classes of a change score are called on the screen."""


def class_names_of(model: MapModel | None) -> dict[str, str]:
    """Other names for the classes of a model than the palette's, where its classes mean something else."""
    return CHANGE_NAMES if model is not None and not model.kind.is_probability else {}


def model_words(model: MapModel | None) -> dict[str, str | dict[str, str]]:
    """How the map names the model that it shows, its classes and its numbers."""
    if model is not None and not model.kind.is_probability:
        by_labels = model.run is not None and run_summary(model.run).validated_on > 0
        return {
            "text": f"Change score, {'threshold from labels' if by_labels else 'no labels used'}",
            "caution": model.statement or "",
            "heading": "Change score",
            "names": CHANGE_NAMES,
            "short": "Change",
            "measure": model.kind.measure,
            "low": "0",
            "high": "1",
        }
    return {
        "text": "" if model is None else _model_text(model),
        "caution": "",
        "heading": "Model",
        "names": {},
        "short": "Probability",
        "measure": "P(damaged)",
        "low": "0 %",
        "high": "100 %",
    }


def _model_text(model: MapModel) -> str:
    return "Live model, learns with each label" if model.run is None else f"Model: {method_name(model.algorithm)}"


def date_text(moment: datetime | None) -> str:
    """`12 Oct 2017`, or that it is not known."""
    return "date unknown" if moment is None else f"{moment.day} {moment:%b %Y}"


def dates_text(moments: list[datetime | None]) -> str:
    """One date, or the first and the last."""
    known = sorted({moment.date() for moment in moments if moment is not None})
    if not known:
        return "date unknown"
    first, last = (f"{day.day} {day:%b %Y}" for day in (known[0], known[-1]))
    return first if first == last else f"{first} – {last}"


def age_text(seconds: float) -> str:
    """How long ago, in the largest unit."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count = int(seconds // length)
        if count >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def seconds_since(moment: datetime) -> float:
    """Seconds from then to now."""
    return (datetime.now(UTC) - moment).total_seconds()

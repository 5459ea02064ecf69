"""Grades in other words: what spreadsheets, surveys and other agencies' products call the grades of the xBD scale.

A text that is a word of `LabelValue` is taken as it is. All others are only proposed, and somebody has to agree; what
is not known, or could be of two scales, is never guessed. The scales ask different questions, so that these are the
nearest grades and no more (see `damage_scale`).
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from damage_ssl.damage_scale import EMS_WORDS, FEMA_WORDS, UNOSAT_CODES, DamageGrade, LabelValue, W
from damage_ssl.errors import InputError

_ARABIC = str.maketrans({"ة": "ه", "ى": "ي", "ـ": None})
_SHOWN = 12


def plain(text: str) -> str:
    """A text without capitals, accents, vowel marks and punctuation: "Détruit." and "detruit" are one word."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(re.sub(r"[\W_]+", " ", bare.translate(_ARABIC).casefold()).split())


def _table(words: Mapping[LabelValue, str]) -> dict[str, LabelValue]:
    return {plain(word): value for value, each in words.items() for word in each.split(",")}


WORDS: Mapping[str, LabelValue] = _table(
    {
        LabelValue.DESTROYED: (
            "destroyed, completely destroyed, totally destroyed, fully destroyed, collapsed, détruit, "
            "détruite, complètement détruit, totalement détruit, entièrement détruit, effondré, "
            "destruido, destruida, completamente destruido, totalmente destruido, colapsado, derrumbado, "
            "مدمر, مدمرة, مدمر كليا, مدمر بالكامل, مدمر بشكل كامل, دمار كلي, منهار, مهدم كليا"
        ),
        LabelValue.MAJOR_DAMAGE: (
            "major, major damage, severe, severe damage, severely damaged, heavy damage, "
            "heavily damaged, gravement endommagé, fortement endommagé, dommages graves, dégâts graves, "
            "dommages majeurs, dommage majeur, dégâts majeurs, daño grave, daños graves, daño severo, "
            "daños severos, gravemente dañado, severamente dañado, daño mayor, daños mayores, ضرر كبير, "
            "أضرار كبيرة, ضرر جسيم, أضرار جسيمة, ضرر شديد, أضرار شديدة, متضرر بشدة, متضرر بشكل كبير"
        ),
        LabelValue.MINOR_DAMAGE: (
            "minor, minor damage, slight, slight damage, slightly damaged, light damage, "
            "lightly damaged, légèrement endommagé, dommages légers, dégâts légers, dommages mineurs, "
            "dégâts mineurs, dommage mineur, dommage léger, daño leve, daños leves, levemente dañado, "
            "ligeramente dañado, daño menor, daños menores, ضرر طفيف, أضرار طفيفة, متضرر بشكل طفيف, "
            "ضرر بسيط, أضرار بسيطة"
        ),
        LabelValue.NO_DAMAGE: (
            "no damage, no visible damage, undamaged, not damaged, sans dommage, aucun dommage, "
            "aucun dégât, sans dégât, pas de dommage, non endommagé, pas de dégâts, sin daño, sin daños, "
            "ningún daño, no dañado, sin daños visibles, sans dommage visible, لا ضرر, لا يوجد ضرر, "
            "لا توجد أضرار, بدون ضرر, بدون أضرار, غير متضرر"
        ),
        LabelValue.INTACT: "intact, intacte, intacto, intacta, سليم",
        LabelValue.DAMAGED: "damaged, endommagé, endommagée, dañado, dañada, متضرر, متضررة",
        LabelValue.UNCLEAR: "unclear, incertain, incierto, غير واضح",
        LabelValue.UNCLASSIFIED: (
            "unclassified, not classified, not assessed, not analysed, not analyzed, not applicable, "
            "unknown, inconnu, non évalué, desconocido, no evaluado, غير معروف"
        ),
    }
)
"""English, French, Spanish and Arabic. Words between two grades (moderate, partial) are not here on purpose."""


def _reversed(words: Mapping[DamageGrade, W], other: Mapping[str, LabelValue]) -> dict[str, LabelValue]:
    return {plain(str(word)): LabelValue(grade.label) for grade, word in words.items()} | dict(other)


_MINOR, _MAJOR, _NONE = LabelValue.MINOR_DAMAGE, LabelValue.MAJOR_DAMAGE, LabelValue.UNCLASSIFIED
SCALES: Mapping[str, Mapping[str, LabelValue]] = {
    "copernicus": _reversed(
        EMS_WORDS,
        {"completely destroyed": LabelValue.DESTROYED, "highly damaged": _MAJOR, "not affected": LabelValue.NO_DAMAGE}
        | dict.fromkeys(("not applicable", "not analysed", "not analyzed", "unknown"), _NONE),
    ),
    "unosat": _reversed(
        UNOSAT_CODES,
        {"4": _NONE, "11": _NONE, "possible damage": _NONE, "possibly damaged": _NONE, "severe damage": _MAJOR}
        | {"severely damaged": _MAJOR, "moderate damage": _MINOR, "moderately damaged": _MINOR}
        | {"destroyed": LabelValue.DESTROYED, "no visible damage": LabelValue.NO_DAMAGE},
    ),
    "ems-98": {
        "0": LabelValue.NO_DAMAGE,
        "1": _MINOR,
        "2": _MINOR,
        "3": _MAJOR,
        "4": _MAJOR,
        "5": LabelValue.DESTROYED,
    },
    "fema": _reversed(FEMA_WORDS, {"affected": _MINOR, "inaccessible": _NONE, "unknown": _NONE}),
    "xbd": {"0": LabelValue.NO_DAMAGE, "1": _MINOR, "2": _MAJOR, "3": LabelValue.DESTROYED},
    "binary": {"0": LabelValue.INTACT, "1": LabelValue.DAMAGED},
}
"""Other agencies' classes by the name of the scale. UNOSAT's "possible damage" has no grade: it is left out."""

_EMS_NUMBER = re.compile(r"(?:d|g|grade|grado|degre|ems ?98) ?([0-5])")
_NUMBER = re.compile(r"([+-]?\d+)(?:[.,]0+)?")


@dataclass(frozen=True, kw_only=True)
class GradeReading:
    """How the texts of a grade column are read: `values` by text, how many rows say it, and which scale they are of.

    `unknown` are the texts that nothing was found for; `own` is True where nothing had to be translated.
    """

    column: str
    scale: str
    values: Mapping[str, LabelValue]
    counts: Mapping[str, int]
    unknown: tuple[str, ...]
    own: bool

    def lines(self) -> list[str]:
        """The mapping for a person, a line each, and how many rows it concerns."""
        where = f" as {self.scale}" if self.scale else ""
        shown = [
            f"  '{text}' → {'left out' if value is LabelValue.UNCLASSIFIED else value.value} ({self.counts[text]:,})"
            for text, value in list(self.values.items())[:_SHOWN]
        ]
        more = len(self.values) - len(shown)
        return [f"grades of '{self.column}' are read{where}:", *shown, *([f"  and {more} more"] if more > 0 else [])]


@dataclass(frozen=True, kw_only=True)
class GradeRules:
    """How grades in other words are to be read.

    `words` are given by hand (`read_grade_map`) and need nobody's consent; `scale` is one of `SCALES`; `agreed` is
    asked about everything else that is not one of the product's own words. Without it such a file is refused.
    """

    words: Mapping[str, LabelValue] = field(default_factory=dict)
    scale: str | None = None
    agreed: Callable[[GradeReading], bool] | None = None


def read_grades(column: str, texts: Sequence[str], rules: GradeRules) -> GradeReading:
    """What each different text of a grade column means, as far as it is known."""
    counts = Counter(text for text in texts if text)
    scale = rules.scale or _scale_of(column, [text for text in counts if plain(text) not in rules.words])
    values: dict[str, LabelValue] = {}
    own = True
    for text in counts:
        if (given := rules.words.get(plain(text))) is not None:
            values[text] = given
            continue
        said = _own(text)
        meant = _on_scale(text, scale) or said or WORDS.get(plain(text))
        if meant is not None:
            values[text] = meant
            own &= meant is said or rules.scale is not None
    unknown = tuple(text for text in counts if text not in values)
    return GradeReading(column=column, scale=scale or "", values=values, counts=dict(counts), unknown=unknown, own=own)


def settle_grades(reading: GradeReading, rules: GradeRules, path: Path) -> None:
    """Have what was translated agreed to.

    Raises:
        InputError: nobody agreed; the message gives the mapping and how to say another.
    """
    if reading.own or (rules.agreed is not None and rules.agreed(reading)):
        return
    what = "; ".join(line.strip() for line in reading.lines())
    raise InputError(
        f"{path}: its grades are other words than damage_ssl's, and nobody has agreed to this reading: {what}. Take it "
        "with --yes, or say what they mean: --map-grades FILE, with lines such as `détruit,destroyed`"
    )


def unknown_grade_error(text: str, where: str) -> InputError:
    """The error for a grade that is no known word."""
    allowed = ", ".join(member.value for member in LabelValue)
    cure = "say what it means in a file with lines such as `détruit,destroyed` and give it with --map-grades FILE"
    if _number(text) is not None:
        cure = f"a number is of a scale: name it with --map-grades ({', '.join(SCALES)}), or {cure}"
    return InputError(f"{where}: grade '{text}' is not one of {allowed}; {cure}")


def _own(text: str) -> LabelValue | None:
    try:
        return LabelValue.parse(text, "")
    except InputError:
        return None


def _on_scale(text: str, scale: str | None) -> LabelValue | None:
    if scale is None:
        return None
    words = SCALES[scale]
    key = plain(text)
    number = _number(text)
    if scale == "ems-98" and (graded := _EMS_NUMBER.fullmatch(key)):
        number = graded[1]
    return words.get(key if number is None else number)


def _number(text: str) -> str | None:
    found = _NUMBER.fullmatch(text.strip())
    return None if found is None else str(int(found[1]))


def _scale_of(column: str, texts: Sequence[str]) -> str | None:
    """The scale that column and texts are certainly of; None where they could be of two."""
    name, keys = plain(column), {plain(text) for text in texts}
    numbers = {_number(text) for text in texts}
    if None not in numbers and numbers:
        return _scale_of_numbers(name, {number for number in numbers if number is not None})
    if re.search(r"ems ?98", name) or (keys and all(_EMS_NUMBER.fullmatch(key) for key in keys)):
        return "ems-98"
    if name.startswith("main damag") or keys & {"possible damage"}:
        return "unosat"
    if name.startswith("damage gra") or keys & {"possibly damaged"}:
        return "copernicus"
    if "affected" in keys and keys & {"minor", "major"}:
        return "fema"
    return None


def _scale_of_numbers(name: str, numbers: set[str]) -> str | None:
    if re.search(r"ems ?98", name):
        return "ems-98"
    if name.startswith("main damag"):
        return "unosat"
    if numbers == {"0", "1"} or (name == "damaged" and numbers <= {"0", "1"}):
        return "binary"
    if numbers & {"6", "11"} and numbers <= SCALES["unosat"].keys():
        return "unosat"
    if "5" in numbers and numbers <= SCALES["ems-98"].keys():
        return "ems-98"
    return None

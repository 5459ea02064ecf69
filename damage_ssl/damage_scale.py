"""The words for damage: grades, other answers, classes and which of them count as damaged, reasons for not assessing.

Class codes exist only here; everything else goes through these types. The nearest words of other agencies' damage
scales are here too, and are indicative: the scales do not ask the same questions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TypeVar

from damage_ssl.errors import InputError, SettingsError, nearest_name


class DamageGrade(IntEnum):
    """The xBD joint damage scale (Gupta et al. 2019, table 1)."""

    NO_DAMAGE = 0
    MINOR_DAMAGE = 1
    MAJOR_DAMAGE = 2
    DESTROYED = 3

    @property
    def label(self) -> str:
        """The grade's name in files, e.g. `minor-damage`."""
        return self.name.lower().replace("_", "-")


class LabelValue(StrEnum):
    """All that can be said of a building: a grade, a binary verdict, or why no grade can be given.

    Examples:
        >>> LabelValue.parse("Major damage", "labels.csv, row 7")
        <LabelValue.MAJOR_DAMAGE: 'major-damage'>
        >>> LabelValue.DESTROYED.grade
        <DamageGrade.DESTROYED: 3>
        >>> LabelValue.UNCLEAR.grade is None
        True
    """

    NO_DAMAGE = "no-damage"
    MINOR_DAMAGE = "minor-damage"
    MAJOR_DAMAGE = "major-damage"
    DESTROYED = "destroyed"
    INTACT = "intact"
    DAMAGED = "damaged"
    UNCLEAR = "unclear"
    BAD_IMAGERY = "bad-imagery"
    OFFSET = "offset"
    NOT_A_BUILDING = "not-a-building"
    UNCLASSIFIED = "un-classified"

    @property
    def grade(self) -> DamageGrade | None:
        """The grade on the xBD scale; None for a binary verdict or another answer."""
        return _GRADES.get(self.value)

    @classmethod
    def parse(cls, text: str, where: str) -> "LabelValue":
        """Read a name as written in a file; `where` (file and row) opens the error message.

        Raises:
            InputError: the name is not one of the known values.
        """
        name = text.strip().lower().replace("_", "-").replace(" ", "-")
        try:
            return cls(name)
        except ValueError:
            allowed = ", ".join(member.value for member in cls)
            raise InputError(f"{where}: grade '{text}' is not one of {allowed}") from None


_GRADES = {grade.label: grade for grade in DamageGrade}


@dataclass(frozen=True, kw_only=True)
class ClassScheme:
    """The classes of one model, in order of severity, and which label values fall into each.

    `damaged_from` is the index of the first class that counts as damaged: P(damaged) is the sum from there on.

    Examples:
        >>> scheme = scheme_named("binary-major")
        >>> scheme.class_names, scheme.index_of(LabelValue.MINOR_DAMAGE)
        (('intact', 'damaged'), 0)
    """

    name: str
    class_names: tuple[str, ...]
    members: tuple[frozenset[LabelValue], ...]
    damaged_from: int
    statement: str

    def index_of(self, value: LabelValue) -> int | None:
        """The class index of a label value; None where the scheme has no class for it."""
        for index, values in enumerate(self.members):
            if value in values:
                return index
        return None

    def grade_of(self, index: int) -> DamageGrade | None:
        """The xBD grade of a class, where the class is exactly one grade; None for a binary class."""
        return LabelValue(self.class_names[index]).grade

    def is_damaged(self, value: LabelValue) -> bool | None:
        """Whether a grade or a verdict counts as damaged; None for an answer that is neither.

        A verdict is what it says, also under a scheme that has no class for it.
        """
        if value in (LabelValue.INTACT, LabelValue.DAMAGED):
            return value is LabelValue.DAMAGED
        index = self.index_of(value)
        return None if index is None else index >= self.damaged_from

    def class_of(self, value: LabelValue) -> str | None:
        """The name of a label value's class; None where the scheme has none for it."""
        index = self.index_of(value)
        return None if index is None else self.class_names[index]

    @property
    def damaged_names(self) -> tuple[str, ...]:
        """The classes that count as damaged, mildest first."""
        return self.class_names[self.damaged_from :]

    @property
    def damaged_grades(self) -> frozenset[DamageGrade]:
        """The grades that count as damaged."""
        return frozenset(grade for grade in DamageGrade if self.is_damaged(LabelValue(grade.label)))

    @property
    def has_grades(self) -> bool:
        """True where every class is one grade."""
        return all(self.grade_of(index) is not None for index in range(len(self)))

    @property
    def binary(self) -> "ClassScheme":
        """Damaged or not, with the same meaning of damaged."""
        return next(each for each in SCHEMES.values() if len(each) == 2 and each.damaged_grades == self.damaged_grades)

    def grades_behind(self, value: LabelValue) -> frozenset[DamageGrade]:
        """The grades that a building may have which carries this class, grade or verdict; none for another answer."""
        if value.grade is not None:
            return frozenset({value.grade})
        damaged = self.is_damaged(value)
        if damaged is None:
            return frozenset()
        return self.damaged_grades if damaged else frozenset(DamageGrade) - self.damaged_grades

    def seen_as(self, other: "ClassScheme") -> tuple[int, ...] | None:
        """Of each class the class of `other` that holds all its grades; None where one lies in several.

        So what a model of four grades says can be read under any binary scheme; no other scheme under another.
        """
        behind = [self.grades_behind(LabelValue(name)) for name in self.class_names]
        found = [{other.index_of(LabelValue(grade.label)) for grade in grades} for grades in behind]
        indices = [index for each in found if len(each) == 1 for index in each if index is not None]
        return tuple(indices) if len(indices) == len(self) else None

    def __len__(self) -> int:
        return len(self.class_names)


def _binary(first_damaged: DamageGrade) -> ClassScheme:
    intact = {LabelValue.INTACT} | {LabelValue(g.label) for g in DamageGrade if g < first_damaged}
    damaged = {LabelValue.DAMAGED} | {LabelValue(g.label) for g in DamageGrade if g >= first_damaged}
    short = first_damaged.label.split("-")[0]
    return ClassScheme(
        name=f"binary-{short}",
        class_names=(LabelValue.INTACT.value, LabelValue.DAMAGED.value),
        members=(frozenset(intact), frozenset(damaged)),
        damaged_from=1,
        statement=f"damaged means {first_damaged.label} or worse on the xBD joint damage scale",
    )


SCHEMES: dict[str, ClassScheme] = {
    scheme.name: scheme
    for scheme in (
        _binary(DamageGrade.MAJOR_DAMAGE),
        _binary(DamageGrade.MINOR_DAMAGE),
        ClassScheme(
            name="grades",
            class_names=tuple(grade.label for grade in DamageGrade),
            members=tuple(frozenset({LabelValue(grade.label)}) for grade in DamageGrade),
            damaged_from=int(DamageGrade.MAJOR_DAMAGE),
            statement="four grades of the xBD joint damage scale; damaged means major-damage or worse",
        ),
    )
}


DEFAULT_SCHEME = "binary-major"
"""What is taken, and said, where nobody has stated it for an event: damaged is major or worse."""


def scheme_named(name: str) -> ClassScheme:
    """Look a scheme up by name.

    Raises:
        SettingsError: no such scheme.

    Examples:
        >>> scheme_named("binary-minor").statement
        'damaged means minor-damage or worse on the xBD joint damage scale'
    """
    try:
        return SCHEMES[name]
    except KeyError:
        raise SettingsError(f"scheme '{name}' is unknown: {nearest_name(name, SCHEMES)}") from None


EMS_NOT_APPLICABLE = "Not applicable"

EMS_WORDS: Mapping[DamageGrade, str] = {
    DamageGrade.NO_DAMAGE: "No visible damage",
    DamageGrade.MINOR_DAMAGE: "Possibly damaged",
    DamageGrade.MAJOR_DAMAGE: "Damaged",
    DamageGrade.DESTROYED: "Destroyed",
}
"""Copernicus EMS rapid mapping, field `damage_gra`."""

UNOSAT_CODES: Mapping[DamageGrade, int] = {
    DamageGrade.NO_DAMAGE: 6,  # no visible damage
    DamageGrade.MINOR_DAMAGE: 3,  # moderate
    DamageGrade.MAJOR_DAMAGE: 2,  # severe
    DamageGrade.DESTROYED: 1,
}
"""UNOSAT, field `Main_Damage_Site_Class`."""

FEMA_WORDS: Mapping[DamageGrade, str] = {
    DamageGrade.NO_DAMAGE: "No Damage",
    DamageGrade.MINOR_DAMAGE: "Minor",
    DamageGrade.MAJOR_DAMAGE: "Major",
    DamageGrade.DESTROYED: "Destroyed",
}
"""FEMA's Historical Geospatial Damage Assessment Database, field Damage Level; its "Affected" (cosmetic damage) is a
part of minor damage here."""

W = TypeVar("W")


def word_for(grades: frozenset[DamageGrade], words: Mapping[DamageGrade, W]) -> W | None:
    """Another scale's word for a building of one of these grades; None where they have several words, or there is none.

    Examples:
        >>> scheme = scheme_named("binary-major")
        >>> word_for(scheme.grades_behind(LabelValue.INTACT), EMS_WORDS) is None  # it may have minor damage
        True
        >>> word_for(scheme_named("binary-minor").grades_behind(LabelValue.INTACT), EMS_WORDS)
        'No visible damage'
    """
    found = {words[grade] for grade in grades}
    return found.pop() if len(found) == 1 else None


class Reason(StrEnum):
    """Why a building is not assessed: a code for files, `words` for people, and the answer of an analyst that gives it.

    `NOT_PREPARED` is never written: it is how the app names what was not looked at yet.
    """

    words: str
    answer: LabelValue | None

    def __new__(cls, code: str, words: str, answer: LabelValue | None = None) -> "Reason":
        reason = str.__new__(cls, code)
        reason._value_ = code
        reason.words, reason.answer = words, answer
        return reason

    NO_PRE = "no_pre", "no pre imagery"
    NO_POST = "no_post", "no post imagery"
    NODATA = "nodata", "missing pixels"
    EDGE = "edge", "cut by the image edge"
    TOO_SMALL = "too_small", "footprint too small"
    CLOUD_OR_SMOKE = "cloud_or_smoke", "cloud or smoke"
    SHADOW = "shadow", "deep shadow"
    BLUR = "blur", "too blurred"
    SATURATED = "saturated", "overexposed"
    MISALIGNED = "misaligned", "outline may be off the building", LabelValue.OFFSET
    SOURCE_FAILED = "source_failed", "image could not be read"
    UNCLEAR = "unclear", "analyst: unclear", LabelValue.UNCLEAR
    BAD_IMAGERY = "bad_imagery", "analyst: bad imagery", LabelValue.BAD_IMAGERY
    NOT_A_BUILDING = "not_a_building", "analyst: not a building", LabelValue.NOT_A_BUILDING
    NOT_PREPARED = "not_prepared", "imagery not prepared"


REASON_WORDS: Mapping[str, str] = {reason.value: reason.words for reason in Reason}


def reason_words(reason: str | None) -> str:
    """A reason for people; a code without words of its own with blanks for its underscores."""
    return REASON_WORDS.get(reason or "", (reason or "unknown reason").replace("_", " "))


REASON_OF_ANSWER: Mapping[LabelValue, Reason] = {
    reason.answer: reason for reason in Reason if reason.answer is not None
}
"""What an analyst's answer other than a grade puts into `not_assessed_reason`."""

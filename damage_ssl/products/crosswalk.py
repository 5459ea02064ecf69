"""The nearest words of other agencies' damage scales. Indicative: the scales do not ask the same questions."""

from damage_ssl.grades import ClassScheme, DamageGrade, LabelValue

EMS_NOT_APPLICABLE = "Not applicable"

_EMS = {
    DamageGrade.NO_DAMAGE: "No visible damage",
    DamageGrade.MINOR_DAMAGE: "Possibly damaged",
    DamageGrade.MAJOR_DAMAGE: "Damaged",
    DamageGrade.DESTROYED: "Destroyed",
}
_UNOSAT = {
    DamageGrade.NO_DAMAGE: 6,  # no visible damage
    DamageGrade.MINOR_DAMAGE: 3,  # moderate
    DamageGrade.MAJOR_DAMAGE: 2,  # severe
    DamageGrade.DESTROYED: 1,
}


def mildest_grade(damage_class: str, scheme: ClassScheme | None) -> DamageGrade | None:
    """The mildest xBD grade that a class covers: a binary "damaged" is crossed over as no worse than was shown.

    Without a scheme, "damaged" is taken in its widest sense (minor and up).
    """
    value = LabelValue(damage_class)
    if value.grade is not None:
        return value.grade
    if value is LabelValue.INTACT:
        return DamageGrade.NO_DAMAGE
    if value is not LabelValue.DAMAGED:
        return None
    if scheme is None:
        return DamageGrade.MINOR_DAMAGE
    return min(
        grade
        for values in scheme.members[scheme.damaged_from :]
        for member in values
        if (grade := member.grade) is not None
    )


def ems_damage_gra(grade: DamageGrade) -> str:
    """Copernicus EMS rapid mapping, field `damage_gra`."""
    return _EMS[grade]


def unosat_class(grade: DamageGrade) -> int:
    """UNOSAT, field `Main_Damage_Site_Class`."""
    return _UNOSAT[grade]

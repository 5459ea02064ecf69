"""`--map-grades`: what the words of a label file mean, said in a file of two columns or by a scale's name."""

from collections.abc import Callable
from pathlib import Path

from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import InputError, nearest_name
from damage_ssl.labels.grade_words import SCALES, GradeReading, GradeRules, plain
from damage_ssl.labels.label_table import rows_of


def grade_rules(given: str | None, agreed: Callable[[GradeReading], bool] | None) -> GradeRules:
    """The rules of an option: a scale of `SCALES`, or a file for `read_grade_map`; `agreed` is asked about the rest.

    Raises:
        InputError: it is neither, or the file is wrong.
    """
    if given is None:
        return GradeRules(agreed=agreed)
    if given.lower() in SCALES:
        return GradeRules(scale=given.lower(), agreed=agreed)
    if not Path(given).exists():
        raise InputError(f"--map-grades {given}: is no file, nor a scale: {nearest_name(given, SCALES)}")
    return GradeRules(words=read_grade_map(Path(given)), agreed=agreed)


def read_grade_map(path: Path) -> dict[str, LabelValue]:
    """Lines `word,grade` of a CSV file or XLSX workbook, with a header or without; the grade is one of `LabelValue`.

    `un-classified` leaves the rows of a word out.

    Raises:
        InputError: a line has no two values, its grade is not known, or a word means two things.
    """
    found: dict[str, LabelValue] = {}
    for place, (number, cells) in enumerate(rows_of(path)):
        where = f"{path}, row {number}"
        said = [cell for cell in cells if cell]
        if len(said) != 2:
            raise InputError(f"{where}: a line is a word and its grade, such as `détruit,destroyed`; found {cells}")
        try:
            value = LabelValue.parse(said[1], where)
        except InputError:
            if place == 0:
                continue  # a header
            raise
        if found.setdefault(plain(said[0]), value) is not value:
            raise InputError(f"{where}: '{said[0]}' means {found[plain(said[0])].value} in a row before; keep one")
    return found

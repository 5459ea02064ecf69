"""Grades in other words and languages, workbooks, headers as surveys write them."""

from pathlib import Path

import openpyxl
import pytest

from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import InputError
from damage_ssl.labels.grade_map import grade_rules, read_grade_map
from damage_ssl.labels.grade_words import SCALES, GradeReading, GradeRules
from damage_ssl.labels.label_csv import LabelFile, mangled_ids, read_label_csv
from damage_ssl.labels.label_table import ColumnNames

DESTROYED, MAJOR, MINOR, NONE = "destroyed", "major-damage", "minor-damage", "no-damage"
AGREED = GradeRules(agreed=lambda reading: True)


def written(path: Path, header: str, grades: list[str]) -> Path:
    path.write_text(f"building_id,{header}\n" + "".join(f"b{n},{grade}\n" for n, grade in enumerate(grades)), "utf-8")
    return path


def values(file: LabelFile) -> dict[str, str]:
    return {row.building_id: row.value.value for row in file.rows}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("Détruit", DESTROYED),
        ("destruido", DESTROYED),
        ("مدمّر", DESTROYED),
        ("Completely Destroyed", DESTROYED),
        ("TOTALMENTE DESTRUIDO", DESTROYED),
        ("مدمرة", DESTROYED),
        ("Severe damage", MAJOR),
        ("gravement endommagé", MAJOR),
        ("daño severo", MAJOR),
        ("أضرار جسيمة", MAJOR),
        ("slightly damaged", MINOR),
        ("Dégâts légers", MINOR),
        ("daños leves", MINOR),
        ("ضرر طفيف", MINOR),
        ("aucun dégât", NONE),
        ("sin daños", NONE),
        ("لا توجد أضرار", NONE),
        ("غير متضرر", NONE),
        ("endommagé", "damaged"),
        ("dañado", "damaged"),
        ("متضرر", "damaged"),
        ("intacte", "intact"),
    ],
)
def test_word_of_another_language_is_read_once_somebody_agrees(word: str, value: str, tmp_path: Path) -> None:
    path = written(tmp_path / "labels.csv", "grade", [word])
    assert values(read_label_csv(path, labeller="ana", rules=AGREED)) == {"b0": value}
    with pytest.raises(InputError, match=f"→ {value}.*--yes.*--map-grades"):
        read_label_csv(path, labeller="ana")


@pytest.mark.parametrize(
    "word",
    [
        "moderate damage",
        "partially damaged",
        "partiellement détruit",
        "مدمر جزئيا",
        "parcialmente dañado",
        "none",
        "yes",
    ],
)
def test_word_between_two_grades_is_never_guessed(word: str, tmp_path: Path) -> None:
    path = written(tmp_path / "labels.csv", "grade", ["destroyed", word])
    with pytest.raises(InputError, match=rf"row 3: grade '{word}' is not one of .*--map-grades FILE"):
        read_label_csv(path, labeller="ana", rules=AGREED)


@pytest.mark.parametrize(
    ("header", "grades", "expected"),
    [
        ("grade", ["1", "2", "3", "4", "5"], [MINOR, MINOR, MAJOR, MAJOR, DESTROYED]),
        ("EMS-98", ["1", "4.0"], [MINOR, MAJOR]),
        ("grade", ["D0", "G5", "Grade 3"], [NONE, DESTROYED, MAJOR]),
        ("damage_gra", ["Destroyed", "Damaged", "Possibly damaged", "Not Applicable"], [DESTROYED, MAJOR, MINOR]),
        ("grade", ["Damaged", "Possibly damaged"], [MAJOR, MINOR]),
        ("Main_Damage_Site_Class", ["1", "2", "3", "6", "11", "4"], [DESTROYED, MAJOR, MINOR, NONE]),
        ("Main_Damag", ["1", "2"], [DESTROYED, MAJOR]),
        ("grade", ["Destroyed", "Severe Damage", "Moderate Damage", "Possible Damage"], [DESTROYED, MAJOR, MINOR]),
        ("grade", ["Affected", "Minor", "Major"], [MINOR, MINOR, MAJOR]),
        ("damaged", ["1", "0"], ["damaged", "intact"]),
        ("grade", ["0", "1.0"], ["intact", "damaged"]),
        ("group_ab1/niveau_de_dommage", ["détruit"], [DESTROYED]),
    ],
)
def test_classes_of_other_agencies(header: str, grades: list[str], expected: list[str], tmp_path: Path) -> None:
    asked: list[GradeReading] = []
    rules = GradeRules(agreed=lambda reading: asked.append(reading) is None)
    found = read_label_csv(written(tmp_path / "labels.csv", header, grades), labeller="ana", rules=rules)
    assert list(values(found).values()) == expected
    assert found.unclassified == len(grades) - len(expected)
    assert len(asked) == 1, "what was translated is shown"


@pytest.mark.parametrize("grades", [["1", "2", "3"], ["0", "1", "2", "3"], ["1", "7"], ["1"], ["0", "5", "6"]])
def test_numbers_of_two_scales_are_refused_until_the_scale_is_named(grades: list[str], tmp_path: Path) -> None:
    path = written(tmp_path / "labels.csv", "grade", grades)
    with pytest.raises(InputError, match="a number is of a scale: name it with --map-grades"):
        read_label_csv(path, labeller="ana", rules=AGREED)


def test_scale_that_was_named_needs_no_consent(tmp_path: Path) -> None:
    path = written(tmp_path / "labels.csv", "grade", ["0", "1", "2", "3"])
    found = read_label_csv(path, labeller="ana", rules=grade_rules("xbd", None))
    assert list(values(found).values()) == [NONE, MINOR, MAJOR, DESTROYED]


def test_own_words_need_no_consent_and_stay_what_they_say(tmp_path: Path) -> None:
    path = written(tmp_path / "labels.csv", "grade", ["Major damage", "damaged", "un-classified", ""])
    found = read_label_csv(path, labeller="ana")
    assert values(found) == {"b0": MAJOR, "b1": "damaged"}
    assert found.unclassified == 2


def test_map_says_what_words_mean(tmp_path: Path) -> None:
    words = tmp_path / "words.csv"
    words.write_text("word;grade\nÀ terre;destroyed\nmoderate damage;minor-damage\nvu;un-classified\n", "utf-8")
    path = written(tmp_path / "labels.csv", "grade", ["à terre", "Moderate damage", "vu", "intact"])
    found = read_label_csv(path, labeller="ana", rules=grade_rules(str(words), None))
    assert values(found) == {"b0": DESTROYED, "b1": MINOR, "b3": "intact"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a,destroyed\nA,intact\n", "row 2: 'A' means destroyed in a row before"),
        ("word,grade\na,detroyed\n", "row 2: grade 'detroyed' is not one of"),
        ("a,destroyed\nb\n", "row 2: a line is a word and its grade"),
    ],
)
def test_map_that_is_wrong_is_refused(content: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "words.csv").write_text(content)
    with pytest.raises(InputError, match=problem):
        read_grade_map(tmp_path / "words.csv")
    with pytest.raises(InputError, match="is no file, nor a scale"):
        grade_rules("ems98", None)


@pytest.mark.parametrize("scale", SCALES)
def test_scales_know_no_verdict_but_their_own(scale: str) -> None:
    assert set(SCALES[scale].values()) <= set(LabelValue)
    assert (LabelValue.DAMAGED in SCALES[scale].values()) == (scale == "binary")


@pytest.mark.parametrize(
    "content",
    [
        "Survey of March;;\n;;\nbuilding_id;grade;note\nb1;destroyed;\n",
        "building_id;Damage;\n;grade;note\nb1;destroyed;\n",
        "Building;Result;\nbuilding_id;grade;note\nb1;destroyed;\n",
        "building_i;damage_gra\nb1;Destroyed\n",
    ],
    ids=["title above", "merged over the right columns", "merged over the whole", "names cut by a DBF"],
)
def test_header_below_titles_and_merged_headers(content: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(content)
    assert values(read_label_csv(tmp_path / "labels.csv", labeller="ana", rules=AGREED)) == {"b1": DESTROYED}


def test_several_columns_that_could_hold_the_grade(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("building_id,damage_class,damage_level\nb1,destroyed,0\n")
    with pytest.raises(
        InputError, match=r"several columns could hold the grade: damage_class, damage_level.*--grade-c"
    ):
        read_label_csv(path, labeller="ana")
    found = read_label_csv(path, labeller="ana", columns=ColumnNames(grade="Damage_Class"))
    assert values(found) == {"b1": DESTROYED}


def test_column_of_ids_that_was_named(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("OBJECTID,grade\n7,destroyed\n")
    found = read_label_csv(tmp_path / "labels.csv", labeller="ana", columns=ColumnNames(id="objectid"))
    assert values(found) == {"7": DESTROYED}


def workbook(path: Path, **sheets: list[list[object]]) -> openpyxl.Workbook:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return book


def test_workbook_with_numbers_zeros_and_blanks(tmp_path: Path) -> None:
    path = tmp_path / "labels.xlsx"
    book = workbook(
        path, Labels=[["building_id", "grade"], [7, "destroyed"], [8.0, "intact"], [9, None], ["010", "intact"]]
    )
    book["Labels"]["A3"].number_format = "00000"
    book.save(path)
    found = read_label_csv(path, labeller="ana")
    assert values(found) == {"7": DESTROYED, "00008": "intact", "010": "intact"}
    assert found.unclassified == 1


def test_merged_cells_of_a_workbook_hold_for_all_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "labels.xlsx"
    book = workbook(
        path,
        S=[
            ["Town", None, None],
            ["building_id", "Damage", None],
            [None, "grade", "comment"],
            ["a", DESTROYED],
            ["b", None],
        ],
    )
    for area in ("A1:C1", "A2:A3", "B2:C2", "B4:B5"):
        book["S"].merge_cells(area)
    book.save(path)
    assert values(read_label_csv(path, labeller="ana")) == {"a": DESTROYED, "b": DESTROYED}


def test_sheet_with_labels_is_found_and_two_are_refused(tmp_path: Path) -> None:
    rows = [["building_id", "grade"], ["a", DESTROYED]]
    workbook(tmp_path / "one.xlsx", Notes=[["read me"]], Labels=rows)
    assert values(read_label_csv(tmp_path / "one.xlsx", labeller="ana")) == {"a": DESTROYED}
    workbook(tmp_path / "two.xlsx", North=rows, South=rows)
    with pytest.raises(
        InputError, match=r"several sheets hold labels: North, South; say which: 'two.xlsx\|layername=NAME'"
    ):
        read_label_csv(tmp_path / "two.xlsx", labeller="ana")


@pytest.mark.parametrize("number", [710000000000000000, 7.1e17])
def test_number_with_more_digits_than_a_spreadsheet_keeps_is_not_an_id(number: float, tmp_path: Path) -> None:
    workbook(tmp_path / "labels.xlsx", S=[["building_id", "grade"], [number, DESTROYED]])
    (said,) = values(read_label_csv(tmp_path / "labels.xlsx", labeller="ana"))
    assert "its digits are lost" in (mangled_ids([said], ["710000000000000001"]) or "")


@pytest.mark.parametrize(
    ("content", "problem"), [(b"PK\x03\x04half", "no whole workbook"), (b"\xd0\xcf\x11\xe0" * 9, "the old kind")]
)
def test_workbook_that_cannot_be_read(content: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "labels.xlsx").write_bytes(content)
    with pytest.raises(InputError, match=f"{problem}.*CSV UTF-8"):
        read_label_csv(tmp_path / "labels.xlsx", labeller="ana")

"""No table that goes out holds a formula, and what is read back is what was meant."""

import csv
from pathlib import Path

import pandas as pd
import pytest

from damage_ssl.damage_scale import LabelValue
from damage_ssl.labels.label_csv import read_label_csv, write_label_csv
from damage_ssl.labels.label_log import LabelStore, NewLabel
from damage_ssl.products.formats.csv import write_csv
from damage_ssl.spreadsheet import inert, inert_rows, meant

FORMULAS = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\tx", "\rx", "＝1", "'=1", "''@x"]


@pytest.mark.parametrize("text", [*FORMULAS, "", "plain", "'quoted'", "'", "two=2", "way/1"])
def test_text_comes_back_as_it_was_and_starts_no_formula(text: str) -> None:
    assert meant(inert(text)) == text
    assert inert(text)[:1] not in {*"=+-@\t\r\n＝＋－＠"} - {""}


def test_label_file_holds_no_formula_and_reads_back_to_the_same_labels(tmp_path: Path) -> None:
    log, path = LabelStore(tmp_path / "labels.sqlite"), tmp_path / "labels.csv"
    said = [each for each in FORMULAS if each == each.strip()]
    for text in said:
        label = NewLabel(building_id=text, value=LabelValue.DESTROYED, labeller=text, drawn="import", comment=text)
        log.add_many([label])
    assert log.export_csv(path) == len(said)
    with path.open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell[:1] in {"=", "+", "-", "@", "＝"}]
    rows = read_label_csv(path, labeller="x").rows
    assert {(row.building_id, row.labeller, row.comment) for row in rows} == {(text,) * 3 for text in said}
    again = LabelStore(tmp_path / "again.sqlite")
    again.import_csv(path, known_ids=said, labeller="x")
    write_label_csv(again.current(), tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text(encoding="utf-8") == path.read_text(encoding="utf-8")


def test_names_of_columns_and_categories_start_no_formula(tmp_path: Path) -> None:
    table = pd.DataFrame({"=cmd": pd.Categorical(["=1+1", "plain", None]), "n": [1, 2, 3]})
    write_csv(table, tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "'=cmd,n" and lines[2:] == ["'=1+1,1", "plain,2", ",3"]


def test_rows_of_totals_start_no_formula() -> None:
    assert inert_rows([{"name": "=HYPERLINK(1)", "damaged": -3}]) == [{"name": "'=HYPERLINK(1)", "damaged": -3}]

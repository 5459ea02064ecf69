import resource
from pathlib import Path

import pytest

from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import InputError, StorageError
from damage_ssl.labels.label_csv import ImportReport, write_label_csv
from damage_ssl.labels.label_log import LabelStore, NewLabel

KNOWN = [f"b{number}" for number in range(10)]


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    return LabelStore(tmp_path / "labels.sqlite")


def imported(store: LabelStore, tmp_path: Path, content: str | bytes, *, skip_unknown: bool = False) -> ImportReport:
    path = tmp_path / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return store.import_csv(path, known_ids=KNOWN, labeller="ana", skip_unknown=skip_unknown)


def refused(store: LabelStore, tmp_path: Path, content: str | bytes) -> str:
    with pytest.raises(InputError) as error:
        imported(store, tmp_path, content)
    assert store.revision() == 0, "nothing is written when a file is refused"
    return str(error.value)


def test_plain_file_is_imported(store: LabelStore, tmp_path: Path) -> None:
    report = imported(store, tmp_path, "building_id,grade\nb1,destroyed\nb2,no-damage\n")
    assert (report.added, report.unchanged, report.skipped) == (2, 0, 0)
    current = store.current().set_index("building_id")
    assert current["value"].to_dict() == {"b1": "destroyed", "b2": "no-damage"}
    assert set(current["labeller"]) == {"ana"}
    assert set(current["drawn"]) == {"import"}


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfbuilding_id,grade\r\nb1,destroyed\r\n",
        b'"building_id","grade"\n"b1","destroyed"\n',
        b"building_id;grade\nb1;destroyed\n",
        b"Grade , Building_ID \n Destroyed , b1 \n\n",
        b"building_id,grade\nb1,destroyed",
        b"\xef\xbb\xbfsep=;\r\nbuilding_id;grade\r\nb1;destroyed\r\n",
        b'"sep=\t"\r\nbuilding_id\tgrade\r\nb1\tdestroyed\r\n',
        b"building_id;grade;note (roof, walls, door)\r\nb1;destroyed;ok\r\n",
        b"building_id,grade,,remark,\r\nb1,destroyed\r\n",
        b"building_id,grade\r\nb1,destroyed,,,\r\n",
        "building_id;grade;comment\nb1;destroyed;to\u00eet\n".encode("cp1252"),
        "building_id\tgrade\r\nb1\tdestroyed\r\n".encode("utf-16"),
        b"\xfe\xff" + "building_id;grade\nb1;destroyed\n".encode("utf-16-be"),
    ],
    ids=[
        "bom and crlf",
        "quoted",
        "semicolons",
        "spaces, capitals, other order",
        "no last newline",
        "separator named",
        "tab named in quotes",
        "commas in the header of semicolons",
        "row ends early",
        "empty values behind",
        "Windows-1252",
        "UTF-16",
        "UTF-16 big endian",
    ],
)
def test_what_spreadsheets_write_is_read(store: LabelStore, tmp_path: Path, content: bytes) -> None:
    assert imported(store, tmp_path, content).added == 1
    assert store.counts() == {LabelValue.DESTROYED: 1}


def test_optional_columns_are_kept(store: LabelStore, tmp_path: Path) -> None:
    imported(
        store,
        tmp_path,
        "building_id,grade,labeller,time,drawn,inclusion_probability,comment,area\n"
        'b1,damaged,ben,2025-01-31T12:00:00+01:00,random,0.25,"roof, gone",12\n',
    )
    row = store.current().iloc[0]
    assert row[["labeller", "time", "drawn", "inclusion_probability", "comment"]].tolist() == [
        "ben",
        "2025-01-31T11:00:00.000Z",
        "random",
        0.25,
        "roof, gone",
    ]


def test_columns_that_are_not_used_are_reported(store: LabelStore, tmp_path: Path) -> None:
    assert imported(store, tmp_path, "x,building_id,grade\n1,b1,intact\n").ignored_columns == ("x",)


def test_unclassified_rows_are_counted_and_left_out(store: LabelStore, tmp_path: Path) -> None:
    report = imported(store, tmp_path, "building_id,grade\nb1,un-classified\nb2,intact\n")
    assert (report.added, report.unclassified, report.skipped) == (1, 1, 1)
    assert store.current()["building_id"].tolist() == ["b2"]


def test_importing_a_file_twice_changes_nothing(store: LabelStore, tmp_path: Path) -> None:
    content = "building_id,grade\nb1,destroyed\nb2,intact\n"
    imported(store, tmp_path, content)
    revision = store.revision()
    report = imported(store, tmp_path, content)
    assert (report.added, report.unchanged) == (0, 2)
    assert store.revision() == revision


def test_import_brings_back_what_the_same_labeller_withdrew(store: LabelStore, tmp_path: Path) -> None:
    content = "building_id,grade\nb1,destroyed\n"
    imported(store, tmp_path, content)
    store.clear("b1", "ana")
    assert imported(store, tmp_path, content).added == 1
    assert store.current()["value"].tolist() == ["destroyed"]


def test_importing_a_file_again_does_not_undo_the_correction_of_another(store: LabelStore, tmp_path: Path) -> None:
    content = "building_id,grade\nb1,destroyed\n"
    imported(store, tmp_path, content)
    store.add("b1", LabelValue.INTACT, labeller="ben", drawn="map", inclusion_probability=None)
    assert imported(store, tmp_path, content).unchanged == 1
    assert store.current()["value"].tolist() == ["intact"]


def test_two_labellers_of_one_building_are_both_kept_and_reimport_is_quiet(store: LabelStore, tmp_path: Path) -> None:
    content = "building_id,grade,labeller\nb1,intact,ana\nb1,destroyed,ben\n"
    assert imported(store, tmp_path, content).added == 2
    assert store.history("b1")["value"].tolist() == ["intact", "destroyed"]
    assert imported(store, tmp_path, content).added == 0


def test_repeated_row_is_counted_once(store: LabelStore, tmp_path: Path) -> None:
    report = imported(store, tmp_path, "building_id,grade\nb1,intact\nb1,intact\n")
    assert (report.added, report.repeated) == (1, 1)


def test_conflicting_rows_are_refused_with_both_row_numbers(store: LabelStore, tmp_path: Path) -> None:
    message = refused(store, tmp_path, "building_id,grade\nb1,intact\nb2,intact\nb1,destroyed\n")
    assert "labels.csv, row 4: building 'b1' is destroyed here and intact in row 2" in message


def test_unknown_grade_names_file_row_and_what_is_allowed(store: LabelStore, tmp_path: Path) -> None:
    message = refused(store, tmp_path, "building_id,grade\nb1,intact\n\nb2,detroyed\n")
    assert "labels.csv, row 4: grade 'detroyed' is not one of no-damage, minor-damage" in message


def test_unknown_buildings_are_listed_up_to_five_and_counted(store: LabelStore, tmp_path: Path) -> None:
    rows = "".join(f"x{number},intact\n" for number in range(7))
    message = refused(store, tmp_path, f"building_id,grade\nb1,intact\n{rows}")
    assert "labels.csv, row 3: 7 buildings are not among the event's footprints" in message
    assert "'x0', 'x1', 'x2', 'x3', 'x4', …" in message
    assert "x5" not in message


def test_unknown_buildings_can_be_skipped(store: LabelStore, tmp_path: Path) -> None:
    report = imported(store, tmp_path, "building_id,grade\nx,intact\nb1,intact\n", skip_unknown=True)
    assert (report.added, report.unknown, report.skipped) == (1, ("x",), 1)
    assert store.current()["building_id"].tolist() == ["b1"]


def test_missing_column_names_the_nearest(store: LabelStore, tmp_path: Path) -> None:
    message = refused(store, tmp_path, "building_id,grad\nb1,intact\n")
    assert "labels.csv, row 1: the column 'grade' is missing" in message
    assert "did you mean 'grad'?" in message


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "labels.csv: is empty"),
        ("\n\n", "labels.csv: is empty"),
        ("building_id,grade\n,intact\n", "labels.csv, row 2: building_id is empty"),
        ("building_id,grade\nb1\n", "labels.csv, row 2: 1 values under 2 columns"),
        ("building_id,grade,grade\nb1,intact,intact\n", "labels.csv, row 1: the column 'grade' is there 2 times"),
        ("building_id,grade,inclusion_probability\nb1,intact,2\n", "labels.csv, row 2: inclusion_probability '2'"),
        ("building_id,grade,inclusion_probability\nb1,intact,nan\n", "labels.csv, row 2: inclusion_probability 'nan'"),
        ("building_id,grade,cluster_probability\nb1,intact,0\n", "labels.csv, row 2: cluster_probability '0'"),
        ("building_id,grade,inclusion_probability\nb1,intact,x\n", "labels.csv, row 2: inclusion_probability 'x'"),
        ("building_id,grade,time\nb1,intact,noon\n", "labels.csv, row 2: time 'noon' is not ISO 8601"),
        ('building_id,grade\nb1,"intact\n', "labels.csv, row 2: is not valid CSV"),
        (b"building_id,grade\nb1,intact\xff\n", "labels.csv, row 2: grade 'intact\u00ff' is not one of"),
        (b"building_id,grade\nb1,intact\x81\n", "labels.csv: is neither UTF-8, UTF-16 nor Windows-1252 text"),
        (b"PK\x03\x04rest of an XLSX", "labels.csv: is no whole workbook"),
        ("b;u\nbuilding;rank\n", "labels.csv, row 1: the column 'building_id' is missing"),
    ],
)
def test_bad_file_is_refused_with_the_place(
    store: LabelStore, tmp_path: Path, content: str | bytes, problem: str
) -> None:
    assert problem in refused(store, tmp_path, content)


def test_missing_file_and_folder_are_named(store: LabelStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.csv: there is no such file"):
        store.import_csv(tmp_path / "none.csv", known_ids=KNOWN, labeller="ana")
    with pytest.raises(InputError, match="cannot be read"):
        store.import_csv(tmp_path, known_ids=KNOWN, labeller="ana")


def test_header_alone_imports_nothing(store: LabelStore, tmp_path: Path) -> None:
    assert imported(store, tmp_path, "building_id,grade\n").added == 0


def test_export_round_trips(store: LabelStore, tmp_path: Path) -> None:
    store.add(
        "b1", LabelValue.MAJOR_DAMAGE, labeller="ana", drawn="random", inclusion_probability=1 / 3, comment='"a", b'
    )
    store.add("b2", LabelValue.OFFSET, labeller="bén", drawn="map", inclusion_probability=None, comment="two\nlines")
    store.add("b3", LabelValue.INTACT, labeller="ana", drawn="map", inclusion_probability=None)
    store.clear("b3", "ana")
    tile = NewLabel(
        building_id="b4",
        value=LabelValue.INTACT,
        labeller="ana",
        drawn="tile",
        stratum="north",
        cluster_id="t7",
        cluster_probability=0.1,
    )
    store.add_many([tile])
    assert store.export_csv(tmp_path / "out.csv") == 3
    other = LabelStore(tmp_path / "other.sqlite")
    assert other.import_csv(tmp_path / "out.csv", known_ids=KNOWN, labeller="nobody").added == 3
    assert other.current().to_csv() == store.current().to_csv()
    assert store.import_csv(tmp_path / "out.csv", known_ids=KNOWN, labeller="nobody").added == 0


def test_export_to_a_full_disk_leaves_the_old_file(store: LabelStore, tmp_path: Path) -> None:
    for number in range(10):
        store.add(
            f"b{number}", LabelValue.INTACT, labeller="a", drawn="map", inclusion_probability=None, comment="c" * 99
        )
    out = tmp_path / "out.csv"
    out.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    labels = store.current()  # read first: SQLite writes its own files while reading
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"out.csv: the disk is full"):
            write_label_csv(labels, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == ["out.csv"]


def test_decimal_commas_of_a_spreadsheet(store: LabelStore, tmp_path: Path) -> None:
    imported(store, tmp_path, "building_id;grade;inclusion_probability\nb1;destroyed;0,25\n")
    assert list(store.current()["inclusion_probability"]) == [0.25]


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize(
    ("known", "said", "problem"),
    [
        (["00000", "00001"], "1", "the file's '1' seems to be the event's '00001', changed by a spreadsheet"),
        (["0", "1"], "1.0", "the file's '1.0' seems to be the event's '1'"),
        (["710000000001"], "7.1E+11", "'7.1E+11' is a number that a spreadsheet has rounded"),
        (["{AB-1}"], "{ab-1}", "the file's '{ab-1}' seems to be the event's '{AB-1}'"),
    ],
)
def test_ids_that_a_spreadsheet_changed(
    known: list[str], said: str, problem: str, skip: bool, store: LabelStore, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"building_id,grade\n{said},intact\n")
    with pytest.raises(InputError) as error:
        store.import_csv(path, known_ids=known, labeller="ana", skip_unknown=skip)
    assert problem in str(error.value)
    assert "building_id as text" in str(error.value)
    assert store.revision() == 0

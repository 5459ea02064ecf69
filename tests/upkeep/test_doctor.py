"""The doctor: what is damaged is named, what can be made again is, labels stay as they are."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from damage_ssl.damage_scale import LabelValue
from damage_ssl.events.event import Event, open_labels
from damage_ssl.files import write_json
from damage_ssl.patches.store import PatchStore
from damage_ssl.runs.predictions import read_predictions
from damage_ssl.runs.run import Run
from damage_ssl.upkeep.doctor import diagnose, repair
from damage_ssl.workflow import cut_patches
from tests.cli.conftest import Outcome
from tests.conftest import Town
from tests.patches.stores import content
from tests.patches.test_extract_again import SMALL
from tests.test_checksums import chunks, flip
from tests.upkeep.worked import worked_event


def answered(event: Event) -> Event:
    open_labels(event).add("b01", LabelValue.DESTROYED, labeller="ana", drawn="map", inclusion_probability=None)
    return event


def test_removed_patches_are_found_and_cut_again_and_labels_stay(town: Town) -> None:
    event = answered(town.create())
    store = cut_patches(event, SMALL)
    assert diagnose(event).findings == () and diagnose(event).unchecked == ()
    before, labels = content(store.path), event.labels_path.read_bytes()
    left = event.path / ".map.geojson.7-ab.tmp.geojson"
    left.write_text("{")
    os.utime(left, (1e9, 1e9))
    chunks(store)[0].unlink()
    found = diagnose(event)
    assert [finding.path for finding in found.findings] == [event.patches_path]
    assert "is missing" in found.findings[0].fault
    assert [why for _, why in repair(event, found)] == [None]
    assert content(store.path) == before
    assert diagnose(event).findings == ()
    assert event.labels_path.read_bytes() == labels and not left.exists()


def test_command_names_every_damaged_file_and_leaves_labels_alone(run: Callable[..., Outcome], town: Town) -> None:
    event = answered(town.create())
    at = ("--workspace", town.workspace)
    assert run("doctor", "town", *at).code == 0
    flip(event.footprints_path, -200)
    with closing(sqlite3.connect(event.labels_path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("DROP TRIGGER label_log_no_update")
        database.execute("UPDATE label_log SET value = 'destrpyed'")
        database.commit()
    labels = open_labels(event).log()
    for options in ((), ("--repair",)):
        outcome = run("doctor", "town", *at, *options, "--json")
        assert outcome.code == 1
        named = {Path(each["path"]).name: each for each in outcome.json["damaged"]}
        assert set(named) == {"footprints.parquet", "labels.sqlite"}
        assert "b01: 'destrpyed'" in named["labels.sqlite"]["fault"].replace("building ", "")
        assert not any(each["repaired"] for each in named.values())
    assert open_labels(event).log().equals(labels)


def test_event_of_a_version_without_checksums_is_not_checked_and_not_damaged(town: Town) -> None:
    event = answered(town.create())
    for note in event.path.rglob(".*.sha256"):
        note.unlink()
    found = diagnose(event)
    assert found.findings == ()
    assert {path.name for path in found.unchecked} == {"footprints.parquet", "footprints_left_out.parquet"}


@pytest.fixture(scope="module")
def worked_once(tmp_path_factory: pytest.TempPathFactory) -> Event:
    return worked_event(tmp_path_factory)


@pytest.fixture
def worked(worked_once: Event, tmp_path: Path) -> Event:
    shutil.copytree(worked_once.path, tmp_path / "w" / "town")
    return Event.open(tmp_path / "w", "town")


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def hot(path: Path) -> None:
    write_json(path, {**json.loads(path.read_text()), "threshold": 5})


@pytest.mark.long
def test_everything_of_a_run_but_its_weights_and_plan_is_made_again(worked: Event) -> None:
    one = Run(worked.runs_path / "one")
    assert diagnose(worked).findings == ()
    before = read_predictions(one)
    cases: list[tuple[Path, Callable[[Path], None], bool]] = [
        (one.predictions_path, flip, True),
        (one.predictions_path, emptied, True),
        (one.calibration_path, hot, True),
        (one.calibration_path, emptied, True),
        (one.status_path, emptied, True),
        (one.checkpoint_path, flip, False),
        (one.settings_path, emptied, False),
    ]
    for path, harm, again in cases:
        kept = path.read_bytes()
        harm(path)
        found = diagnose(worked)
        assert [finding.path for finding in found.findings] == [path], (path, found.findings)
        assert [why for _, why in repair(worked, found)] == ([None] if again else [])
        if again:
            assert diagnose(worked).findings == ()
            assert read_predictions(one).equals(before)
            assert one.status().state == "finished"
        else:
            path.write_bytes(kept)
    assert len(PatchStore.open(worked.patches_path)) > 0

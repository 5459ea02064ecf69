"""What was acknowledged is there after a power cut, in every state that it may leave of what was asked of the disk."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from damage_ssl.events.event import Event
from damage_ssl.labels.label_log import LabelStore
from damage_ssl.mosaic import batches
from damage_ssl.patches.store import PatchStore
from damage_ssl.runs.run import Run
from damage_ssl.workflow import cut_patches
from tests.campaigns import campaign
from tests.conftest import Town
from tests.patches.stores import content
from tests.patches.test_extract_again import SMALL
from tests.power_cuts import can_record, recorded

pytestmark = pytest.mark.skipif(not can_record(), reason="strace is not there, or may not watch a process")

CARELESS = """
import sys
from pathlib import Path
path = Path(sys.argv[1]) / "value.json"
for number in range(5):
    path.with_suffix(".tmp").write_text('{"value": %d}' % number)
    path.with_suffix(".tmp").replace(path)
    print(number)
"""

CAREFUL = """
import sys
from pathlib import Path
from damage_ssl.files import write_json
for number in range(5):
    write_json(Path(sys.argv[1]) / "new" / "folder" / "value.json", {"value": number})
    print(number)
"""

LABELLING = """
import sys
from pathlib import Path
from damage_ssl.damage_scale import LabelValue
from damage_ssl.labels.label_log import LabelStore

stores = [LabelStore(Path(sys.argv[1]) / "labels.sqlite") for _ in range(2)]
for number in range(40):
    stores[number % 2].add(f"b-{number}", LabelValue.DESTROYED, labeller="ana", drawn="map", inclusion_probability=None)
    print(f"b-{number}")
"""

WORKING = """
import os, sys
from pathlib import Path
from damage_ssl.damage_scale import LabelValue
from damage_ssl.events.event import Event, open_labels
from damage_ssl.mosaic import batches
from damage_ssl.runs.run import Run
from damage_ssl.settings import PatchSettings
from damage_ssl.workflow import cut_patches
from app.jobs.upload import Upload

workspace, pre, post, footprints = (Path(each) for each in sys.argv[1:])
os.environ["DAMAGE_SSL_WORKSPACE"] = str(workspace)
batches.CELL_PX = 60
for hazard in ("flood", "fire"):
    event = Event.create(
        workspace, "town", pre=[pre], post=[post], footprints=footprints, hazard=hazard, overwrite=True
    )
    print("hazard", hazard)
    open_labels(event).add(hazard, LabelValue.INTACT, labeller="ana", drawn="map", inclusion_probability=None)
    print("label", hazard)
cut_patches(event, PatchSettings(size_px=32, align="off"))
print("patches")
run = Run(event.runs_path / "one")
for state in ("queued", "running", "trained", "finished"):
    run.set_status(state, step=1, steps=2)
    print("state", state)
upload = Upload("area.geojson", "abcdef123", 8)
with upload.piece(0) as piece:
    piece.write(b'{"a": 1}')
    piece.sync()
upload.finish()
print("upload")
"""


def cuts(calls: int, rounds: int, rng: np.random.Generator) -> list[int]:
    return sorted(rng.integers(1, calls + 1, rounds).tolist())


def last_value(folder: Path, name: str) -> int:
    path = folder / name
    return int(json.loads(path.read_text())["value"]) if path.is_file() else -1


@pytest.mark.long
def test_write_that_is_not_synced_is_lost_or_torn_by_some_cut(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    recording, rng = recorded(CARELESS, tmp_path / "disk"), np.random.default_rng(1)
    bad = 0
    for cut in cuts(len(recording.calls), 60, rng):
        recording.leave(cut, tmp_path / "after", rng)
        promised = len(recording.said(cut)) - 1
        try:
            bad += last_value(tmp_path / "after", "value.json") < promised
        except ValueError:  # it holds nothing
            bad += 1
    assert bad > 10


@campaign(20, 500)
def test_file_is_whole_and_no_older_than_promised_after_any_cut(rounds: int, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    recording, rng = recorded(CAREFUL, tmp_path / "disk"), np.random.default_rng(rounds)
    for cut in cuts(len(recording.calls), rounds, rng):
        recording.leave(cut, tmp_path / "after", rng)
        assert last_value(tmp_path / "after", "new/folder/value.json") >= len(recording.said(cut)) - 1


@campaign(20, 500)
def test_no_acknowledged_label_is_lost_by_a_power_cut(rounds: int, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    recording, rng = recorded(LABELLING, tmp_path / "disk"), np.random.default_rng(rounds)
    promised: list[str] = []
    for cut in cuts(len(recording.calls), rounds, rng):
        recording.leave(cut, tmp_path / "after", rng)
        promised = recording.said(cut)
        store = LabelStore(tmp_path / "after" / "labels.sqlite")
        log = store.log()["building_id"].tolist()
        assert log[: len(promised)] == promised and len(log) <= len(promised) + 1
        with closing(sqlite3.connect(tmp_path / "after" / "labels.sqlite")) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        store.close()
    assert len(promised) > 30


@campaign(8, 200)
def test_event_is_whole_and_no_older_than_promised_after_any_cut(
    rounds: int, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.workspace.mkdir()
    monkeypatch.setattr(batches, "CELL_PX", 60)  # as in WORKING
    given = (str(town.pre), str(town.post), str(town.footprints))
    recording, rng = recorded(WORKING, town.workspace, *given), np.random.default_rng(rounds)
    pixels = content(PatchStore.open(town.workspace / "town" / "patches").path)
    workspace = town.workspace.with_name("after")
    hazards, states = ["flood", "fire"], ["queued", "running", "trained", "finished"]
    for cut in cuts(len(recording.calls), rounds, rng):
        recording.leave(cut, workspace, rng)
        said = [line.split() for line in recording.said(cut)]
        promised = {what: [line[-1] for line in said if line[0] == what] for what in ("hazard", "label", "state")}
        if not promised["hazard"]:
            continue  # nothing was promised yet
        event = Event.open(workspace, "town")
        assert event.hazard in hazards[len(promised["hazard"]) - 1 :]
        assert len(event.footprints()) == 16 and len(event.pre_and_post()[0]) == 1
        if promised["label"]:
            assert set(promised["label"]) <= set(LabelStore(event.labels_path).log()["building_id"])
        if ["patches"] in said:
            assert content(PatchStore.open(event.patches_path).path) == pixels
        elif cut % 4 == 0:
            assert content(cut_patches(event, SMALL).path) == pixels
        if promised["state"]:
            status = Run(event.runs_path / "one").status()
            kept = "queued" if "unexpectedly" in status.message else status.state  # its process has gone
            assert states.index(kept) >= (0 if kept == "queued" else len(promised["state"]) - 1)
        if ["upload"] in said:
            assert (workspace / "inbox" / "uploads" / "area.geojson").read_bytes() == b'{"a": 1}'

"""An event made anew under whoever works on it: labels are never moved, and a kill leaves the old event or the new."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from damage_ssl.damage_scale import LabelValue
from damage_ssl.events import rewriting
from damage_ssl.events.event import Event, open_labels
from damage_ssl.labels.label_log import LabelStore
from tests.campaigns import campaign
from tests.conftest import Town
from tests.labels.test_killed_writers import WRITER


def give(store: LabelStore, building: str) -> None:
    store.add(building, LabelValue.DESTROYED, labeller="ana", drawn="map", inclusion_probability=None)


def test_label_written_between_by_one_who_had_the_log_open_is_kept(town: Town) -> None:
    event = town.create()
    before = open_labels(event)
    give(before, "b01")
    again = town.create(overwrite=True)
    give(before, "b02")
    after = open_labels(again)
    give(after, "b03")
    give(before, "b04")
    assert after.log()["building_id"].tolist() == ["b01", "b02", "b03", "b04"]


@campaign(5, 200)
@pytest.mark.timeout(3600)
def test_no_acknowledged_label_is_lost_while_the_event_is_made_again_and_again(rounds: int, town: Town) -> None:
    event = town.create()
    names = [f"analyst{number}" for number in range(10 if rounds > 50 else 3)]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(event.labels_path), "town", name], stdout=subprocess.PIPE, text=True
        )
        for name in names
    ]
    confirmed = set()
    for writer in writers:
        assert writer.stdout is not None
        confirmed.add(writer.stdout.readline().strip())  # it is at it
    for _ in range(rounds):
        town.create(overwrite=True)
    for writer in writers:
        writer.kill()
        confirmed |= {line.strip() for line in writer.communicate()[0].splitlines(True) if line.endswith("\n")}
    log = open_labels(Event.open(town.workspace, "town")).log()
    assert len(confirmed) > 3 * rounds
    assert confirmed <= set(log["building_id"])


@pytest.mark.parametrize("after", range(6))
def test_kill_on_the_way_leaves_the_new_event(after: int, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    event = town.create(hazard="flood")
    give(open_labels(event), "b01")
    done = 0
    replace = Path.replace

    def killed(path: Path, target: Path) -> Path:
        nonlocal done
        if path.parent.name == rewriting._NEXT and not path.name.startswith("."):
            done += 1
            if done > after:
                raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with contextlib.suppress(KeyboardInterrupt):
        town.create(hazard="fire", overwrite=True)
    monkeypatch.undo()
    opened = Event.open(town.workspace, "town")
    assert opened.hazard == "fire"
    assert len(opened.footprints()) == 16 and len(opened.scenes("pre")) == 1
    assert not (opened.path / rewriting._NEXT).exists()
    assert open_labels(opened).log()["building_id"].tolist() == ["b01"]


def test_failure_before_all_is_written_leaves_the_old_event(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    event = town.create(hazard="flood")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rewriting, "write_json", full)
    with pytest.raises(Exception, match="the disk is full"):
        town.create(hazard="fire", overwrite=True)
    assert Event.open(town.workspace, "town").hazard == "flood"
    assert sorted(path.name for path in event.path.glob(".*") if path.suffix != ".sha256") == []

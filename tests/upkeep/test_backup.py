"""Backups: taken while analysts label, whole, and never restored over anything."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.events.event import Event, open_labels
from damage_ssl.labels.label_log import LabelStore
from damage_ssl.upkeep import backup as module
from damage_ssl.upkeep.backup import back_up, restore
from damage_ssl.upkeep.doctor import diagnose
from tests.cli.conftest import Outcome
from tests.conftest import Town
from tests.labels.test_killed_writers import WRITER


def test_backup_in_use_holds_every_answer_that_was_confirmed_before_it(town: Town, tmp_path: Path) -> None:
    event = town.create()
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(event.labels_path), "town", "ana"], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    confirmed = {writer.stdout.readline().strip() for _ in range(30)}
    said = back_up(event, tmp_path / "town.zip")
    writer.kill()
    writer.communicate()
    copy = restore(tmp_path / "town.zip", tmp_path / "elsewhere")
    log = open_labels(copy).log()["building_id"].tolist()
    assert confirmed <= set(log) and len(log) == said.labels
    assert log == [f"ana-{number}" for number in range(len(log))]
    assert copy.footprints().equals(event.footprints())
    assert diagnose(copy).findings == () and diagnose(copy).unchecked == ()


def test_commands_refuse_to_overwrite_and_say_what_is_damaged(
    run: Callable[..., Outcome], town: Town, tmp_path: Path
) -> None:
    event = town.create()
    open_labels(event).add("b01", LabelValue.INTACT, labeller="ana", drawn="map", inclusion_probability=None)
    file, at = tmp_path / "town.zip", ("--workspace", town.workspace)
    assert run("backup", "town", file, *at, "--json").json["labels"] == 1
    assert "exists already" in run("restore", file, *at).err
    assert run("restore", file, "--name", "again", *at).code == 0
    assert len(Event.open(town.workspace, "again").footprints()) == 16
    assert "lies in the event itself" in run("backup", "town", event.path / "x.zip", *at).err
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)
    outcome = run("restore", file, "--name", "third", *at)
    assert outcome.code == 2 and "damaged" in outcome.err and not (town.workspace / "third").exists()
    file.write_bytes(b"PK")
    assert "is no backup of an event" in run("restore", file, "--name", "third", *at).err


def test_backup_never_writes_outside_the_event(town: Town, tmp_path: Path) -> None:
    file = tmp_path / "evil.zip"
    back_up(town.create(), file)
    with zipfile.ZipFile(file) as archive:
        names = {name: archive.read(name) for name in archive.namelist()}
    names["backup.json"] = names["backup.json"].replace(b"collection.json", b"../../evil.json")
    names["../../evil.json"] = names.pop("collection.json")
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match=r"names '\.\./\.\./evil\.json', which is no file of an event"):
        restore(file, tmp_path / "elsewhere")


def test_event_that_is_made_anew_meanwhile_is_copied_once_more(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event, write, made = town.create(hazard="flood"), module._write, []

    def meanwhile(*given: object) -> object:
        said = write(*given)  # type: ignore[arg-type]
        if len(made) < endless:
            made.append(town.create(hazard="fire", overwrite=True))
        return said

    monkeypatch.setattr(module, "_write", meanwhile)
    endless = 1
    back_up(event, tmp_path / "town.zip")
    assert restore(tmp_path / "town.zip", tmp_path / "elsewhere").hazard == "fire"
    endless = 99
    with pytest.raises(WorkspaceError, match="made anew all the time"):
        back_up(event, tmp_path / "town.zip")


def test_log_on_a_network_file_system_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    shared = tmp_path / "net share"
    place = str(shared).replace(" ", "\\040")
    mounts.write_text(f"1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:44 / {place} rw,relatime shared:7 - nfs4 host:/x rw\n")
    monkeypatch.setattr("damage_ssl.labels.schema._MOUNTS", mounts)
    LabelStore(tmp_path / "labels.sqlite").close()
    with pytest.raises(Exception, match=r"network file system \(nfs4\).*DAMAGE_SSL_LABELS=postgresql://"):
        LabelStore(shared / "event" / "labels.sqlite")

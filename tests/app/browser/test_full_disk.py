"""The disk of the server runs full while somebody labels, and has room again later."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from damage_ssl.labels.label_log import LabelStore
from tests.app.browser.chromium import BROWSER
from tests.app.browser.conftest import Drawn
from tests.app.browser.screen import GRADE_KEYS, Screen
from tests.app.browser.server import App, running_app

pytestmark = BROWSER

_DISK = "48m"


@dataclass(frozen=True)
class SmallDisk:
    """An app whose workspace is a small disk of its own, seen from here at `folder`."""

    app: App
    folder: Path

    def fill(self) -> None:
        """Leave no byte free."""
        with (self.folder / "filler").open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    continue

    def free(self) -> None:
        """Make room again."""
        (self.folder / "filler").unlink()


@pytest.fixture
def small_disk(drawn: Drawn, tmp_path: Path) -> Iterator[SmallDisk]:
    """The app in a mount namespace of its own, its workspace on a small tmpfs; needs no rights beyond a user's."""
    drawn.event(tmp_path / "source", "full")
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["unshare", "-Urm", "mount", "-t", "tmpfs", "t", str(place)], capture_output=True).returncode:
        pytest.skip("this system lets no user mount a small disk in a namespace (unshare -Urm)")
    script = 'mount -t tmpfs -o size="$0" small "$1" && cp -r "$2"/. "$1" && shift 2 && exec "$@"'
    before = ["unshare", "-Urm", "sh", "-c", script, _DISK, str(place), str(tmp_path / "source")]
    with running_app(place, tmp_path / "log.txt", before=before) as app:
        yield SmallDisk(app, Path(f"/proc/{app.process.pid}/root{place}"))


def test_a_label_that_the_disk_cannot_take_waits_is_said_and_is_saved_by_itself_when_there_is_room(
    open_screen: Callable[..., Screen], small_disk: SmallDisk, drawn: Drawn
) -> None:
    screen = open_screen(small_disk.app.address)
    page = screen.page
    screen.open("full", "label")
    first = screen.wait_for_other_building(None)
    page.keyboard.press(GRADE_KEYS[drawn.truth[first]])
    second = screen.wait_for_other_building(first)
    screen.saved(1)
    screen.settle()

    small_disk.fill()
    page.keyboard.press(GRADE_KEYS[drawn.truth[second]])
    page.wait_for_selector(".wb-connection.away")
    assert "1 answer not saved yet" in screen.connection()
    assert "disk is full" in screen.connection()
    third = screen.wait_for_other_building(second)

    small_disk.free()
    screen.saved(2)
    screen.wait_until_saved()
    page.keyboard.press(GRADE_KEYS[drawn.truth[third]])
    screen.saved(3)
    assert _current(small_disk) == {each: drawn.truth[each] for each in (first, second, third)}


def _current(disk: SmallDisk) -> dict[str, str]:
    """What the labels are, from a copy: SQLite does not like two views of one file."""
    copy = disk.app.log.parent / "copy"
    subprocess.run(["cp", "-r", str(disk.folder / "full"), str(copy)], check=True)
    try:
        said = LabelStore(copy / "labels.sqlite").current()
        return dict(zip(said["building_id"], said["value"], strict=True))
    finally:
        subprocess.run(["rm", "-r", str(copy)], check=True)

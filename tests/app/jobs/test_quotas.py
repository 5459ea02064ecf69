"""What one person and all together may have on its way into the inbox, and how long a piece may take."""

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.api import uploads
from app.jobs import upload
from app.jobs.upload import TooLargeError, Upload, partials
from tests.app.jobs.test_inbox import KEY, put  # noqa: F401
from tests.app.town_app import Server, served


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(tmp_path))
    monkeypatch.setenv("DAMAGE_SSL_UPLOAD_GB", "0.000001")  # 1,000 bytes
    return tmp_path


@pytest.fixture
def server(workspace: Path) -> Iterator[Server]:
    with served() as running:
        yield running


def stopped(owner: str, count: int, size: int) -> None:
    """Uploads of somebody that stopped on their way."""
    for number in range(count):
        waiting = Upload(f"{owner or 'x'}{number}.tif", f"key{number:06d}", size, owner=owner)
        waiting.part.parent.mkdir(parents=True, exist_ok=True)
        waiting.part.write_bytes(b"x" * size)


def test_one_person_fills_no_disk_with_uploads_that_stop(workspace: Path) -> None:
    stopped("mallory", 4, 900)
    with pytest.raises(TooLargeError, match="4 uploads are on their way"):
        Upload("more.tif", KEY, 900, owner="mallory").check_room()
    Upload("more.tif", KEY, 900, owner="ana").check_room()


def test_all_together_fill_no_disk(workspace: Path) -> None:
    for name in ("a", "b", "c", "d"):
        stopped(name, 3, 950)
    with pytest.raises(TooLargeError, match="12 uploads"):
        Upload("more.tif", KEY, 900, owner="ana").check_room()


def test_small_files_are_counted_too(workspace: Path) -> None:
    stopped("", 50, 1)
    with pytest.raises(TooLargeError, match="50 uploads"):
        Upload("more.tif", KEY, 1).check_room()


def test_nobody_sees_or_goes_on_with_the_upload_of_another(workspace: Path) -> None:
    stopped("ana", 1, 10)
    assert [each.name for each in partials("ana")] == ["ana0.tif"] and partials("mallory") == partials("") == []
    upload.discard("ana0.tif", "key000000", "mallory")
    assert Upload("ana0.tif", "key000000", 10, owner="mallory").received == 0
    assert len(partials("ana")) == 1
    upload.discard("ana0.tif", "key000000", "ana")
    assert partials("ana") == []


def test_piece_that_does_not_arrive_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PIECE_S", 0.2)
    connection = http.client.HTTPConnection("localhost", server.port, timeout=20)
    connection.putrequest("PUT", f"/ds/-/uploads/a.tif?size=100&offset=0&key={KEY}")
    connection.putheader("Content-Type", "application/octet-stream")
    connection.putheader("Content-Length", "100")
    connection.endheaders()
    assert connection.getresponse().status == 408
    connection.close()

"""Uploads through a real socket: streamed, limited, resumable, and never outside the inbox."""

import contextlib
import http.client
import os
import shutil
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.jobs import inbox
from app.jobs import upload as upload_module
from damage_ssl.errors import InputError, StorageError, WorkspaceError
from tests.app.town_app import Answer, Server, repository, served
from tests.conftest import Town

TIFF = b"II*\0" + bytes(range(256)) * 40
KEY = "abcdef123456"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(tmp_path / "workspace"))
    (tmp_path / "workspace").mkdir()
    return tmp_path / "workspace"


@pytest.fixture
def server(workspace: Path) -> Iterator[Server]:
    with served() as running:
        yield running


def put(server: Server, name: str, data: bytes, *, size: int | None = None, offset: int = 0, **headers: str) -> Answer:
    size = len(data) if size is None else size
    path = f"/ds/-/uploads/{name}?size={size}&offset={offset}&key={KEY}"
    headers = {"Content-Type": "application/octet-stream"} | headers
    request = urllib.request.Request(f"http://localhost:{server.port}{path}", data=data, headers=headers, method="PUT")
    return server._ask(request)


def delete(server: Server, name: str) -> Answer:
    request = urllib.request.Request(
        f"http://localhost:{server.port}/ds/-/uploads/{name}?key={KEY}",
        headers={"Content-Type": "application/octet-stream"},
        method="DELETE",
    )
    return server._ask(request)


def leftovers(workspace: Path) -> list[str]:
    return sorted(str(path.relative_to(workspace)) for path in workspace.rglob("*") if path.is_file())


def test_whole_file_gets_its_name(server: Server, workspace: Path) -> None:
    answer = put(server, "pre.tif", TIFF)
    assert (answer.status, answer.json()["done"]) == (201, True)
    assert (workspace / "inbox/uploads/pre.tif").read_bytes() == TIFF
    assert leftovers(workspace) == ["inbox/uploads/pre.tif"]


def test_pieces_make_the_same_file(server: Server, workspace: Path) -> None:
    first = put(server, "pre.tif", TIFF[:5000], size=len(TIFF))
    assert (first.status, first.json()["received"]) == (200, 5000)
    assert inbox.inbox_files("imagery") == []
    assert server.get(f"/ds/-/uploads/pre.tif?key={KEY}").json()["received"] == 5000
    assert put(server, "pre.tif", TIFF[5000:], size=len(TIFF), offset=5000).status == 201
    assert (workspace / "inbox/uploads/pre.tif").read_bytes() == TIFF


def test_piece_at_the_wrong_place_is_refused_and_nothing_is_lost(server: Server, workspace: Path) -> None:
    put(server, "pre.tif", TIFF[:5000], size=len(TIFF))
    answer = put(server, "pre.tif", TIFF[6000:], size=len(TIFF), offset=6000)
    assert answer.status == 409
    assert server.get(f"/ds/-/uploads/pre.tif?key={KEY}").json()["received"] == 5000


def test_broken_connection_leaves_no_whole_file_and_can_be_gone_on_with(server: Server, workspace: Path) -> None:
    connection = http.client.HTTPConnection("localhost", server.port, timeout=20)
    connection.putrequest("PUT", f"/ds/-/uploads/pre.tif?size={len(TIFF)}&offset=0&key={KEY}")
    connection.putheader("Content-Type", "application/octet-stream")
    connection.putheader("Content-Length", str(len(TIFF)))
    connection.endheaders()
    connection.send(TIFF[:3000])
    connection.close()
    assert inbox.inbox_files("imagery") == []
    for _ in range(200):
        if not upload_module.Upload._busy:
            break
        subprocess.run(["sleep", "0.02"], check=True)
    received = server.get(f"/ds/-/uploads/pre.tif?key={KEY}").json()["received"]
    assert put(server, "pre.tif", TIFF[received:], size=len(TIFF), offset=received).status == 201
    assert (workspace / "inbox/uploads/pre.tif").read_bytes() == TIFF


def test_cancelled_upload_is_deleted(server: Server, workspace: Path) -> None:
    put(server, "pre.tif", TIFF[:5000], size=len(TIFF))
    assert [partial.received for partial in upload_module.partials()] == [5000]
    assert delete(server, "pre.tif").status == 204
    assert leftovers(workspace) == []


def test_deleting_takes_no_whole_file(server: Server, workspace: Path) -> None:
    put(server, "pre.tif", TIFF)
    assert delete(server, "pre.tif").status == 204
    assert leftovers(workspace) == ["inbox/uploads/pre.tif"]


def test_second_file_of_a_name_is_refused(server: Server, workspace: Path) -> None:
    put(server, "pre.tif", TIFF)
    answer = put(server, "pre.tif", TIFF + b"other")
    assert answer.status == 409 and "already" in answer.json()["error"]
    assert (workspace / "inbox/uploads/pre.tif").read_bytes() == TIFF


def test_file_above_the_limit_is_refused(server: Server, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(inbox.LIMIT_VARIABLE, "0.000005")
    answer = put(server, "pre.tif", TIFF)
    assert answer.status == 413 and inbox.LIMIT_VARIABLE in answer.json()["error"]
    assert leftovers(workspace) == []


@pytest.mark.parametrize("value", ["0", "-1", "much"])
def test_limit_that_is_no_number_names_the_setting(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(inbox.LIMIT_VARIABLE, value)
    with pytest.raises(InputError, match=inbox.LIMIT_VARIABLE):
        inbox.limit_bytes()


def test_more_bytes_than_announced_leave_nothing(server: Server, workspace: Path) -> None:
    assert put(server, "pre.tif", TIFF, size=100).status == 413
    assert leftovers(workspace) == []


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("pre.tif", b"%PDF-1.7 hello", "PDF"),
        ("pre.tif", b"<VRTDataset rasterXSize='1'>", "virtual raster"),
        ("b.geojson", b"<!doctype html>", "web page"),
        ("b.zip", b"II*\0....", "TIFF"),
        ("b.csv", b"<OGRVRTDataSource>", "virtual layer"),
    ],
)
def test_file_of_another_kind_is_refused_by_its_beginning(
    server: Server, workspace: Path, name: str, data: bytes, found: str
) -> None:
    answer = put(server, name, data)
    assert answer.status == 415 and found in answer.json()["error"]
    assert leftovers(workspace) == []


@pytest.mark.parametrize("name", ["page.html", "run.vrt", "tif", ".tif", "x.tif.exe", "a.shp"])
def test_other_endings_are_refused(server: Server, name: str) -> None:
    assert put(server, name, TIFF).status == 415


@pytest.mark.parametrize("name", ["..%2F..%2Fx.tif", "%2Fetc%2Fx.tif", "..%5C..%5Cx.tif", "..x.tif", "%00x.tif"])
def test_no_name_leads_out_of_the_inbox(server: Server, workspace: Path, name: str) -> None:
    put(server, name, TIFF)
    assert all(file.startswith("inbox/uploads/") for file in leftovers(workspace))
    assert not list(workspace.parent.glob("*.tif"))


def test_key_cannot_name_another_folder(server: Server, workspace: Path) -> None:
    request = urllib.request.Request(
        f"http://localhost:{server.port}/ds/-/uploads/x.tif?size=4&offset=0&key=../../../x",
        data=b"II*\0",
        headers={"Content-Type": "application/octet-stream"},
        method="PUT",
    )
    assert server._ask(request).status == 400
    assert leftovers(workspace) == []


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Content-Type": "text/plain"}],
)
def test_other_sites_cannot_upload(server: Server, workspace: Path, headers: dict[str, str]) -> None:
    assert put(server, "pre.tif", TIFF, **headers).status == 403
    assert leftovers(workspace) == []


def test_full_disk_is_refused_before_the_first_byte(
    server: Server, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=inbox._KEPT_FREE_BYTES + 100))
    answer = put(server, "pre.tif", TIFF)
    assert answer.status == 507 and "room" in answer.json()["error"]
    assert leftovers(workspace) == []


def test_disk_that_fills_up_on_the_way_leaves_nothing_half(tmp_path: Path) -> None:
    """In a process whose files may not pass 100 kB, which the system reports just as a full disk."""
    program = textwrap.dedent("""
        import resource, sys
        from app.jobs.upload import Upload
        from damage_ssl.errors import StorageError
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        upload = Upload("pre.tif", "abcdef123456", 300_000)
        try:
            with upload.piece(0) as piece:
                piece.write(b"II*\\0" + bytes(90_000))
                piece.write(bytes(90_000))
        except StorageError as error:
            print("refused:", error)
        print("left:", upload.part.exists(), upload.target.exists())
    """)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "DAMAGE_SSL_WORKSPACE": str(tmp_path)},
        cwd=repository(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "refused:" in done.stdout and "disk is full" in done.stdout
    assert "left: False False" in done.stdout


def test_two_windows_do_not_write_to_one_file(workspace: Path) -> None:
    upload = upload_module.Upload("pre.tif", KEY, len(TIFF))
    with (
        upload.piece(0),
        pytest.raises(upload_module.ConflictError, match="another window"),
        upload_module.Upload("pre.tif", KEY, len(TIFF)).piece(0),
    ):
        pass


def test_old_partial_uploads_are_cleared_away(workspace: Path) -> None:
    with upload_module.Upload("pre.tif", KEY, len(TIFF)).piece(0) as piece:
        piece.write(TIFF[:100])
    [part] = (workspace / "inbox/.partial").iterdir()
    os.utime(part, (0, 0))
    assert upload_module.partials() == []
    assert not part.exists()


def test_inbox_lists_sub_folders_and_only_what_fits(workspace: Path) -> None:
    for name in ("a/pre.tif", "b/c/post.TIF", "houses.geojson", "notes.docx", ".hidden/x.tif"):
        path = workspace / "inbox" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(TIFF)
    assert [file.name for file in inbox.inbox_files("imagery")] == ["a/pre.tif", "b/c/post.TIF"]
    assert [(file.name, file.size) for file in inbox.inbox_files("footprints")] == [("houses.geojson", len(TIFF))]


def test_links_that_lead_out_are_neither_listed_nor_taken(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.tif").write_bytes(TIFF)
    (workspace / "inbox").mkdir()
    (workspace / "inbox/link.tif").symlink_to(tmp_path / "secret.tif")
    (workspace / "inbox/folder").symlink_to(tmp_path)
    assert inbox.inbox_files("imagery") == []
    for name in ("link.tif", "folder/secret.tif", "../../secret.tif", str(tmp_path / "secret.tif"), "", "a\0.tif"):
        with pytest.raises(WorkspaceError, match="not a file of the inbox"):
            inbox.picked(name, "imagery")


def test_uploaded_file_is_deleted_unless_an_event_is_made_of_it(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    folder = town.workspace / "inbox" / "uploads"
    folder.mkdir(parents=True)
    for name in ("pre.tif", "spare.tif"):
        (folder / name).write_bytes(town.pre.read_bytes())
    town.create(pre=[folder / "pre.tif"])
    with pytest.raises(WorkspaceError, match="event 'town' is made of it"):
        inbox.delete_file("uploads/pre.tif")
    inbox.delete_file("uploads/spare.tif")
    assert [path.name for path in folder.iterdir()] == ["pre.tif"]
    for name in ("../town/collection.json", "uploads/../../town/collection.json", "uploads", str(town.pre)):
        with pytest.raises(WorkspaceError, match="not an uploaded file"):
            inbox.delete_file(name)
    assert (town.workspace / "town" / "collection.json").is_file()


def test_messages_name_files_without_the_servers_folders(workspace: Path) -> None:
    assert inbox.plain(f"{workspace}/inbox/uploads/pre.tif: has no CRS") == "uploads/pre.tif: has no CRS"


def test_memory_does_not_grow_with_the_file(server: Server, workspace: Path) -> None:
    """48 MB in one request: the server, in this process, holds a few of its chunks at a time."""
    import tracemalloc

    size = 48_000_000

    def body() -> Iterator[bytes]:
        yield TIFF
        sent = len(TIFF)
        while sent < size:
            piece = bytes(min(65536, size - sent))
            sent += len(piece)
            yield piece

    tracemalloc.start()
    try:
        connection = http.client.HTTPConnection("localhost", server.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(
                "PUT",
                f"/ds/-/uploads/big.tif?size={size}&offset=0&key={KEY}",
                body=body(),
                headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
            )
            assert connection.getresponse().status == 201
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12_000_000
    assert (workspace / "inbox/uploads/big.tif").stat().st_size == size


def test_storage_error_of_a_read_only_inbox_is_said(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match="cannot be written"), upload_module.Upload("a.tif", KEY, 10).piece(0):
        pass


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace on a real disk of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(disk))
    monkeypatch.setattr(inbox, "_KEPT_FREE_BYTES", 0)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def test_real_disk_that_something_else_fills_meanwhile_gives_507_and_keeps_nothing_half(small_disk: Path) -> None:
    with served() as server:
        begun = put(server, "pre.tif", TIFF + bytes(1_000_000), size=3_000_000)
        assert begun.status == 200
        (small_disk / "other.bin").write_bytes(bytes(2_900_000))
        received = begun.json()["received"]
        answer = put(server, "pre.tif", bytes(3_000_000 - received), size=3_000_000, offset=received)
        assert answer.status == 507
        assert leftovers(small_disk) == ["other.bin"]
        (small_disk / "other.bin").unlink()
        assert put(server, "pre.tif", TIFF).status == 201


def test_uploaded_json_says_nothing_of_rasters_beside_it() -> None:
    """`event.json`, or an item of a raster's name, would set dates and hazard of events that others make later."""
    assert inbox.safe_name("event.json") == "event.geojson"
    assert inbox.safe_name("../post_metadata.JSON") == "post_metadata.geojson"

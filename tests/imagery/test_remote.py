"""Rasters over the network, from a server of this computer: read, tried again, and named when they fail."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy

from damage_ssl.errors import InputError, SourceError
from damage_ssl.events.stac import read_scenes
from damage_ssl.imagery.chunks import read_chunk
from damage_ssl.imagery.inspection import inspect_scene
from damage_ssl.imagery.raster import close_rasters, from_raster
from damage_ssl.imagery.scene import Scene
from damage_ssl.settings import ReadSettings
from tests.conftest import Town, texture, write_tiff
from tests.web import DROP, Web, serve

QUICK = ReadSettings(tries=3, wait_s=0.01, connect_timeout_s=2, stall_timeout_s=2)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with serve(tmp_path) as server:
        yield server
    close_rasters()


def cog(path: Path, seed: int = 0, **options: str) -> Path:
    plain = write_tiff(path.with_name("plain.tif"), texture(seed, 512, 512))
    copy(str(plain), str(path), driver="COG", OVERVIEW_RESAMPLING="average", BLOCKSIZE="128", **options)
    return path


def inspect(href: str) -> Scene:
    return inspect_scene(href, scene_id="pre-x", role="pre", acquired=None, sensor=None, reading=QUICK)


def whole(scene: Scene, **ask: int) -> np.ndarray:
    return read_chunk(scene, (0, scene.width), (0, scene.height), reading=QUICK, **ask).pixels


def test_remote_pixels_are_the_local_ones(web: Web, tmp_path: Path) -> None:
    local, remote = inspect(str(cog(tmp_path / "a.tif"))), inspect(f"{web.url}/a.tif")
    assert remote.href == f"{web.url}/a.tif"
    assert remote.overviews == local.overviews != ()
    assert remote.extent.equals(local.extent)
    np.testing.assert_array_equal(whole(remote), whole(local))
    np.testing.assert_array_equal(whole(remote, reduction=2), whole(local, reduction=2))


def test_only_the_blocks_of_the_window_are_fetched(web: Web, tmp_path: Path) -> None:
    path = cog(tmp_path / "a.tif")
    scene = inspect(f"{web.url}/a.tif")
    close_rasters()
    web.requests.clear()
    read_chunk(scene, (200, 220), (200, 220), reading=QUICK)
    fetched = sum(int(b) - int(a) + 1 for _, _, span in web.requests if span for a, b in [span[6:].split("-")])
    assert fetched < path.stat().st_size / 2


def test_s3_buckets_are_read_by_s3_urls(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_S3_ENDPOINT": web.address,
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_NO_SIGN_REQUEST": "YES",
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "bucket" / "deep").mkdir(parents=True)
    local = inspect(str(cog(tmp_path / "bucket" / "deep" / "a.tif")))
    for href in ("s3://bucket/deep/a.tif", "/vsis3/bucket/deep/a.tif"):
        np.testing.assert_array_equal(whole(inspect(href)), whole(local))
    assert any(path == "/bucket/deep/a.tif" for _, path, _ in web.requests)
    with pytest.raises(InputError, match=r"s3://bucket/gone\.tif: the server has no such file \(HTTP 404\)"):
        inspect("s3://bucket/gone.tif")


@pytest.mark.parametrize("failure", [503, 500, 429, DROP])
def test_a_server_that_fails_twice_and_then_works_is_read(web: Web, tmp_path: Path, failure: int) -> None:
    cog(tmp_path / "a.tif")
    web.failures = [failure, failure]
    scene = inspect(f"{web.url}/a.tif")
    expected = whole(inspect(str(tmp_path / "a.tif")))
    close_rasters()
    web.failures = [failure, failure]
    np.testing.assert_array_equal(whole(scene), expected)
    assert web.failures == []


def test_a_server_that_dies_gives_a_source_error_after_the_tries(web: Web, tmp_path: Path) -> None:
    cog(tmp_path / "a.tif")
    scene = inspect(f"{web.url}/a.tif")
    close_rasters()
    web.requests.clear()
    web.always = 503
    with pytest.raises(SourceError, match=rf"^{web.url}/a\.tif: the server fails \(HTTP 503\).* try later"):
        whole(scene)
    assert 3 <= len(web.requests) <= 6, "tries are bounded"
    web.always = None
    assert (whole(scene)[..., 3] == 255).all(), "it serves again as soon as it works"


def test_a_source_that_is_down_costs_its_tries_only_once(web: Web, tmp_path: Path) -> None:
    cog(tmp_path / "a.tif")
    scene = inspect(f"{web.url}/a.tif")
    close_rasters()
    web.always = DROP
    asked = []
    for _ in range(3):
        web.requests.clear()
        with pytest.raises(SourceError):
            whole(scene)
        asked.append(len(web.requests))
    assert asked[1] == asked[2] < asked[0]
    web.always = None
    whole(scene)
    close_rasters()
    web.failures = [DROP, DROP]
    assert (whole(scene)[..., 3] == 255).all(), "after a success, all tries are there again"


def test_a_server_that_dies_while_the_file_is_open_gives_a_source_error(web: Web, tmp_path: Path) -> None:
    cog(tmp_path / "a.tif", COMPRESS="DEFLATE")
    scene = inspect(f"{web.url}/a.tif")
    close_rasters()
    read_chunk(scene, (0, 20), (0, 20), reading=QUICK)
    web.always = DROP
    with pytest.raises(SourceError, match=r"a\.tif: cannot be reached \("):
        whole(scene)


def test_a_server_that_stands_still_is_given_up(web: Web, tmp_path: Path) -> None:
    cog(tmp_path / "a.tif")
    web.wait_s = 4
    started = time.monotonic()
    with pytest.raises(InputError, match=r"a\.tif: cannot be reached \(Operation too slow"):
        from_raster(f"{web.url}/a.tif", lambda source: None, reading=ReadSettings(tries=1, stall_timeout_s=1))
    assert time.monotonic() - started < 8, "GDAL asks twice"


def test_waits_grow_between_tries(web: Web, tmp_path: Path) -> None:
    cog(tmp_path / "a.tif")
    web.always = DROP
    started = time.monotonic()
    with pytest.raises(InputError, match="cannot be reached"):
        from_raster(f"{web.url}/a.tif", lambda source: None, reading=ReadSettings(tries=3, wait_s=0.1))
    assert time.monotonic() - started >= 0.1 + 0.2


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, r"the server has no such file \(HTTP 404\); check the address, or download the file"),
        (403, r"the server refuses access \(HTTP 403\): a signed link may have expired, or credentials are missing"),
        (401, r"the server refuses access \(HTTP 401\)"),
    ],
)
def test_final_answers_are_not_asked_for_again(web: Web, tmp_path: Path, status: int, message: str) -> None:
    cog(tmp_path / "a.tif")
    web.always = status
    with pytest.raises(InputError, match=rf"^{web.url}/a\.tif: {message}"):
        inspect(f"{web.url}/a.tif")
    assert len(web.requests) <= 2


def test_without_network_the_message_says_what_to_do() -> None:
    with pytest.raises(InputError, match=r"^http://127\.0\.0\.1:9/a\.tif: cannot be reached .*online\?.* or download"):
        inspect("http://127.0.0.1:9/a.tif")


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.97])
@pytest.mark.parametrize("compress", ["NONE", "DEFLATE"])
def test_a_truncated_remote_file_is_found_at_once(web: Web, tmp_path: Path, compress: str, kept: float) -> None:
    path = cog(tmp_path / "a.tif", COMPRESS=compress)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match=r"a\.tif: .*truncated"):
        inspect(f"{web.url}/a.tif")


def test_a_page_in_place_of_an_image_is_no_raster(web: Web, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("<html>please log in</html>" * 2000)
    with pytest.raises(InputError, match=r"a\.tif: cannot be read as a raster"):
        inspect(f"{web.url}/a.tif")


def test_signatures_and_passwords_stay_out_of_messages_and_names(web: Web, tmp_path: Path, town: Town) -> None:
    secret = "X-Sig=5ecre7/Key.tif"
    for failing in (404, 503, DROP):
        web.always = failing
        with pytest.raises(InputError) as caught:
            inspect(f"{web.url}/in/pre.tif?{secret}")
        assert "5ecre7" not in str(caught.value)
        assert f"{web.url}/in/pre.tif:" in str(caught.value)
    with pytest.raises(InputError) as caught:
        inspect("http://user:5ecre7@127.0.0.1:9/a.tif")
    assert "5ecre7" not in str(caught.value)
    web.always = None
    event = town.create(pre=[f"{web.url}/in/pre.tif?{secret}"])
    (scene,) = event.scenes("pre")
    assert scene.scene_id == "pre-pre"
    assert scene.href.endswith(secret), "without it, the scene could not be read later"
    assert scene.shown_href == f"{web.url}/in/pre.tif"
    assert [path.name for path in event.path.rglob("*") if "5ecre7" in path.name] == []
    text = (event.path / "collection.json").read_text()
    assert "5ecre7" not in text


def test_a_remote_mask_beside_the_file_is_refused_not_ignored(web: Web, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", texture(0))
    valid = np.ones((240, 240), dtype=bool)
    valid[:50] = False
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as out:
        out.write_mask(valid)
    assert (tmp_path / "a.tif.msk").exists()
    with pytest.raises(InputError, match=r"a\.tif: its mask lies in a file beside it"):
        inspect(f"{web.url}/a.tif")
    assert (whole(inspect(str(path)))[:50] == 0).all(), "on disk it is used"
    for failure in (503, DROP):
        close_rasters()
        web.only = {"/a.tif.msk": failure}
        with pytest.raises(InputError, match=r"a\.tif\.msk: (the server fails|cannot be reached)"):
            inspect(f"{web.url}/a.tif")
    web.only = {"/a.tif.msk": 403}  # what S3 says of keys that are not there
    assert inspect(f"{web.url}/a.tif").width == 240


def test_a_local_vrt_of_remote_files_and_a_remote_vrt_are_read(web: Web, tmp_path: Path) -> None:
    local = inspect(str(cog(tmp_path / "a.tif")))
    copy(f"/vsicurl/{web.url}/a.tif", str(tmp_path / "over.vrt"), driver="VRT")
    assert web.url in (tmp_path / "over.vrt").read_text()
    np.testing.assert_array_equal(whole(inspect(str(tmp_path / "over.vrt"))), whole(local))
    copy(str(tmp_path / "a.tif"), str(tmp_path / "beside.vrt"), driver="VRT")
    assert 'relativeToVRT="1">a.tif' in (tmp_path / "beside.vrt").read_text()
    np.testing.assert_array_equal(whole(inspect(f"{web.url}/beside.vrt")), whole(local))


def test_an_event_over_the_network_names_the_first_bad_scene(town: Town, web: Web) -> None:
    for number in range(12):
        write_tiff(web.root / "in" / f"s{number:02d}.tif", texture(number))
    names = [f"{web.url}/in/s{number:02d}.tif" for number in range(12)]
    event = town.create(pre=names)
    assert [scene.href for scene in read_scenes(event.path) if scene.role == "pre"] == names
    broken = [*names[:3], f"{web.url}/in/gone-a.tif", *names[3:8], f"{web.url}/in/gone-b.tif"]
    with pytest.raises(InputError, match=r"gone-a\.tif: the server has no such file"):
        town.create("other", pre=broken)
    assert not (town.workspace / "other").exists()

from pathlib import Path

import numpy as np
import pytest
from rasterio.shutil import copy

from damage_ssl.errors import InputError
from damage_ssl.events.inputs import expand_rasters, read_notes
from damage_ssl.imagery.chunks import read_chunk
from damage_ssl.imagery.href import gdal_path, is_remote, raster_stem, raster_suffix, shown_href, without_secrets
from damage_ssl.imagery.inspection import inspect_scene
from damage_ssl.imagery.scene import Scene
from tests.conftest import texture, write_tiff


@pytest.mark.parametrize(
    ("href", "path", "remote", "shown", "stem", "suffix"),
    [
        ("/data/a b.tif", "/data/a b.tif", False, "/data/a b.tif", "a b", ".tif"),
        ("http://h.org/x/a.tif", "/vsicurl/http://h.org/x/a.tif", True, "http://h.org/x/a.tif", "a", ".tif"),
        (
            "https://me:pw@h.org/a.TIF?sig=b/c.d",
            "/vsicurl/https://me:pw@h.org/a.TIF?sig=b/c.d",
            True,
            "https://h.org/a.TIF",
            "a",
            ".tif",
        ),
        ("s3://bucket/a.b.tif", "/vsis3/bucket/a.b.tif", True, "s3://bucket/a.b.tif", "a.b", ".tif"),
        ("/vsis3/bucket/a.tif", "/vsis3/bucket/a.tif", True, "/vsis3/bucket/a.tif", "a", ".tif"),
        ("/vsicurl/https://h/a.tif?t=1", "/vsicurl/https://h/a.tif?t=1", True, "/vsicurl/https://h/a.tif", "a", ".tif"),
        ("/vsizip//vsicurl/https://h/z.zip/a.tif", "/vsizip//vsicurl/https://h/z.zip/a.tif", True, None, "a", ".tif"),
        ("gs://b/a.tif", "/vsigs/b/a.tif", True, "gs://b/a.tif", "a", ".tif"),
        ("https://h.org/tiles/", "/vsicurl/https://h.org/tiles/", True, "https://h.org/tiles/", "tiles", ""),
    ],
)
def test_names_of_a_raster(href: str, path: str, remote: bool, shown: str | None, stem: str, suffix: str) -> None:
    assert gdal_path(href) == path
    assert is_remote(href) is remote
    assert shown_href(href) == (shown or href)
    assert raster_stem(href) == stem
    assert raster_suffix(href) == suffix


def test_secrets_are_taken_out_of_any_text() -> None:
    text = "`/vsicurl/https://u:p@h.org/a.tif?sig=abc' failed, then http://h.org/b.tif?x=1&y=2 too (why?)"
    assert without_secrets(text) == "`/vsicurl/https://h.org/a.tif' failed, then http://h.org/b.tif too (why?)"


@pytest.mark.parametrize(
    "href",
    [
        "HTTPS://me:SECRET@h.org/a.tif?sig=SECRET",
        "https://h.org/my file.tif?sig=SECRET",
        "https://h.org/it's here.tif?sv=1&sig=SECRET",
        "az://container/a.tif?sv=1&sig=SECRET",
        "s3://bucket/a.tif?X-Amz-Signature=SECRET",
        "/vsiaz/container/a.tif?sig=SECRET",
        "/vsicurl?pc_url_signing=no&url=https%3A%2F%2Fh.org%2Fa.tif%3Fsig%3DSECRET",
        "/vsicurl?header.Authorization=Bearer%20SECRET&url=https://h.org/a.tif",
    ],
)
def test_no_form_of_address_shows_its_secret(href: str) -> None:
    assert "SECRET" not in shown_href(href)
    assert "SECRET" not in without_secrets(f"'{href}' failed: {href}, twice")
    assert "SECRET" not in raster_stem(href)


def test_local_name_with_a_question_mark_is_shown_whole() -> None:
    assert shown_href("/data/where?=here.tif") == "/data/where?=here.tif"


def test_hidden_files_of_a_folder_are_no_rasters(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", texture(1))
    (tmp_path / "._a.tif").write_bytes(b"what macOS leaves behind")
    assert expand_rasters([tmp_path], "pre") == [str(tmp_path / "a.tif")]


@pytest.mark.parametrize("text", ["{", "[1]", '{"scenes": [3]}', '{"scenes": ["a"]}'])
def test_broken_notes_beside_the_rasters_are_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text(text)
    with pytest.raises(InputError, match=r"event\.json: notes on the imagery cannot be read"):
        read_notes([str(tmp_path / "a.tif")])


def test_urls_and_virtual_paths_stay_as_they_are(tmp_path: Path) -> None:
    given = ["https://h.org/b.tif", "s3://bucket/a.tif", "/vsicurl/https://h.org/c.tif?sig=1*2", "https://h.org/b.tif"]
    assert expand_rasters(given, "pre") == given[:3]


def test_file_urls_are_paths(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a b.tif", texture(0))
    assert expand_rasters([path.as_uri()], "pre") == [str(path)]
    with pytest.raises(InputError, match=r"--pre /nowhere/x\.tif: no such file or folder"):
        expand_rasters(["file:///nowhere/x.tif"], "pre")


@pytest.mark.parametrize("given", ["https://h.org/tiles/", "s3://bucket/*.tif", "https://h.org/tiles/?sig=5ecre7"])
def test_folders_over_the_network_are_refused(given: str) -> None:
    with pytest.raises(InputError, match=r"--post .*cannot be listed; give each raster's own URL") as caught:
        expand_rasters([given], "post")
    assert "5ecre7" not in str(caught.value)


def test_folder_of_vrts_finds_their_relative_sources_also_through_a_link(tmp_path: Path) -> None:
    pixels = texture(3)
    tiff = write_tiff(tmp_path / "data" / "a.tif", pixels)
    (tmp_path / "mosaics").mkdir()
    vrt = tmp_path / "mosaics" / "m.vrt"
    copy(str(tiff), str(vrt), driver="VRT")
    absolute = f'relativeToVRT="0">{tiff}'
    assert absolute in vrt.read_text()
    vrt.write_text(vrt.read_text().replace(absolute, 'relativeToVRT="1">../data/a.tif'))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link.vrt").symlink_to(tmp_path / "mosaics" / "m.vrt")
    for given in (tmp_path / "mosaics", tmp_path / "elsewhere" / "link.vrt", tmp_path / "m*" / "*.vrt"):
        (href,) = expand_rasters([given], "pre")
        chunk = read_chunk(inspect(href), (0, 240), (0, 240))
        np.testing.assert_array_equal(chunk.pixels[..., :3].transpose(2, 0, 1), pixels)


def test_vrt_of_a_missing_or_truncated_source_is_named(tmp_path: Path) -> None:
    tiff = write_tiff(tmp_path / "a.tif", texture(3, 600, 600))
    copy(str(tiff), str(tmp_path / "m.vrt"), driver="VRT")
    content = tiff.read_bytes()
    tiff.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"a\.tif: .*truncated"):
        inspect(str(tmp_path / "m.vrt"))
    tiff.unlink()
    with pytest.raises(InputError, match=r"m\.vrt: a file that it is made of, .*a\.tif, is not there"):
        inspect(str(tmp_path / "m.vrt"))


def test_notes_are_looked_for_beside_local_rasters_only(tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text('{"hazard": "flood"}')
    assert read_notes([str(tmp_path / "a.tif"), "https://h.org/a.tif"]).hazard == "flood"
    assert read_notes(["https://h.org/x/a.tif"]).hazard is None


def inspect(href: str) -> Scene:
    return inspect_scene(href, scene_id="pre-x", role="pre", acquired=None, sensor=None)

"""The real events, end to end: every footprint once, the right pixels, black parts left out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from damage_ssl.events.event import Event
from damage_ssl.patches.store import PatchStore
from damage_ssl.settings import PatchSettings
from damage_ssl.workflow import cut_patches

pytestmark = pytest.mark.real_data


def cut(workspace: Path, folder: Path) -> tuple[Event, PatchStore]:
    event = Event.create(
        workspace, folder.name, pre=[folder / "pre"], post=[folder / "post"], footprints=folder / "footprints.geojson"
    )
    return event, cut_patches(event, PatchSettings())


@pytest.mark.long
def test_santa_rosa_is_cut_whole(real_event: Callable[[str], Path], tmp_path: Path) -> None:
    folder = real_event("santa-rosa-wildfire")
    event, store = cut(tmp_path, folder)
    assert event.hazard == "fire"
    index = store.index()
    assert len(index) == 2849
    assert index["building_id"].is_unique
    assert index["assessed"].sum() > 2800
    pairs = store.load()
    assert (pairs.close.footprint.sum(axis=(1, 2)) > 0).all()
    # Nothing black is passed off as imagery: a valid patch has light in it.
    dark = [
        int(view[valid > 0].max()) for view, valid in zip(pairs.close.pre.max(axis=1), pairs.close.valid, strict=True)
    ]
    assert min(dark) > 40


def test_black_part_of_a_scene_has_no_valid_pixels_with_or_without_its_mask(
    real_event: Callable[[str], Path], tmp_path: Path
) -> None:
    from damage_ssl.imagery.chunks import read_chunk
    from damage_ssl.imagery.inspection import inspect_scene

    source = real_event("santa-rosa-wildfire") / "post" / "santa-rosa-wildfire_00000082.tif"
    with rasterio.open(source) as scene:
        masked = scene.dataset_mask() == 0
        profile = scene.profile | {"compress": "deflate", "photometric": "rgb"}
        pixels = scene.read()
    assert 0.6 < masked.mean() < 0.8
    bare = tmp_path / "bare.tif"
    with rasterio.open(bare, "w", **profile) as out:
        out.write(pixels)
    for path in (source, bare):
        described = inspect_scene(str(path), scene_id="post-x", role="post", acquired=None, sensor=None)
        invalid = read_chunk(described, (0, 1024), (0, 1024)).pixels[..., 3] == 0
        assert (invalid != masked).mean() < 0.005, path.name


@pytest.mark.long
def test_joplin_in_two_crs_has_all_footprints_and_looks_at_the_roofs(
    real_event: Callable[[str], Path], tmp_path: Path
) -> None:
    event, store = cut(tmp_path, real_event("joplin-tornado-mixed-crs"))
    index = store.index()
    assert sorted(index["building_id"]) == sorted(event.footprints()["building_id"])
    assert len(index) == 2823
    assert index["building_id"].is_unique
    assert index["assessed"].sum() > 300
    assert set(index["not_assessed_reason"]) <= {None, "no_pre", "no_post", "edge", "nodata", "too_small"}
    # Streets, kerbs and what still stands match between NAIP and the aerial tiles within the search range where the
    # match is good at all; a wrong CRS or axis order would leave nothing to match.
    good = index[index["align_score"] > 0.4]
    assert len(good) > 20
    assert np.hypot(good["shift_x_m"], good["shift_y_m"]).median() < 3


@pytest.mark.parametrize(
    ("name", "count"), [("hurricane-harvey", 332), ("hurricane-florence", 239), ("mexico-earthquake", 424)]
)
def test_other_events_have_every_footprint_once(
    real_event: Callable[[str], Path], tmp_path: Path, name: str, count: int
) -> None:
    _, store = cut(tmp_path, real_event(name))
    index = store.index()
    assert len(index) == count
    assert index["building_id"].is_unique
    assert index["assessed"].mean() > 0.9
    assert (index["not_assessed_reason"].notna() == ~index["assessed"]).all()

"""Which scene of a date a building is cut from, where one of them is under a cloud."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from damage_ssl.events.event import Event
from damage_ssl.patches.store import PatchStore
from damage_ssl.settings import PatchSettings
from damage_ssl.workflow import cut_patches
from tests.conftest import SIDE_PX, Town, texture, write_tiff

SMALL = PatchSettings(size_px=32, align="off")


def ground(seed: int) -> NDArray[np.uint8]:
    """The town's ground with shadows in it, so that a cloud has something to lift; another light each day."""
    return np.asarray(np.clip(texture(1) * 1.4 - 80 + seed, 5, 255), dtype=np.uint8)


def clouded(pixels: NDArray[np.uint8], columns: slice = slice(0, 115)) -> NDArray[np.uint8]:
    """A white veil, nearly opaque, over these columns."""
    out = pixels.astype(float)
    out[:, :, columns] = 0.05 * out[:, :, columns] + 0.95 * 235
    return out.astype(np.uint8)


def cut(town: Town, tmp_path: Path, posts: dict[str, NDArray[np.uint8]], **settings: Any) -> Any:
    write_tiff(town.pre, ground(0))
    for name, pixels in posts.items():
        write_tiff(tmp_path / "post" / f"{name}.tif", pixels)
    event = town.create(post=[tmp_path / "post"], pre_datetime="2017-10-01")
    return cut_patches(event, SMALL.replace(**settings)).index().set_index("building_id")


WEST, EAST = ["b00", "b01", "b04", "b05"], ["b02", "b03", "b06", "b07"]


def test_clear_scene_goes_before_a_clouded_one_that_is_nearer_in_date(town: Town, tmp_path: Path) -> None:
    days = {"first_20171002": clouded(ground(4)), "second_20171004": ground(8)}
    alone = cut(town, tmp_path, {"first_20171002": days["first_20171002"]})
    assert set(alone.loc[WEST, "not_assessed_reason"]) == {"cloud_or_smoke"}
    town.workspace.rename(tmp_path / "alone")
    both = cut(town, tmp_path, days)
    assert both["assessed"].all()
    assert set(both.loc[WEST, "post_image_id"]) == {"post-second_20171004"}
    assert set(both.loc[EAST, "post_image_id"]) == {"post-first_20171002"}, "both show them: the nearer date, as ever"


def test_of_two_clouded_scenes_none_is_made_clear(town: Town, tmp_path: Path) -> None:
    index = cut(town, tmp_path, {"a_20171002": clouded(ground(4)), "b_20171004": clouded(ground(8))})
    assert set(index.loc[WEST, "not_assessed_reason"]) == {"cloud_or_smoke"}
    assert set(index.loc[EAST, "post_image_id"]) == {"post-a_20171002"}


@pytest.mark.parametrize(("max_cloud", "chosen"), [(1.0, "post-a_20171002"), (0.3, "post-b_20171004")])
def test_settings_say_from_when_a_veil_counts(town: Town, tmp_path: Path, max_cloud: float, chosen: str) -> None:
    index = cut(town, tmp_path, {"a_20171002": clouded(ground(4)), "b_20171004": ground(8)}, max_cloud=max_cloud)
    assert set(index.loc[WEST, "post_image_id"]) == {chosen}


def test_clear_corner_does_not_go_before_a_whole_clouded_building(town: Town, tmp_path: Path) -> None:
    rest = ground(8)
    rest[:, :, : SIDE_PX - 40] = 0  # no data but for a strip in the east
    index = cut(town, tmp_path, {"a_20171002": clouded(ground(4)), "b_20171004": rest})
    assert set(index.loc[WEST, "post_image_id"]) == {"post-a_20171002"}


def test_latest_scene_is_taken_where_that_is_asked_for(town: Town, tmp_path: Path) -> None:
    days = {"first_20171002": ground(4), "second_20171004": ground(8), "third_20171006": clouded(ground(2))}
    index = cut(town, tmp_path, days, post_scene="latest")
    assert set(index.loc[WEST, "post_image_id"]) == {"post-second_20171004"}, "but not a clouded one"
    assert set(index.loc[EAST, "post_image_id"]) == {"post-third_20171006"}
    event = Event.open(town.workspace, "town")
    kept = PatchStore.open(event.patches_path).fingerprint
    assert cut_patches(event).fingerprint == kept, "the choice is kept"
    assert set(cut_patches(event, SMALL).index()["post_image_id"]) == {"post-first_20171002"}


def test_scenes_are_registered_as_they_are_chosen(town: Town, tmp_path: Path) -> None:
    days = {"first_20171002": clouded(ground(4)), "second_20171004": ground(8)}
    cut(town, tmp_path, days, align="building", post_scene="latest")
    folder = town.workspace / "town"
    registered = pd.read_parquet(folder / "registration.parquet")
    assert set(registered["registered_post_image"]) == {"post-second_20171004"}


def test_default_choice_leaves_fingerprints_as_they_were() -> None:
    assert PatchSettings().scene_choice == {}
    assert PatchSettings(post_scene="latest").scene_choice == {"post_scene": "latest"}

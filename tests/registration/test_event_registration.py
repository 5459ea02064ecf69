"""Registration of small drawn events, whose shifts are known because they were put in."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine

from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.events.event import Event
from damage_ssl.registration.event_registration import REGISTRATION_COLUMNS
from damage_ssl.registration.manual_shift import ManualShift, read_manual_shifts, set_manual_shift
from damage_ssl.registration.shift_matching import lattice_windows
from damage_ssl.settings import PatchSettings, Resources
from damage_ssl.workflow import register_event
from tests.conftest import CORNER_X, CORNER_Y, GSD_M, square, texture, write_polygons, write_tiff

SIDE_PX = 640
CENTRES = [(column, row) for row in range(60, 600, 60) for column in range(60, 600, 60)]


def scene(seed: int) -> np.ndarray:
    """Smooth colours, and a bright or dark roof on every footprint."""
    rng = np.random.default_rng(seed)
    pixels = texture(seed, SIDE_PX, SIDE_PX).astype(float) * 0.4 + 70
    for column, row in CENTRES:
        half = 10
        pixels[:, row - half : row + half, column - half : column + half] += rng.choice([-55, 55])
    return np.clip(pixels, 1, 255).astype(np.uint8)


def make(
    folder: Path,
    *,
    post_m: tuple[float, float] = (0.0, 0.0),
    footprints_m: tuple[float, float] = (0.0, 0.0),
    post: np.ndarray | None = None,
    overwrite: bool = False,
) -> Event:
    """An event whose post image and footprints lie this far (metres east, north) from where they belong."""
    pre = scene(1)
    corner = Affine(GSD_M, 0, CORNER_X + post_m[0], 0, -GSD_M, CORNER_Y + post_m[1])
    shift = np.array(footprints_m) / GSD_M
    return Event.create(
        folder / "workspace",
        "town",
        pre=[write_tiff(folder / "pre.tif", pre)],
        post=[write_tiff(folder / "post.tif", pre if post is None else post, transform=corner)],
        footprints=write_polygons(
            folder / "footprints.geojson",
            [square(column + shift[0], row - shift[1]) for column, row in CENTRES],
            building_id=[f"b{number:02d}" for number in range(len(CENTRES))],
        ),
        overwrite=overwrite,
    )


def kept_shifts(event: Event) -> dict[str, ManualShift]:
    pre, post = event.pre_and_post()
    return read_manual_shifts(event, pre + post)


def shifts(table: pd.DataFrame, prefix: str = "") -> np.ndarray:
    return table[[f"{prefix}shift_x_m", f"{prefix}shift_y_m"]].to_numpy(dtype=float)


def test_shifts_of_post_and_of_footprints_are_found_together(tmp_path: Path) -> None:
    event = make(tmp_path, post_m=(5.5, -3.0), footprints_m=(-4.0, 2.0))
    table = register_event(event, PatchSettings()).table
    assert list(table.columns) == list(REGISTRATION_COLUMNS)
    assert table["building_id"].tolist() == event.footprints()["building_id"].tolist()
    assert np.median(np.hypot(*(shifts(table) - (5.5, -3.0)).T)) < 0.15
    assert np.median(np.hypot(*(shifts(table, "footprint_") - (4.0, -2.0)).T)) < 0.15
    assert not table["misaligned"].any()
    assert set(table["shift_source"]) <= {"own", "neighbours", "scene"}
    assert table["align_score"].between(0, 1).all()


def test_an_event_that_is_aligned_stays_so(tmp_path: Path) -> None:
    table = register_event(make(tmp_path), PatchSettings()).table
    assert np.abs(shifts(table)).max() < 0.25
    assert np.median(np.abs(shifts(table, "footprint_"))) < 0.1


@pytest.mark.parametrize(
    "post",
    [np.full((3, SIDE_PX, SIDE_PX), 120, np.uint8), *(texture(seed, SIDE_PX, SIDE_PX) for seed in (9, 10, 11))],
    ids=["flat", "9", "10", "11"],
)
def test_post_imagery_that_matches_nowhere_moves_nothing_and_keeps_its_buildings(
    tmp_path: Path, post: np.ndarray
) -> None:
    table = register_event(make(tmp_path, post=post), PatchSettings()).table
    assert (table["shift_source"] == "none").mean() > 0.95
    assert np.median(np.abs(shifts(table))) == 0
    assert table["misaligned"].mean() < 0.05


def test_a_burnt_quarter_borrows_from_its_neighbours(tmp_path: Path) -> None:
    post = scene(1)
    post[:, 220:420, 220:420] = texture(5, 200, 200)
    table = register_event(make(tmp_path, post=post, post_m=(3.0, 3.0)), PatchSettings()).table
    burnt = np.array([220 < column < 420 and 220 < row < 420 for column, row in CENTRES])
    assert np.median(np.hypot(*(shifts(table)[burnt] - 3.0).T)) < 0.3
    assert (table["shift_source"][burnt] == "neighbours").mean() > 0.6
    assert not table["misaligned"][burnt].any()


def test_shift_beyond_the_reach_is_never_applied(tmp_path: Path) -> None:
    settings = PatchSettings(align_reach_m=4.0)
    table = register_event(make(tmp_path, post_m=(6.0, 0.0)), settings).table
    assert np.hypot(*shifts(table).T).max() <= 4.0
    assert table["misaligned"].mean() > 0.9


def test_per_scene_every_building_gets_the_scenes_shift(tmp_path: Path) -> None:
    table = register_event(make(tmp_path, post_m=(2.0, 1.0)), PatchSettings(align="scene")).table
    assert set(table["shift_source"]) == {"scene"}
    np.testing.assert_allclose(shifts(table), np.tile([2.0, 1.0], (len(table), 1)), atol=0.2)


def test_switched_off_nothing_is_read_or_moved(tmp_path: Path) -> None:
    event = make(tmp_path, post_m=(2.0, 1.0))
    (tmp_path / "post.tif").unlink()
    table = register_event(event, PatchSettings(align="off")).table
    assert (shifts(table) == 0).all()
    assert not table["misaligned"].any()


def test_registration_is_kept_until_something_changes(tmp_path: Path) -> None:
    event = make(tmp_path, post_m=(2.0, 1.0))
    told: list[tuple[int, int]] = []
    first = register_event(event, PatchSettings(), progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > len(CENTRES)
    told.clear()
    again = register_event(event, PatchSettings(), progress=lambda done, total: told.append((done, total)))
    assert told == []
    assert again.fingerprint == first.fingerprint
    pd.testing.assert_frame_equal(again.table, first.table)
    moved = make(tmp_path, post_m=(-3.0, 0.0), overwrite=True)
    assert np.median(shifts(register_event(moved, PatchSettings()).table)[:, 0]) == pytest.approx(-3.0, abs=0.2)


def test_where_footprints_are_drawn_does_not_change_what_the_dates_say_of_each_other(tmp_path: Path) -> None:
    drawn_well = register_event(make(tmp_path, post_m=(2.0, 1.0)), PatchSettings()).table
    drawn_badly = make(tmp_path, post_m=(2.0, 1.0), footprints_m=(6.0, -3.0), overwrite=True)
    np.testing.assert_allclose(shifts(register_event(drawn_badly, PatchSettings()).table), shifts(drawn_well), atol=0.1)


def test_lattice_is_fixed_to_the_ground_and_bounded_in_density() -> None:
    rng = np.random.default_rng(0)
    lon, lat = 11.0 + rng.uniform(0, 0.004, 5000), 48.0 + rng.uniform(0, 0.004, 5000)
    dense = lattice_windows(lon, lat, 32.0)
    few = lattice_windows(lon[:50], lat[:50], 32.0)
    assert len(dense) < 200
    assert set(few.geometry.to_wkb()) <= set(dense.geometry.to_wkb())
    held = shapely.STRtree(dense.geometry.to_numpy()).query(shapely.points(lon, lat), predicate="within")
    assert len(np.unique(held[0])) == 5000
    around = lattice_windows(lon[:1], lat[:1], 32.0, corners=True)
    assert len(around) == 4
    inside = shapely.MultiPoint(shapely.centroid(around.geometry.to_numpy())).envelope
    assert shapely.within(shapely.points(lon[0], lat[0]), inside)


def test_broken_cache_is_measured_again(tmp_path: Path) -> None:
    event = make(tmp_path)
    first = register_event(event, PatchSettings()).table
    (event.path / "registration.parquet").write_bytes(b"PAR1 torn")
    pd.testing.assert_frame_equal(register_event(event, PatchSettings()).table, first)


@pytest.mark.long
def test_two_processes_give_the_same_registration(tmp_path: Path) -> None:
    event = make(tmp_path, post_m=(2.0, 1.0))
    alone = register_event(event, PatchSettings()).table
    (event.path / "registration.parquet").unlink()
    together = register_event(event, PatchSettings(), resources=Resources(workers=2)).table
    pd.testing.assert_frame_equal(alone, together)


def test_nudge_overrides_what_was_measured_until_it_is_taken_back(tmp_path: Path) -> None:
    event = make(tmp_path, post_m=(2.0, 1.0))
    set_manual_shift(event, "post-post", ManualShift(-7.0, 20.0))
    set_manual_shift(event, "pre-pre", ManualShift(0.5, 0.0))
    table = register_event(event, PatchSettings()).table
    assert set(table["shift_source"]) == {"nudge"}
    assert (shifts(table) == (-7.0, 20.0)).all()
    assert (shifts(table, "footprint_") == (0.5, 0.0)).all()
    assert not table["misaligned"].any()
    set_manual_shift(event, "post-post", None)
    assert np.median(shifts(register_event(event, PatchSettings()).table)[:, 0]) == pytest.approx(2.0, abs=0.2)


def test_nudges_of_both_dates_stay_apart_where_nothing_is_measured(tmp_path: Path) -> None:
    event = make(tmp_path)
    set_manual_shift(event, "pre-pre", ManualShift(2.5, -1.5))
    set_manual_shift(event, "post-post", ManualShift(0.5, 4.0))
    table = register_event(event, PatchSettings(align="off")).table
    assert (shifts(table, "footprint_") == (2.5, -1.5)).all()
    assert (shifts(table) == (0.5, 4.0)).all()


def test_nudge_of_a_raster_that_was_replaced_is_forgotten(tmp_path: Path) -> None:
    event = make(tmp_path)
    set_manual_shift(event, "post-post", ManualShift(1.0, 0.0))
    elsewhere = write_tiff(tmp_path / "other" / "post.tif", scene(1))
    footprints = tmp_path / "footprints.geojson"
    event = Event.create(
        event.path.parent, "town", pre=[tmp_path / "pre.tif"], post=[elsewhere], footprints=footprints, overwrite=True
    )
    assert kept_shifts(event) == {}


@pytest.mark.parametrize(
    ("scene_id", "nudge", "said"),
    [
        ("post-psot", ManualShift(1, 1), "did you mean 'post-post'"),
        ("post-post", ManualShift(float("nan"), 0), "out of range"),
    ],
)
def test_impossible_nudge_is_refused_and_nothing_kept(
    tmp_path: Path, scene_id: str, nudge: ManualShift, said: str
) -> None:
    event = make(tmp_path)
    with pytest.raises(InputError, match=said):
        set_manual_shift(event, scene_id, nudge)
    assert kept_shifts(event) == {}


def test_broken_file_of_nudges_says_what_to_do(tmp_path: Path) -> None:
    event = make(tmp_path)
    (event.path / "nudges.json").write_text('{"post-post": {"east_m": "far"}}')
    with pytest.raises(WorkspaceError, match="delete it and set them again"):
        register_event(event, PatchSettings())


def test_buildings_without_post_imagery_have_no_shift_and_are_not_called_misaligned(tmp_path: Path) -> None:
    table = register_event(make(tmp_path, post=scene(1)[:, :, :400], post_m=(2.0, 1.0)), PatchSettings()).table
    outside = np.array([column > 440 for column, _ in CENTRES])
    assert table["registered_post_image"][outside].isna().all()
    assert set(table["shift_source"][outside]) == {"none"}
    assert (shifts(table)[outside] == 0).all()
    assert not table["misaligned"].any()
    assert np.median(shifts(table)[~outside, 0]) == pytest.approx(2.0, abs=0.2)

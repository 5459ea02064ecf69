import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from damage_ssl.cli.commands import cli
from damage_ssl.detection.damage import (
    DAMAGED,
    INTACT,
    UNLABELLED,
    TwoDates,
    damage_tiles,
    damaged_shares,
    train_damage,
)
from damage_ssl.detection.placing import PlacedFootprints
from damage_ssl.detection.settings import DetectionSettings, DetectionTraining
from damage_ssl.errors import InputError, LabelsError
from damage_ssl.event.catalog import Event
from damage_ssl.simulation import SimulationSettings, simulate
from tests.conftest import UTM, square, texture
from tests.detection.scenes import GSD_M, scene_of

FAST = DetectionTraining(steps=30, minutes=None, batch=4, crop_px=96, device="cpu")
SMALL = DetectionSettings(tile_px=256)
COLUMNS = range(60, 400, 40)


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """A workspace with one simulated event of 80 buildings, and a CSV with every other one's label."""
    folder = tmp_path_factory.mktemp("town")
    drawn = simulate(folder / "in", SimulationSettings(buildings=80, damaged_share=0.4, shift_px=0.0, seed=3))
    Event.create(folder / "w", "town", pre=[drawn.pre], post=[drawn.post], footprints=drawn.footprints)
    truth = pd.read_csv(drawn.truth)
    truth.iloc[::2].to_csv(folder / "labels.csv", index=False)
    return folder


def run(capsys, *arguments):
    try:
        cli(args=list(map(str, arguments)), prog_name="damage-ssl")
    except SystemExit as end:
        code = end.code or 0
    streams = capsys.readouterr()
    return code, streams.out, streams.err


def test_damaged_buildings_of_a_drawn_town_have_the_larger_share(town, capsys, monkeypatch):
    workspace = ("--workspace", town / "w")
    assert run(capsys, "label", "import", "town", town / "labels.csv", *workspace)[0] == 0
    monkeypatch.setattr("damage_ssl.detection.settings.DetectionTraining", lambda **_: FAST)
    out = town / "share.geojson"
    code, said, err = run(capsys, "footprints", "damage", "town", "--out", out, "--json", *workspace)
    assert code == 0, err
    assert json.loads(said)["buildings"] == 80
    table = gpd.read_file(out).merge(pd.read_csv(town / "in" / "truth.csv"), on="building_id")
    rest = table.iloc[1::2].dropna(subset="damaged_share")
    assert len(rest) >= 36
    assert rest["damaged_share"].between(0, 1).all()
    assert roc_auc_score(rest["grade"].isin(["major-damage", "destroyed"]), rest["damaged_share"]) > 0.75


class Redness:
    """As damaged as the red band of post, as intact as that of pre; sees no neighbour."""

    def parameters(self):
        return iter([torch.zeros(1)])

    def __call__(self, images):
        return torch.logit(images[:, [0, 3]].clamp(1e-6, 1 - 1e-6))


def dates_of(folder, *, post=None, shift_m=(0.0, 0.0), known=None):
    """Nine rows of nine roofs of 10 m: pre is grey, post the picture given."""
    grey = np.full((3, 460, 460), 100, np.uint8)
    pre = scene_of(folder / "pre.tif", grey)
    later = scene_of(folder / "post.tif", grey if post is None else post, name="post")
    table = gpd.GeoDataFrame(geometry=[square(x, y) for y in COLUMNS for x in COLUMNS], crs=UTM).to_crs("EPSG:4326")
    placed = PlacedFootprints(table, np.tile(shift_m, (81, 1)).astype(np.float64))
    known = np.full(81, UNLABELLED, np.int8) if known is None else known
    return TwoDates([pre], [later], placed, known, gsd_m=GSD_M)


def test_the_share_is_the_mean_over_the_pixels_of_a_footprint_whatever_tiles_it_lies_in(tmp_path):
    post = np.full((3, 460, 460), 100, np.uint8)
    post[0, :, 60:] = 200  # the right halves of the first column's roofs, and all others
    shares = damaged_shares(Redness(), dates_of(tmp_path, post=post), SMALL).reshape(9, 9)
    assert shares[:, 1:] == pytest.approx(2 / 3, abs=1e-3)
    assert shares[:, 0] == pytest.approx((1 / 2 + 2 / 3) / 2, abs=0.01)


def test_post_imagery_is_read_where_the_registration_finds_the_buildings(tmp_path):
    post = np.full((3, 460, 460), 100, np.uint8)
    for y in COLUMNS:
        for x in COLUMNS:  # each roof bright 6 px east and 4 px south of its footprint
            post[0, y - 10 + 4 : y + 10 + 4, x - 10 + 6 : x + 10 + 6] = 200
    there = damaged_shares(Redness(), dates_of(tmp_path, post=post, shift_m=(3.0, -2.0)), SMALL)
    (tmp_path / "not").mkdir()
    elsewhere = damaged_shares(Redness(), dates_of(tmp_path / "not", post=post), SMALL)
    assert there == pytest.approx(2 / 3, abs=1e-3)
    assert (elsewhere < 0.63).all()


def test_what_one_date_does_not_show_has_no_share(tmp_path):
    post = np.full((3, 460, 460), 100, np.uint8)
    post[:, :, 240:] = 0  # nodata
    shares = damaged_shares(Redness(), dates_of(tmp_path, post=post), SMALL).reshape(9, 9)
    assert shares[:, :4] == pytest.approx(0.5, abs=1e-3)
    assert np.isnan(shares[:, 5:]).all()


def test_unlabelled_footprints_are_neither_background_nor_a_class(tmp_path):
    known = np.full(81, UNLABELLED, np.int8)
    known[:30:2], known[1:30:2] = INTACT, DAMAGED
    dates = dates_of(tmp_path, known=known)
    codes = dates.codes(dates.around(0, 192), np.ones((192, 192), bool))  # the first building: (60, 60), at the middle
    assert codes[96, 96] == INTACT
    assert codes[96, 96 + 40] == DAMAGED
    assert codes[96 + 20, 96] == 2
    assert codes[96 + 80, 96] == INTACT  # row 18 of the table
    assert dates.codes(dates.around(80, 96), np.ones((96, 96), bool))[48, 48] == 3


def test_few_labels_are_an_error_that_says_how_many_there_are(tmp_path):
    known = np.full(81, UNLABELLED, np.int8)
    known[:20], known[20:24] = INTACT, DAMAGED
    with pytest.raises(LabelsError, match=r"20 intact and 4 damaged .* 5 of each are needed"):
        damage_tiles(dates_of(tmp_path, known=known), crop_px=64, most=100, rng=np.random.default_rng(0))


def test_tiles_are_bounded_and_half_of_them_damaged(tmp_path):
    known = np.full(81, INTACT, np.int8)
    known[::3] = DAMAGED
    tiles = damage_tiles(dates_of(tmp_path, known=known), crop_px=64, most=20, rng=np.random.default_rng(0))
    assert tiles.pixels.shape == (20, 6, 96, 96)
    assert tiles.damaged.sum() == 10


def test_the_same_seed_trains_the_same_network(tmp_path):
    known = np.arange(81, dtype=np.int8) % 2
    dates = dates_of(tmp_path, post=texture(4, 460, 460), known=known)
    short = DetectionTraining(steps=2, minutes=None, batch=2, crop_px=64, device="cpu", max_tiles=12)
    one, same = (train_damage(dates, short)[0].state_dict() for _ in range(2))
    assert one.keys() == same.keys()
    assert all(torch.equal(one[name], same[name]) for name in one)


def test_without_labels_or_with_another_ending_nothing_is_written(town, capsys, tmp_path):
    Event.create(town / "bare", "town", pre=[town / "in/pre.tif"], post=[town / "in/post.tif"])
    given = ("footprints", "damage", "town", "--workspace", town / "bare")
    code, _, err = run(capsys, *given, "--out", tmp_path / "x.docx")
    assert (code, "ends in .geojson" in err) == (2, True)
    code, _, err = run(capsys, *given, "--out", tmp_path / "x.csv")
    assert (code, "has no footprints yet" in err) == (2, True)
    Event.create(
        town / "unlabelled",
        "town",
        pre=[town / "in/pre.tif"],
        post=[town / "in/post.tif"],
        footprints=town / "in/footprints.geojson",
    )
    code, _, err = run(capsys, *given[:4], town / "unlabelled", "--out", tmp_path / "x.csv")
    assert (code, "0 intact and 0 damaged" in err.replace("\n", " ")) == (2, True)
    assert not list(tmp_path.iterdir())


def test_an_event_without_post_imagery_is_an_error(tmp_path):
    dates = dates_of(tmp_path)
    with pytest.raises(InputError, match="no post imagery"):
        TwoDates(dates._pre, [], PlacedFootprints(gpd.GeoDataFrame(), np.zeros((0, 2))), dates.known, gsd_m=GSD_M)

"""`footprints detect` on an event with bright square houses; a threshold stands in for the trained network."""

import json

import geopandas as gpd
import numpy as np
import pytest

from damage_ssl.cli import detection
from damage_ssl.cli.root import cli
from damage_ssl.detection.detector import Detector, DetectorCard
from damage_ssl.detection.training_tiles import TrainingSource
from damage_ssl.events.event import Event
from tests.conftest import square, texture, write_polygons, write_tiff

CENTRES = [(column, row) for row in (60, 140, 220) for column in (60, 140, 220)]
CARD = DetectorCard("efficientnet-lite0", 0.5, ("elsewhere",), None, 3)


class Brightness:
    """As sure of a building as the red band is bright; the core is where the pixels beside are as bright."""

    card = CARD

    def probabilities(self, pixels):
        bright = pixels[:, 0].astype(np.float32) / 255
        return np.stack([bright, bright], axis=1)


def houses():
    pixels = (texture(1, 280, 280) / 8).astype(np.uint8) + 20
    for column, row in CENTRES:
        pixels[:, row - 10 : row + 10, column - 10 : column + 10] = 240
    return pixels


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    pre = write_tiff(tmp_path / "in" / "pre.tif", houses())
    post = write_tiff(tmp_path / "in" / "post.tif", texture(2, 280, 280))
    drawn = write_polygons(tmp_path / "in" / "drawn.geojson", [square(*centre) for centre in CENTRES])
    Event.create(tmp_path / "w", "bare", pre=[pre], post=[post])
    Event.create(tmp_path / "w", "mapped", pre=[pre], post=[post], footprints=drawn)
    monkeypatch.setattr(detection, "train_for", lambda *given, **options: Brightness())
    nowhere = TrainingSource("simulated-wind", [], gpd.GeoDataFrame(geometry=[], crs="EPSG:4326"))
    monkeypatch.setattr(detection, "simulated_sources", lambda folder, *, seed: [nowhere])
    return tmp_path / "w"


def run(capsys, workspace, *arguments):
    try:
        cli(args=["footprints", "detect", *map(str, arguments), "--workspace", str(workspace)], prog_name="damage-ssl")
    except SystemExit as end:
        code = end.code or 0
    streams = capsys.readouterr()
    return code, streams.out, streams.err


def files_of(event):
    return {path: path.read_bytes() for path in sorted(event.path.rglob("*")) if path.is_file()}


def test_detected_buildings_become_the_footprints_of_the_event(workspace, capsys):
    code, out, _ = run(capsys, workspace, "bare", "--json")
    assert code == 0
    assert json.loads(out)["buildings"] == 9
    found = Event.open(workspace, "bare").footprints()
    drawn = Event.open(workspace, "mapped").footprints()
    assert found["building_id"].is_unique
    assert set(found["source"]) == {"detected"}
    assert found["confidence"].to_numpy() == pytest.approx(np.full(9, 240 / 255), abs=1e-3)
    joined = found.to_crs(32610).sjoin(drawn.to_crs(32610))
    assert len(joined) == 9
    assert found["area_m2"].to_numpy() == pytest.approx(np.full(9, 100.0), rel=0.02)


def test_detecting_again_gives_the_same_ids(workspace, capsys):
    run(capsys, workspace, "bare")
    first = Event.open(workspace, "bare").footprints()
    run(capsys, workspace, "bare", "--overwrite")
    assert Event.open(workspace, "bare").footprints().equals(first)


@pytest.mark.parametrize("name", ["found.geojson", "found.parquet", "found.gpkg"])
def test_a_file_keeps_ids_and_confidence(workspace, capsys, tmp_path, name):
    code, _, _ = run(capsys, workspace, "mapped", "--out", tmp_path / name)
    assert code == 0
    read = gpd.read_parquet(tmp_path / name) if name.endswith("parquet") else gpd.read_file(tmp_path / name)
    assert len(read) == 9
    assert read.crs.to_epsg() == 4326
    assert read["confidence"].between(0.9, 1).all()
    assert read["building_id"].str.startswith("det-").all()


def test_footprints_that_are_there_are_not_replaced_unasked(workspace, capsys):
    event = Event.open(workspace, "mapped")
    kept = files_of(event)
    code, _, err = run(capsys, workspace, "mapped")
    assert code == 2
    assert "has footprints already" in err
    assert files_of(event) == kept


@pytest.mark.parametrize("where", ["train_for", "detect_buildings"])
def test_a_stopped_detection_leaves_the_event_as_it_was(workspace, capsys, monkeypatch, where):
    def stopped(*given, **options):
        raise KeyboardInterrupt

    event = Event.open(workspace, "bare")
    kept = files_of(event)
    monkeypatch.setattr(detection, where, stopped)
    code, _, _ = run(capsys, workspace, "bare", "--from", "mapped")
    assert code == 130
    assert files_of(event) == kept
    assert not event.has_footprints


def test_without_any_event_to_learn_from_it_says_that_towns_are_drawn(workspace, capsys, monkeypatch):
    asked = []

    def towns(folder, *, seed):
        asked.append(seed)
        return [TrainingSource("simulated-wind", [], gpd.GeoDataFrame(geometry=[], crs="EPSG:4326"))]

    monkeypatch.setattr(detection, "simulated_sources", towns)
    code, _, err = run(capsys, workspace, "mapped", "--out", workspace / "x.geojson", "--seed", "4")
    assert (code, asked) == (0, [4])
    assert "trained on simulated towns" in err


def test_every_other_event_with_footprints_of_its_own_is_learnt_from(workspace, capsys):
    run(capsys, workspace, "bare")  # learns from `mapped`, and gets detected footprints
    from damage_ssl.detection.building_detection import sources_in

    assert [source.name for source in sources_in(workspace, but="other")] == ["mapped"]
    assert sources_in(workspace, but="mapped") == []


def test_an_event_to_learn_from_that_has_no_footprints_is_refused(workspace, capsys):
    code, _, err = run(capsys, workspace, "mapped", "--from", "bare", "--out", workspace / "x.geojson")
    assert code == 2
    assert "'bare' has no footprints yet" in err


def test_bad_requests_are_refused_before_training(workspace, capsys, tmp_path):
    (tmp_path / "m.safetensors").write_text("no")
    for arguments, message in (
        (["nowhere"], "no event 'nowhere'"),
        (["bare", "--from", "nowhere"], "no event 'nowhere'"),
        (["bare", "--model", tmp_path / "m.safetensors"], "is not a model file"),
        (["bare", "--model", tmp_path / "m.safetensors", "--from", "mapped"], "leave out --from"),
        (["bare", "--out", tmp_path / "x.docx"], "ends in .geojson"),
    ):
        code, _, err = run(capsys, workspace, *arguments)
        assert code == 2
        assert message in err.replace("\n", " ")


def test_nothing_found_is_an_error_and_changes_nothing(workspace, capsys):
    event = Event.open(workspace, "bare")
    code, _, err = run(capsys, workspace, "bare", "--min-confidence", "0.99")
    assert code == 2
    assert "no building" in err
    assert not event.has_footprints


def test_a_model_of_another_resolution_is_refused(workspace, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(Detector, "load", lambda path, device: Brightness())
    code, _, err = run(capsys, workspace, "bare", "--model", tmp_path / "m", "--gsd-m", "0.3")
    assert code == 2
    assert "trained at 0.5 m" in err


def test_only_buildings_in_the_aoi_are_kept(workspace, capsys, tmp_path):
    aoi = write_polygons(tmp_path / "aoi.geojson", [square(60, 60, 60)])
    inputs = tmp_path / "in"
    Event.create(workspace, "part", pre=[inputs / "pre.tif"], post=[inputs / "post.tif"], aoi=aoi)
    assert run(capsys, workspace, "part")[0] == 0
    assert len(Event.open(workspace, "part").footprints()) == 1

import dataclasses

import numpy as np
import pytest
import torch

from damage_ssl.detection.building_detection import detect_buildings, simulated_sources, train_for
from damage_ssl.detection.detector import Detector, DetectorCard
from damage_ssl.detection.scores import score_footprints
from damage_ssl.detection.search_grid import Area
from damage_ssl.detection.settings import DetectionSettings, DetectionTraining
from damage_ssl.detection.trainer import pseudo_labelled, segmentation_loss, train_detector
from damage_ssl.detection.training_tiles import Tiles
from damage_ssl.detection.unet import BuildingNet
from damage_ssl.errors import SettingsError

FAST = DetectionTraining(steps=60, minutes=None, batch=4, crop_px=128, self_training_share=0.0, device="cpu")


def plain_tiles(count=2, side_px=128):
    pixels = np.full((count, 3, side_px, side_px), 90, dtype=np.uint8)
    instances = np.zeros((count, side_px, side_px), dtype=np.int32)
    instances[:, 40:80, 40:80] = 1
    pixels[:, :, 40:80, 40:80] = 220
    valid = np.ones(instances.shape, dtype=bool)
    return Tiles(pixels, valid, instances, valid.copy())


def test_the_loss_of_a_coin_toss_is_ln_2_plus_dice():
    target = torch.zeros(1, 1, 2, 2)
    target[..., 0] = 1
    loss = segmentation_loss(torch.zeros(1, 1, 2, 2), target, torch.ones(1, 2, 2))
    assert float(loss) == pytest.approx(np.log(2) + 1 - (2 * 1 + 1) / (2 + 2 + 1), abs=1e-6)


def test_a_certain_right_answer_costs_nothing():
    target = torch.ones(1, 2, 4, 4)
    assert float(segmentation_loss(target * 40, target, torch.ones(1, 4, 4))) == pytest.approx(0, abs=1e-5)


def test_pixels_without_weight_have_no_gradient():
    logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    weight = torch.ones(1, 4, 4)
    weight[:, :, 2:] = 0
    segmentation_loss(logits, torch.ones(1, 2, 4, 4), weight).backward()
    assert (logits.grad[..., 2:] == 0).all()
    assert (logits.grad[..., :2] != 0).all()


@pytest.mark.long
def test_a_drawn_town_is_learnt_by_heart(tmp_path):
    town = simulated_sources(tmp_path, seed=1, buildings=24)[0]
    detector = train_for(town.scenes, "town", [town], FAST.replace(steps=40, crop_px=96), gsd_m=0.5)
    found = detect_buildings(town.scenes, detector, DetectionSettings())
    area = Area.of(town.scenes, 0.5)
    scores = score_footprints(found.table.to_crs(area.crs), town.footprints.to_crs(area.crs), within=area.extent)
    assert scores.pixel_iou > 0.7
    assert scores.f1 > 0.5  # half of the town are terraces, whose party walls take longer to learn than their roofs
    assert found.detector.card.trained_on == ("simulated-earthquake",)


def test_pseudo_labels_are_believed_only_where_the_teacher_is_sure():
    network = BuildingNet("efficientnet-lite0", torch.Generator().manual_seed(0)).eval()
    teacher = Detector(network, DetectorCard("efficientnet-lite0", 0.5, ("t",), None, 0))
    tiles = plain_tiles()
    half_valid = tiles.valid.copy()
    half_valid[:, :, 64:] = False
    tiles = dataclasses.replace(tiles, valid=half_valid, instances=np.zeros_like(tiles.instances))
    building = teacher.probabilities(tiles.pixels[:1])[0, 0]
    found = pseudo_labelled(teacher, tiles, FAST.replace(pseudo_confidence=0.9))
    sure = (building >= 0.9) | (building <= 0.1)
    assert np.array_equal(found.confident[0], sure & half_valid[0])
    assert np.array_equal(found.instances[0] > 0, building > 0.5)


def test_self_training_is_told_on_the_card_and_footprints_of_the_target_are_not_used():
    settings = FAST.replace(steps=4, self_training_share=0.5, batch=2)
    target = dataclasses.replace(plain_tiles(1), instances=np.full((1, 128, 128), 9, dtype=np.int32))
    nothing = dataclasses.replace(target, instances=np.zeros_like(target.instances))
    one, other = (
        train_detector(
            plain_tiles(), settings, gsd_m=0.5, trained_on=("a",), target=tiles, target_name="b"
        ).network.state_dict()
        for tiles in (target, nothing)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    card = train_detector(plain_tiles(), settings, gsd_m=0.5, trained_on=("a",), target=target, target_name="b").card
    assert card.self_trained_on == "b"
    assert card.steps == 4


def test_minutes_end_the_training():
    settings = FAST.replace(steps=100_000, minutes=0.01, batch=2, crop_px=64)
    assert train_detector(plain_tiles(), settings, gsd_m=0.5, trained_on=("a",)).card.steps < 1000


def test_settings_out_of_range_are_refused():
    with pytest.raises(SettingsError, match="crop_px is 100"):
        DetectionTraining(crop_px=100)
    with pytest.raises(SettingsError, match="batch is 1"):
        DetectionTraining(batch=1)

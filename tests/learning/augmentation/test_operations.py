"""The table of operations on pairs: each sample its own operation and strength, and where the footprint says."""

import numpy as np
import pytest
import torch
from torch import Tensor

from damage_ssl.errors import SettingsError
from damage_ssl.learning.augmentation.geometry import AFFINE_KNOBS
from damage_ssl.learning.augmentation.operations import NAMES, apply_table
from damage_ssl.learning.augmentation.photometry import AUGMENTATIONS
from damage_ssl.learning.augmentation.views import Views, ViewSettings
from tests.learning.augmentation.test_views import NO_AFFINE, SIZE, random_pairs, seeded

COLOURS = [*range(6), *range(7, 13)]
FOOTPRINTS = [6, 13]
CHANGING = [name for name in NAMES if name != "identity"]
INSIDE = (slice(10, 22), slice(8, 25))
"""Where the footprint of `random_pairs` is."""


def eight_bit(count: int = 4, channels: int = 14) -> Tensor:
    x = random_pairs(count, channels)
    return torch.where(torch.arange(channels)[:, None, None] % 7 == 6, x, (x * 204 + 25).round() / 255)


def only(name: str, x: Tensor, strength: float | Tensor, seed: int = 1) -> Tensor:
    strengths = strength if isinstance(strength, Tensor) else torch.full((len(x),), strength)
    return apply_table(x, [name], torch.zeros(len(x), dtype=torch.int64), strengths, seeded(seed))


@pytest.mark.parametrize("channels", [7, 14])
@pytest.mark.parametrize("name", [*NAMES, "noise@building", "cutout@context"])
def test_strength_zero_is_the_identity(name: str, channels: int) -> None:
    x = eight_bit(channels=channels)
    torch.testing.assert_close(only(name, x, 0.0), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CHANGING)
def test_full_strength_changes_both_dates_keeps_range_and_leaves_the_input(name: str) -> None:
    x = eight_bit(8)
    kept = x.clone()
    out = only(name, x, 1.0)
    assert torch.equal(x, kept)
    assert (out.shape, out.dtype) == (x.shape, torch.float32)
    assert out.min() >= 0
    assert out.max() <= 1
    for date in ([0, 1, 2], [3, 4, 5]):
        assert not torch.equal(out[:, date], x[:, date])


@pytest.mark.parametrize("name", [name for name in (*AUGMENTATIONS, "cutout") if name != "identity"])
def test_photometry_never_touches_the_footprint(name: str) -> None:
    x = eight_bit()
    assert torch.equal(only(name, x, 1.0)[:, FOOTPRINTS], x[:, FOOTPRINTS])


@pytest.mark.parametrize("name", [name for name in (*AUGMENTATIONS, "cutout") if name != "identity"])
def test_context_only_leaves_the_buildings_pixels_and_building_only_all_others(name: str) -> None:
    x = eight_bit(8)
    building = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    building[INSIDE] = True
    around, inside = only(f"{name}@context", x, 1.0), only(f"{name}@building", x, 1.0)
    assert torch.equal(around[:, :, building], x[:, :, building])
    assert not torch.equal(around[:, COLOURS], x[:, COLOURS])
    assert torch.equal(inside[:, :, ~building], x[:, :, ~building])
    assert not torch.equal(inside[:, COLOURS], x[:, COLOURS])
    assert torch.equal(around[:, FOOTPRINTS], x[:, FOOTPRINTS])


@pytest.mark.parametrize("name", AFFINE_KNOBS)
def test_geometry_moves_dates_and_footprint_alike(name: str) -> None:
    plane = torch.rand(SIZE, SIZE, generator=seeded())
    out = only(name, plane.expand(3, 7, SIZE, SIZE).clone(), 1.0)
    for channel in range(1, 7):
        assert torch.equal(out[:, channel], out[:, 0])


def test_shift_moves_by_an_eighth_of_the_side_but_not_the_context() -> None:
    x = random_pairs(2, 14)
    out = only("shift-right", x, 1.0)
    moved = SIZE // 8
    torch.testing.assert_close(out[:, :7, :, :-moved], x[:, :7, :, moved:], rtol=0, atol=1e-4)
    torch.testing.assert_close(out[:, 7:], x[:, 7:], rtol=0, atol=1e-4)


def test_each_sample_has_its_own_operation_and_strength_whatever_its_neighbours() -> None:
    x = eight_bit(60, 7)
    names = ["identity", "brightness", "shift-down", "saturation@building"]
    chosen = torch.arange(60) % 4
    strength = torch.linspace(-1, 1, 60)
    out = apply_table(x, names, chosen, strength, seeded())
    for row in range(60):
        alone = only(names[row % 4], x[row : row + 1], strength[row : row + 1])
        torch.testing.assert_close(out[row : row + 1], alone, rtol=0, atol=1e-6)


def test_brightness_by_hand_with_a_strength_for_each_date() -> None:
    x = torch.full((1, 7, 8, 8), 0.5)
    out = only("brightness", x, torch.tensor([[0.5, -1.0]]))
    torch.testing.assert_close(out[0, :, 0, 0], torch.tensor([0.6, 0.6, 0.6, 0.3, 0.3, 0.3, 0.5]))


def test_same_generator_state_gives_the_same_views() -> None:
    x = eight_bit()
    for name in ("noise", "patch-gaussian", "cutout", "tint"):
        assert torch.equal(only(name, x, 1.0, seed=4), only(name, x, 1.0, seed=4))
        assert not torch.equal(only(name, x, 1.0, seed=4), only(name, x, 1.0, seed=5))


def test_patch_gaussian_is_noise_of_deviation_a_tenth_in_one_square_of_25_32nds() -> None:
    x = torch.full((300, 7, 64, 64), 0.5)
    change = only("patch-gaussian", x, 1.0)[:, :3] - 0.5
    hit = (change != 0).any(1)  # [300, 64, 64]
    height, width = hit.any(2).sum(1), hit.any(1).sum(1)
    assert torch.equal(hit.sum((1, 2)), height * width)  # a filled rectangle
    assert height.max() == width.max() == 50
    assert height.min() >= 25  # the centre lies in the image, so half of it does
    assert change[hit[:, None].expand_as(change)].std().item() == pytest.approx(0.1, abs=0.002)
    half = only("patch-gaussian", x, 0.5)[:, :3] - 0.5
    assert half[half != 0].std().item() == pytest.approx(0.05, abs=0.001)


def test_cutout_is_one_grey_square_of_half_the_side_in_both_dates() -> None:
    out = only("cutout", torch.ones(100, 14, 64, 64), 1.0)
    cut = out == 0.5
    for channel in COLOURS:
        assert torch.equal(cut[:, channel], cut[:, 0])
    assert (out[~cut] == 1).all()
    assert cut[:, 0].any(2).sum(1).max() == 32
    assert len(torch.unique(cut[:, 0].flatten(1), dim=0)) > 80


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("brightnes", "operation 'brightnes' is unknown: did you mean 'brightness'"),
        ("blur@contxt", "operation 'blur@contxt' is unknown: did you mean 'blur@context'"),
        ("rotation@building", "geometry moves the whole pair"),
    ],
)
def test_unknown_operation_names_the_nearest(name: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        only(name, eight_bit(1), 1.0)


# --- Regions in the strong views -----------------------------------------------------------------------------------


def test_strong_views_with_context_only_operations_leave_the_building() -> None:
    operations = " ".join(f"{name}@context" for name in AUGMENTATIONS if name not in ("identity", "patch-gaussian"))
    x = random_pairs(48)
    views = Views(ViewSettings(**NO_AFFINE, operations=operations, cutout=0.0))
    plain = Views(ViewSettings(**NO_AFFINE, operations="identity", cutout=0.0))
    out, still = views.strong(x, seeded(2)), plain.strong(x, seeded(2))
    assert torch.equal(out[:, FOOTPRINTS], still[:, FOOTPRINTS])
    inside = (still[:, 6:7] == 1).expand_as(still[:, :6])
    outside = (still[:, 6:7] == 0).expand_as(still[:, :6])
    torch.testing.assert_close(out[:, :6][inside], still[:, :6][inside], rtol=0, atol=1e-6)
    assert (out[:, :6][outside] - still[:, :6][outside]).abs().mean() > 0.01


def test_a_whole_operation_beside_a_regional_one_is_the_same_as_alone() -> None:
    x = random_pairs(24)
    alone = Views(ViewSettings(operations="brightness brightness")).strong(x, seeded(2))
    beside = Views(ViewSettings(operations="brightness brightness@building"))
    table = beside.strong(
        torch.cat([x[:, :6], torch.ones_like(x[:, 6:7]), x[:, 7:13], torch.ones_like(x[:, :1])], 1), seeded(2)
    )
    np.testing.assert_allclose(table[:, COLOURS].numpy(), alone[:, COLOURS].numpy(), atol=1e-6)

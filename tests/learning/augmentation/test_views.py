"""Views: pixels carry their own coordinates, so that where they went can be read off."""

import numpy as np
import pytest
import torch
from torch import Tensor

from damage_ssl.errors import SettingsError
from damage_ssl.learning.augmentation.geometry import WeakDraws, draw_weak, move_pixels
from damage_ssl.learning.augmentation.views import Views, ViewSettings

SIZE = 32
NO_PHOTOMETRY = {"operations": "identity", "cutout": 0.0}
NO_AFFINE = {"rotation_deg": 0.0, "zoom": 1.0, "shear": 0.0, "strong_shift": 0.0}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_pairs(count: int = 24, channels: int = 14, seed: int = 0) -> Tensor:
    """Random colours; footprints are rectangles of 0 and 1."""
    x = torch.rand(count, channels, SIZE, SIZE, generator=seeded(seed))
    for footprint in range(6, channels, 7):
        x[:, footprint] = 0
        x[:, footprint, 10:22, 8:25] = 1
    return x


def same_in_all_channels(plane: Tensor, count: int = 24, channels: int = 7) -> Tensor:
    return plane.expand(count, channels, SIZE, SIZE).clone()


def pixel_numbers() -> Tensor:
    return torch.arange(SIZE * SIZE, dtype=torch.float32).view(SIZE, SIZE) / (SIZE * SIZE)


@pytest.mark.parametrize("kind", ["weak", "strong"])
@pytest.mark.parametrize("channels", [7, 14])
class TestBothKinds:
    def view(self, kind: str, x: Tensor, seed: int = 1, **settings: object) -> Tensor:
        views: Tensor = getattr(Views(ViewSettings(**settings)), kind)(x, seeded(seed))
        return views

    def test_shape_type_and_range_are_kept(self, kind: str, channels: int) -> None:
        x = random_pairs(96, channels)
        out = self.view(kind, x)
        assert (out.shape, out.dtype) == (x.shape, torch.float32)
        assert out.min() >= 0
        assert out.max() <= 1
        assert torch.isfinite(out).all()

    def test_the_input_is_not_changed(self, kind: str, channels: int) -> None:
        x = random_pairs(24, channels)
        kept = x.clone()
        out = self.view(kind, x)
        out.zero_()
        assert torch.equal(x, kept)

    def test_same_generator_state_gives_the_same_views(self, kind: str, channels: int) -> None:
        x = random_pairs(24, channels)
        assert torch.equal(self.view(kind, x, seed=4), self.view(kind, x, seed=4))
        assert not torch.equal(self.view(kind, x, seed=4), self.view(kind, x, seed=5))

    def test_each_sample_has_its_own_draws(self, kind: str, channels: int) -> None:
        x = random_pairs(1, channels).expand(24, -1, -1, -1)
        out = self.view(kind, x)
        assert len(torch.unique(out.flatten(1), dim=0)) >= 23  # two weak views may coincide

    def test_global_random_state_is_neither_read_nor_moved(self, kind: str, channels: int) -> None:
        x, state = random_pairs(24, channels), torch.get_rng_state()
        self.view(kind, x)
        assert torch.equal(torch.get_rng_state(), state)

    def test_dates_and_footprint_share_their_geometry(self, kind: str, channels: int) -> None:
        out = self.view(kind, same_in_all_channels(pixel_numbers(), channels=channels), **NO_PHOTOMETRY)
        for first in range(0, channels, 7):
            for channel in range(first + 1, first + 7):
                torch.testing.assert_close(out[:, channel], out[:, first], rtol=0, atol=1e-6)


# --- Weak ----------------------------------------------------------------------------------------------------------


def moved_by_numpy(plane: np.ndarray, turns: int, mirror: bool, shift: tuple[int, int]) -> np.ndarray:
    """Quarter turns anticlockwise, then left to right, then the shift with reflection, by NumPy's own functions."""
    turned = np.rot90(plane, turns)
    padded = np.pad(turned[:, ::-1] if mirror else turned, room := SIZE // 8, mode="reflect")
    top, left = room + shift[0], room + shift[1]
    return padded[top : top + SIZE, left : left + SIZE]


def test_weak_geometry_is_exactly_numpys() -> None:
    plane = pixel_numbers()
    draws = draw_weak(64, SIZE, 0.125, seeded())
    out = move_pixels(same_in_all_channels(plane, 64), draws)
    for sample in range(64):
        row, column = draws.shift_px[sample].tolist()
        expected = moved_by_numpy(plane.numpy(), int(draws.turns[sample]), bool(draws.mirror[sample]), (row, column))
        np.testing.assert_array_equal(out[sample, 0].numpy(), expected)


def test_weak_draws_cover_the_square_and_shift_by_no_more_than_an_eighth() -> None:
    draws = draw_weak(4000, 64, 0.125, seeded())
    assert set(draws.turns.tolist()) == {0, 1, 2, 3}
    assert set(draws.mirror.tolist()) == {True, False}
    assert (draws.shift_px.min(), draws.shift_px.max()) == (-8, 8)


def test_weak_views_move_the_centre_by_no_more_than_an_eighth() -> None:
    out = Views().weak(same_in_all_channels(pixel_numbers(), 500), seeded())
    shown = (out[:, 0, SIZE // 2, SIZE // 2] * SIZE * SIZE).round().long()
    centre = (SIZE - 1) / 2
    row, column = (shown // SIZE - centre).abs(), (shown % SIZE - centre).abs()
    assert row.max() <= SIZE / 8 + 0.5
    assert column.max() <= SIZE / 8 + 0.5
    assert row.max() > SIZE / 8 - 1


def test_weak_views_invent_no_values() -> None:
    x = random_pairs()
    assert torch.isin(Views().weak(x, seeded()), x).all()


def test_weak_context_turns_with_the_close_view_but_stays_centred() -> None:
    plane = pixel_numbers()
    out = Views().weak(same_in_all_channels(plane, 64, 14), seeded(3))
    draws = draw_weak(64, SIZE, 0.125, seeded(3))
    still = WeakDraws(turns=draws.turns, mirror=draws.mirror, shift_px=torch.zeros_like(draws.shift_px))
    assert torch.equal(out[:, :7], move_pixels(same_in_all_channels(plane, 64), draws))
    assert torch.equal(out[:, 7:], move_pixels(same_in_all_channels(plane, 64), still))


# --- Strong: geometry ----------------------------------------------------------------------------------------------


def source_maps(out: Tensor) -> np.ndarray:
    """Fit [N, 2, 3]: source (x, y), −1 to 1, as a linear function of the view's (x, y, 1), from the middle of the view.

    Channel 0 holds a pixel's column, channel 1 its row, each 0 to 1 over pixel centres.
    """
    at = (np.arange(SIZE) + 0.5) * 2 / SIZE - 1
    y, x = np.meshgrid(at, at, indexing="ij")
    middle = slice(12, 20)
    design = np.stack([x[middle, middle].ravel(), y[middle, middle].ravel(), np.ones(64)], axis=1)
    span = 1 - 1 / SIZE  # centre of the last pixel
    source = (out[:, :2, middle, middle].flatten(2).numpy() * 2 - 1) * span  # [N, 2, 64]
    return np.linalg.lstsq(design, source.reshape(-1, 64).T, rcond=None)[0].T.reshape(len(out), 2, 3)


def coordinate_pairs(count: int, channels: int = 7) -> Tensor:
    at = torch.linspace(0, 1, SIZE)
    x = torch.zeros(count, channels, SIZE, SIZE)
    for first in range(0, channels, 7):
        x[:, first], x[:, first + 1] = at[None, None, :], at[None, :, None]
    return x


def test_strong_maps_stay_within_their_ranges() -> None:
    views = Views(ViewSettings(rotation_deg=20, zoom=1.2, shear=0.0, strong_shift=0.1, **NO_PHOTOMETRY))
    maps = source_maps(views.strong(coordinate_pairs(300), seeded()))
    scale = np.sqrt(np.abs(np.linalg.det(maps[:, :, :2])))
    mirrored = np.linalg.det(maps[:, :, :2]) < 0
    upright = np.where(mirrored[:, None], maps[:, :, 0] * -1, maps[:, :, 0])
    angle = np.degrees(np.arctan2(upright[:, 1], upright[:, 0]))
    beside_quarter = (angle + 45) % 90 - 45
    shift = np.abs(maps[:, :, 2]) / 2
    assert 0.4 < mirrored.mean() < 0.6
    assert 1 / 1.21 < scale.min() < 0.86
    assert 1.17 < scale.max() < 1.21
    assert 19 < np.abs(beside_quarter).max() < 20.1
    assert 0.095 < shift.max() < 0.1001
    assert {int(k) for k in np.round(angle / 90) % 4} == {0, 1, 2, 3}


def test_strong_context_has_the_same_map_without_the_shift() -> None:
    out = Views(ViewSettings(**NO_PHOTOMETRY)).strong(coordinate_pairs(50, 14), seeded())
    close, context = source_maps(out[:, :7]), source_maps(out[:, 7:])
    np.testing.assert_allclose(close[:, :, :2], context[:, :, :2], atol=1e-4)
    np.testing.assert_allclose(context[:, :, 2], 0, atol=1e-4)
    assert np.abs(close[:, :, 2]).max() > 0.2


def test_strong_without_ranges_is_one_of_the_eight_symmetries_to_the_pixel() -> None:
    plane = torch.rand(SIZE, SIZE, generator=seeded())
    out = Views(ViewSettings(**NO_AFFINE, **NO_PHOTOMETRY)).strong(same_in_all_channels(plane, 64), seeded())
    symmetries = [np.rot90(p, k) for p in (plane.numpy(), plane.numpy()[:, ::-1]) for k in range(4)]
    nearest = [int(np.argmin([np.abs(view - s).max() for s in symmetries])) for view in out[:, 0].numpy()]
    assert set(nearest) == set(range(8))
    for view, index in zip(out[:, 0].numpy(), nearest, strict=True):
        np.testing.assert_allclose(view, symmetries[index], atol=1e-4)


# --- Strong: photometry and cutout ---------------------------------------------------------------------------------


def test_footprint_sees_geometry_only() -> None:
    x = random_pairs(48)
    changed = Views().strong(x, seeded(2))
    geometry_only = Views(ViewSettings(**NO_PHOTOMETRY)).strong(x, seeded(2))
    for footprint in (6, 13):
        assert torch.equal(changed[:, footprint], geometry_only[:, footprint])
        edge = (changed[:, footprint] > 0.01) & (changed[:, footprint] < 0.99)
        assert edge.float().mean() < 0.15  # 0 or 1 but for a rim one pixel wide
    assert not torch.equal(changed[:, :6], geometry_only[:, :6])


def test_footprint_of_a_weak_view_stays_binary() -> None:
    assert torch.isin(Views().weak(random_pairs(), seeded())[:, [6, 13]], torch.tensor([0.0, 1.0])).all()


def share_of_equal_dates(per_date: bool) -> float:
    x = random_pairs(64)
    x[:, 3:6], x[:, 10:13] = x[:, 0:3], x[:, 7:10]
    operations = ViewSettings().operations.replace("noise", "")  # noise is each image's own
    out = Views(ViewSettings(per_date_photometry=per_date, operations=operations)).strong(x, seeded())
    same = [torch.equal(pair[[0, 1, 2, 7, 8, 9]], pair[[3, 4, 5, 10, 11, 12]]) for pair in out]
    return float(np.mean(same))


def test_photometry_is_drawn_per_date_or_shared_as_set() -> None:
    assert share_of_equal_dates(per_date=False) == 1
    assert share_of_equal_dates(per_date=True) < 0.1


def test_close_and_context_view_of_a_date_share_their_photometry() -> None:
    x = random_pairs(32)
    x[:, 7:] = x[:, :7]
    views = Views(ViewSettings(**NO_AFFINE, operations="brightness tint gamma", cutout=0))
    out = views.strong(x, seeded())
    assert torch.equal(out[:, :7], out[:, 7:])


def test_cutout_is_one_grey_square_in_both_dates_and_spares_the_footprint() -> None:
    views = Views(ViewSettings(**NO_AFFINE, operations="identity", cutout=0.5))
    out = views.strong(torch.ones(200, 14, SIZE, SIZE), seeded())
    assert torch.equal(out[:, [6, 13]], torch.ones(200, 2, SIZE, SIZE))
    assert torch.isin(out, torch.tensor([0.5, 1.0])).all()
    for first in (0, 7):
        cut = out[:, first] == 0.5
        for channel in range(first + 1, first + 6):
            assert torch.equal(out[:, channel] == 0.5, cut)
        height, width = cut.any(2).sum(1), cut.any(1).sum(1)
        assert torch.equal(cut.sum((1, 2)), height * width)  # a filled rectangle
        assert max(height.max(), width.max()) <= SIZE // 2 + 1
        assert height.max() >= SIZE // 2 - 2
        assert len(torch.unique(cut.flatten(1), dim=0)) > 150  # each sample its own
    assert not torch.equal(out[:, 0], out[:, 7])


# --- Settings ------------------------------------------------------------------------------------------------------


def test_solarize_is_known_but_not_drawn_by_default() -> None:
    assert "solarize" not in ViewSettings().operations
    assert ViewSettings(operations="solarize").operations == "solarize"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"operations": "tint brightnes"}, "operation 'brightnes' is unknown: did you mean 'brightness'"),
        ({"operations": " "}, "operations is empty"),
        ({"weak_shift": 0.2}, r"weak_shift is 0\.2; it must be 0 to 0\.125"),
        ({"zoom": 0.5}, r"zoom is 0\.5; it must be 1 to 2"),
        ({"operations_per_sample": -1}, "operations_per_sample is -1"),
    ],
)
def test_impossible_setting_says_what_is_allowed(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ViewSettings(**settings)


@pytest.mark.parametrize("shape", [(2, 6, 8, 8), (2, 7, 8, 9)])
def test_wrong_layout_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\[N, 7 or 14, S, S\]"):
        Views().weak(torch.zeros(shape), seeded())

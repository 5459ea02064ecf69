import numpy as np

from damage_ssl.imagery.bands import FILL_WINDOW_PX, black_fill
from damage_ssl.imagery.quality.measures import share_within


def test_black_square_of_the_window_is_fill_and_a_smaller_one_is_not() -> None:
    peak = np.full((200, 200), 90, dtype=np.uint8)
    peak[20 : 20 + FILL_WINDOW_PX, 20 : 20 + FILL_WINDOW_PX] = 4
    peak[120:150, 100:199] = 4
    expected = np.zeros(peak.shape, dtype=bool)
    expected[20 : 20 + FILL_WINDOW_PX, 20 : 20 + FILL_WINDOW_PX] = True
    np.testing.assert_array_equal(black_fill(peak), expected)


def test_fill_takes_in_its_ringing_fringe_but_not_the_picture() -> None:
    peak = np.full((120, 120), 60, dtype=np.uint8)
    peak[:, :60] = 5
    peak[:, 60:66] = 14
    expected = np.zeros(peak.shape, dtype=bool)
    expected[:, :66] = True
    np.testing.assert_array_equal(black_fill(peak), expected)


def test_share_within_counts_footprint_pixels_only() -> None:
    footprint = np.zeros((2, 4, 4), dtype=bool)
    footprint[0, :2] = True
    mask = np.zeros((2, 4, 4), dtype=bool)
    mask[:, 0] = True
    np.testing.assert_allclose(share_within(mask, footprint), [0.5, 0.0])

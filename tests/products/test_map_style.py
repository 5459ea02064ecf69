"""Colours measured: CIELAB distance as seen with normal and with each kind of colour-blind vision."""

import re
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest

from damage_ssl.damage_scale import SCHEMES, DamageGrade
from damage_ssl.products.map_style import (
    LEGEND,
    NO_RESULT,
    NOT_ASSESSED,
    class_colour,
    legend_key,
)
from damage_ssl.products.qgis_style import STYLE_PATH, damage_qml

# Machado, Oliveira & Fernandes 2009, table 1, severity 1.0; on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
# IEC 61966-2-1, sRGB primaries to XYZ under D65.
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
FILLED = ("no-damage", "minor-damage", "major-damage", "damaged", "destroyed", NOT_ASSESSED)


def lab(colour: str, vision: str = "normal") -> np.ndarray:
    srgb = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(VISION[vision] @ linear, 0, 1)
    ratio = TO_XYZ @ seen / np.array([0.95047, 1.0, 1.08883])
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_white_is_lightness_one_hundred() -> None:
    assert lab("#ffffff") == pytest.approx([100.0, 0.0, 0.0], abs=0.01)


@pytest.mark.parametrize("vision", VISION)
def test_any_two_classes_are_told_apart(vision: str) -> None:
    for one, other in combinations(FILLED, 2):
        # 2.3 is the least that is noticed side by side (Mahy et al. 1994); small roofs far apart need several times it.
        distance = np.linalg.norm(lab(LEGEND[one].colour, vision) - lab(LEGEND[other].colour, vision))
        assert distance >= 20, f"{one} and {other}"


def test_colours_get_darker_with_severity() -> None:
    lightness = [lab(LEGEND[grade.label].colour)[0] for grade in DamageGrade]
    assert lightness == sorted(lightness, reverse=True)
    assert lab(LEGEND["intact"].colour)[0] > lab(LEGEND["damaged"].colour)[0]


def test_every_class_of_every_scheme_has_a_colour() -> None:
    for scheme in SCHEMES.values():
        assert set(scheme.class_names) <= set(LEGEND)
    assert all(re.fullmatch("#[0-9a-f]{6}", entry.colour) for entry in LEGEND.values())


def test_building_without_a_class_is_shown_by_whether_it_was_assessed() -> None:
    assert legend_key("destroyed", assessed=True) == "destroyed"
    assert legend_key(None, assessed=True) == NO_RESULT
    assert legend_key(None, assessed=False) == NOT_ASSESSED
    assert class_colour("destroyed") == LEGEND["destroyed"].colour


def test_qgis_style_has_the_palette_and_one_category_an_entry() -> None:
    root = ElementTree.fromstring(damage_qml())
    categories = root.findall("./renderer-v2/categories/category")
    assert [category.get("value") for category in categories] == list(LEGEND)
    for category in categories:
        symbol = root.find(f"./renderer-v2/symbols/symbol[@name='{category.get('symbol')}']")
        assert symbol is not None
        key = "outline_color" if category.get("value") in (NO_RESULT, NOT_ASSESSED) else "color"
        option = symbol.find(f".//Option[@name='{key}']")
        assert option is not None
        red, green, blue, _alpha = map(int, str(option.get("value")).split(","))
        assert f"#{red:02x}{green:02x}{blue:02x}" == LEGEND[str(category.get("value"))].colour


def test_style_file_in_the_package_is_the_one_made_from_the_palette() -> None:
    assert STYLE_PATH.read_text(encoding="utf-8") == damage_qml(), "run python -m damage_ssl.products.qgis_style"

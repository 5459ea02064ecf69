import shutil
import subprocess
import unicodedata
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from PIL import Image
from shapely.geometry import Polygon

from damage_ssl.errors import InputError
from damage_ssl.evaluation.total import Totals
from damage_ssl.languages import LANGUAGES, translator
from damage_ssl.products.handover.report import write_report
from damage_ssl.products.handover.report_map import MapFrame, countries, round_length
from tests.products.handover.drawn_facts import buildings, drawn_facts, total

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # within rasterio
POPPLER = pytest.mark.skipif(not shutil.which("pdftotext"), reason="poppler-utils are not installed")


def pages_of(path: Path) -> list[str]:
    """The text of each page, without marks of direction and Arabic vowels."""
    text = subprocess.run(["pdftotext", "-layout", path, "-"], check=True, capture_output=True, text=True).stdout
    plain = "".join(letter for letter in text if unicodedata.category(letter) not in ("Cf", "Mn"))
    return plain.replace("\u202f", " ").replace("\u00a0", " ").split("\f")[:-1]


def report(folder: Path, **changes: object) -> list[str]:
    write_report(folder / "report.pdf", drawn_facts(folder, **changes))
    return pages_of(folder / "report.pdf")


def extent_of_text(folder: Path) -> tuple[float, float]:
    """Where the title of the first page begins and ends, as shares of its width."""
    subprocess.run(["pdftoppm", "-r", "40", "-png", "-l", "1", folder / "report.pdf", folder / "page"], check=True)
    (picture,) = folder.glob("page*.png")
    dark = (np.asarray(Image.open(picture).convert("L")) < 160)[:36]
    across = np.flatnonzero(dark.any(axis=0)) / dark.shape[1]
    return float(across.min()), float(across.max())


@POPPLER
@pytest.mark.parametrize("language", list(LANGUAGES))
def test_report_has_two_pages_with_the_numbers_in_every_language(tmp_path: Path, language: str) -> None:
    first, second = report(tmp_path, language=language)
    assert "412" in first and "351" in first and "478" in first
    assert "drawn town" in first
    numbers = ("301 (255–347)", "30 % (26–35 %)") if language != "ar" else ("301", "255", "347", "35")
    assert [each for each in numbers if each not in second] == []
    assert "2017-10-11" in second and "77" in second
    assert "AUROC 0.91 (0.80–0.97)" in second
    assert translator(language)("Destroyed") in second
    said = {
        "en": "too few answers",
        "fr": "trop peu de réponses",
        "es": "muy pocas respuestas",
        "ar": "إجابات قليلة",
    }
    assert said[language] in second
    starts, ends = extent_of_text(tmp_path)
    assert (starts < 0.1, ends > 0.9) == ((False, True) if language == "ar" else (True, False))


@POPPLER
def test_a_hundred_units_and_long_texts_still_make_two_pages(tmp_path: Path) -> None:
    units = tuple(total(f"u{n}", f"Municipality of the very long name {n}", 300, 200, 400) for n in range(100))
    pages = report(
        tmp_path,
        totals=Totals(total=total(None, "town", 412, 351, 478), units=units),
        units=None,
        statement="A long sentence on how it was checked. " * 40,
        imagery=["a line of credits " * 20] * 3,
        language="fr",
    )
    assert len(pages) == 2
    assert "autres zones" in pages[1]


@POPPLER
def test_a_count_is_called_one_and_letters_that_the_font_lacks_leave_the_id(tmp_path: Path) -> None:
    said = total("NP-03", "काठमाडौँ", 300, 200, 400)
    first, second = report(
        tmp_path, totals=Totals(total=total(None, "town", 333, None, None), units=(said,)), units=None, licence=None
    )
    assert "count, not an estimate" in first
    assert "NP-03" in second
    assert "ask the sender" in second


def test_an_empty_filter_and_an_empty_event_make_a_report(tmp_path: Path) -> None:
    write_report(tmp_path / "a.pdf", drawn_facts(tmp_path, rows=np.array([], dtype=int)))
    nobody = buildings().iloc[:0]
    facts = drawn_facts(tmp_path, table=buildings(), units=None)
    facts = type(facts)(**{**vars(facts), "table": nobody, "rows": np.array([], dtype=int), "shows_imagery": False})
    write_report(tmp_path / "b.pdf", facts)
    assert (tmp_path / "b.pdf").read_bytes().startswith(b"%PDF")


def test_units_without_a_shape_are_left_unnamed(tmp_path: Path) -> None:
    units = gpd.GeoDataFrame({"unit_id": ["a", "b"], "name": ["A", "B"]}, geometry=[Polygon(), None], crs=4326)
    write_report(tmp_path / "report.pdf", drawn_facts(tmp_path, units=units, shows_imagery=False))
    assert (tmp_path / "report.pdf").stat().st_size > 1000


def test_an_unknown_language_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="language 'de' is unknown"):
        write_report(tmp_path / "report.pdf", drawn_facts(tmp_path, language="de"))
    assert not (tmp_path / "report.pdf").exists()


def test_scale_of_the_map_is_true_to_a_geodesic() -> None:
    corners = gpd.GeoSeries.from_xy([-122.75, -122.70], [38.45, 38.45], crs=4326)
    ends = corners.to_crs(3857)
    frame = MapFrame.showing((ends.x[0], ends.y[0] - 2000, ends.x[1], ends.y[1] + 2000), 0, 0, 100, 100)
    truth_m = corners.to_crs(corners.estimate_utm_crs()).distance(corners.to_crs(corners.estimate_utm_crs())[0])[1]
    assert frame.metres_a_mm * 100 == pytest.approx(truth_m, rel=0.005)
    west, east = frame.on_page(corners.x.to_numpy(), corners.y.to_numpy())
    assert (west[0], east[0]) == pytest.approx((0, 100))


@pytest.mark.parametrize(("most", "length"), [(1.0, 1), (4.9, 2), (99, 50), (0.03, 0.02), (1000, 1000)])
def test_scale_bars_have_round_lengths(most: float, length: float) -> None:
    assert round_length(most) == pytest.approx(length)


def test_the_inset_has_the_countries_of_natural_earth() -> None:
    assert len(countries()) > 150

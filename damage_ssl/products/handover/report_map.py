"""The map on the report's first page: buildings as a picture, and over it what a reader measures and finds places by.

Pictures are drawn with matplotlib; frame, scale bar, north, graticule, inset and names are lines and text of the PDF.
The countries of the inset are Natural Earth's (public domain), 1:110 million, from the file that pyogrio ships.
"""

import io
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
import shapely
from numpy.typing import NDArray

from damage_ssl.imagery.display import Bounds
from damage_ssl.products.handover.facts import HandoverFacts
from damage_ssl.products.handover.overview import (
    degrees_of,
    overview_picture,
    shapes_in_mercator,
    to_mercator,
)
from damage_ssl.products.handover.report_page import ReportPage
from damage_ssl.products.map_style import LEGEND, NO_RESULT, NOT_ASSESSED, legend_key

_DPI = 220
_PICTURE_PX, _PICTURE_BYTES = 1_400, 4_000_000
_MOST_OUTLINES = 40_000
"""Above, buildings that are not damaged are points."""
_DOT = {"intact": "#86aec2", "no-damage": "#86aec2"}
"""Colours too pale for a point."""
_MOST_NAMES = 30
_STEPS = (1, 2, 5)


@dataclass(frozen=True)
class MapFrame:
    """A rectangle of the page in mm, its upper left corner at (x, y), and what it shows (EPSG:3857)."""

    x: float
    y: float
    width: float
    height: float
    bounds: Bounds

    @classmethod
    def showing(cls, bounds: Bounds, x: float, y: float, width: float, height: float) -> "MapFrame":
        """The frame with at least these bounds, widened to its own shape."""
        left, bottom, right, top = bounds
        per_mm = max((right - left) / width, (top - bottom) / height)
        middle = ((left + right) / 2, (bottom + top) / 2)
        half = (per_mm * width / 2, per_mm * height / 2)
        shown = (middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1])
        return cls(x, y, width, height, shown)

    @property
    def metres_a_mm(self) -> float:
        """True metres on the ground to a mm on the page, in the middle of the map."""
        _, south, _, north = degrees_of(self.bounds)
        return (self.bounds[2] - self.bounds[0]) / self.width * float(np.cos(np.radians((south + north) / 2)))

    def on_page(self, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places in degrees as [N, 2] mm on the page."""
        share = (to_mercator(lon, lat) - self.bounds[:2]) / (np.array(self.bounds[2:]) - self.bounds[:2])
        return np.column_stack([self.x + share[:, 0] * self.width, self.y + (1 - share[:, 1]) * self.height])


def map_picture(facts: HandoverFacts, frame: MapFrame) -> bytes:
    """Buildings, units and area of interest within a frame as JPEG, over pale post imagery where it may be shown."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(frame.width / 25.4, frame.height / 25.4), dpi=_DPI, facecolor="#f4f5f6")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    left, bottom, right, top = frame.bounds
    background = (
        overview_picture(facts.post_scenes, frame.bounds, side_px=_PICTURE_PX, most_bytes=_PICTURE_BYTES)
        if facts.shows_imagery
        else None
    )
    if background is not None:
        axes.imshow(Image.open(io.BytesIO(background)), extent=(left, right, bottom, top), alpha=0.45, aspect="auto")
    chosen = facts.table.iloc[facts.rows]
    shapes = shapes_in_mercator(chosen)
    states = np.array(
        [
            legend_key(name if isinstance(name, str) else None, assessed=bool(seen))
            for name, seen in zip(chosen["damage_class"], chosen["assessed"], strict=True)
        ],
        dtype=object,
    )
    damaged = chosen["damaged"].eq(True).to_numpy(bool, na_value=False)
    for rank, (state, entry) in enumerate(LEGEND.items(), start=2):
        hollow = state in (NOT_ASSESSED, NO_RESULT)
        colour = entry.colour if state != NO_RESULT else "#545d66"
        for is_damaged in (False, True):
            mine = shapes[(states == state) & (damaged == is_damaged)]
            if len(shapes) > _MOST_OUTLINES and not is_damaged:
                points = shapely.get_coordinates(shapely.centroid(mine))
                axes.scatter(
                    points[:, 0],
                    points[:, 1],
                    s=0.8,
                    c=_DOT.get(state, colour),
                    linewidths=0,
                    zorder=0 if hollow else rank,
                )
                continue
            parts = shapely.get_parts(mine)
            rings = [shapely.get_coordinates(part.exterior) for part in parts if part.geom_type == "Polygon"]
            line = "#3b444c" if hollow else colour if is_damaged else "#5b7686"
            axes.add_collection(
                PolyCollection(
                    rings,
                    facecolors="none" if hollow else colour,
                    edgecolors=line,
                    linewidths=0.9 if is_damaged else 0.6 if hollow else 0.3,
                    linestyles="--" if hollow else "-",
                    zorder=20 + rank if is_damaged else rank,
                )
            )
    for areas, style, width in ((facts.units, "-", 0.8), (facts.aoi, "--", 0.9)):
        if areas is not None:
            outlines = areas.geometry.to_numpy() if hasattr(areas, "geometry") else np.array([areas])
            edges = shapely.get_parts(shapely.boundary(shapely.transform(outlines, lambda xy: to_mercator(*xy.T))))
            for edge in edges:
                axes.plot(*shapely.get_coordinates(edge).T, color="#17212b", linewidth=width, ls=style, zorder=50)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    file = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(file, format="jpeg", facecolor=figure.get_facecolor(), pil_kwargs={"quality": 88, "subsampling": 0})
    return file.getvalue()


def draw_over(page: ReportPage, facts: HandoverFacts, frame: MapFrame) -> None:
    """Graticule, names of units and the frame over a picture that is placed already."""
    with page.rect_clip(frame.x, frame.y, frame.width, frame.height):
        _graticule(page, frame)
        if facts.units is not None:
            _names(page, facts, frame)
    page.set_draw_color(23, 33, 43)
    page.set_line_width(0.3)
    page.rect(frame.x, frame.y, frame.width, frame.height)


def round_length(most: float) -> float:
    """The longest of 1, 2, 5, 10, 20, 50 … that is not above `most`."""
    power = 10.0 ** np.floor(np.log10(most))
    return float(max(step * power for step in _STEPS if step * power <= most * (1 + 1e-9)))


def _graticule(page: ReportPage, frame: MapFrame) -> None:
    west, south, east, north = degrees_of(frame.bounds)
    step = round_length(max(east - west, north - south) / 3)
    digits = max(0, -int(np.floor(np.log10(step))))
    page.set_draw_color(175, 182, 190)
    page.set_line_width(0.08)
    for low, high, ends, is_lon in ((west, east, "EW", True), (south, north, "NS", False)):
        for degree in np.arange(np.ceil(low / step) * step, high, step):
            fixed = np.full(2, degree)
            across = np.array([south, north] if is_lon else [west, east])
            a, b = frame.on_page(fixed, across) if is_lon else frame.on_page(across, fixed)
            page.line(*a, *b)
            text = f"{abs(degree):.{digits}f}° {ends[0] if degree >= 0 else ends[1]}"
            if is_lon and a[0] < frame.x + frame.width - 15:
                page.note(a[0] + 0.6, frame.y + frame.height - 3.4, text)
            elif not is_lon and a[1] < frame.y + frame.height - 8:
                page.note(frame.x + 0.6, a[1] + 0.4, text)


def _names(page: ReportPage, facts: HandoverFacts, frame: MapFrame) -> None:
    assert facts.units is not None  # noqa: S101 - for the type checker
    area = np.nan_to_num(shapely.area(facts.units.geometry.to_numpy()))
    biggest = np.argsort(-area, kind="stable")[: min(_MOST_NAMES, np.count_nonzero(area))]
    points = shapely.get_coordinates(shapely.point_on_surface(facts.units.geometry.to_numpy()[biggest]))
    for at, place in zip(biggest, frame.on_page(*points.T), strict=True):
        name = page.readable(str(facts.units["name"].iloc[at]), str(facts.units["unit_id"].iloc[at]))
        page.note(place[0], place[1], name, size=7, centred=True)


def draw_scale(page: ReportPage, frame: MapFrame, x: float, y: float, width: float) -> None:
    """Scale bar and north arrow of a frame, within `width` mm from (x, y), beside the map so that they hide nothing."""
    length_m = round_length(frame.metres_a_mm * (width - 12))
    length_mm = length_m / frame.metres_a_mm
    page.set_fill_color(23, 33, 43)
    page.set_draw_color(23, 33, 43)
    page.set_line_width(0.25)
    page.rect(x, y + 4.4, length_mm / 2, 1.6, style="DF")
    page.rect(x + length_mm / 2, y + 4.4, length_mm / 2, 1.6)
    page.set_text_color(23, 33, 43)
    page.set_font("letters", size=8)
    page.text(x, y + 3, f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m")
    tip = x + length_mm + 7
    page.polygon([(tip, y - 0.5), (tip + 2.4, y + 6), (tip, y + 4.6), (tip - 2.4, y + 6)], style="F")
    page.set_font("letters", "B", 8)
    page.text(tip - 1.1, y + 9, "N")


@lru_cache(maxsize=1)
def countries() -> NDArray[np.object_]:
    """Outlines of the world's countries in EPSG:4326; none where pyogrio was installed without its fixtures."""
    import geopandas as gpd

    path = files("pyogrio").joinpath("tests", "fixtures", "naturalearth_lowres", "naturalearth_lowres.shp")
    if not path.is_file():
        return np.array([], dtype=object)
    shapes: NDArray[np.object_] = shapely.get_parts(gpd.read_file(str(path)).geometry.to_numpy())
    return shapes


def draw_inset(page: ReportPage, bounds: Bounds, x: float, y: float, width: float, height: float) -> None:
    """Where in the world the map lies, 1,800 km to each side of it; nothing where there are no countries to draw."""
    if not len(countries()):
        return
    west, south, east, north = degrees_of(bounds)
    lon, lat = (west + east) / 2, (south + north) / 2
    mid_x, mid_y = to_mercator(np.array([lon]), np.array([lat]))[0]
    reach = 1.8e6 / float(np.cos(np.radians(lat)))
    tall = reach * height / width
    inset = MapFrame(x, y, width, height, (mid_x - reach, mid_y - tall, mid_x + reach, mid_y + tall))
    with page.rect_clip(inset.x, inset.y, width, height):
        page.set_fill_color(214, 228, 238)
        page.rect(inset.x, inset.y, width, height, style="F")
        page.set_fill_color(250, 248, 240)
        page.set_draw_color(130, 130, 130)
        page.set_line_width(0.12)
        seen = shapely.clip_by_rect(countries(), lon - 60, max(lat - 40, -84), lon + 60, min(lat + 40, 84))
        for part in shapely.get_parts(seen[~shapely.is_empty(seen)]):
            if part.geom_type == "Polygon":
                page.polygon(inset.on_page(*shapely.get_coordinates(part.exterior).T).tolist(), style="DF")
        page.set_fill_color(196, 30, 60)
        at = inset.on_page(np.array([lon]), np.array([lat]))[0]
        page.rect(at[0] - 1.1, at[1] - 1.1, 2.2, 2.2, style="F")
    page.set_draw_color(23, 33, 43)
    page.set_line_width(0.3)
    page.rect(inset.x, inset.y, width, height)

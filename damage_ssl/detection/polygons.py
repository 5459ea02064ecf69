"""From the map of probabilities to footprints: window by window, each building once."""

from dataclasses import dataclass, field
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes
from scipy import ndimage
from shapely.geometry import Polygon, shape

from damage_ssl.detection.instances import split_buildings
from damage_ssl.detection.outlines import regularised
from damage_ssl.detection.probability_map import ProbabilityMap
from damage_ssl.detection.search_grid import Area, Square
from damage_ssl.detection.settings import DetectionSettings
from damage_ssl.progress import ProgressCallback

_DIGITS = 7
_CONFIDENCE_DIGITS = 4
_LEFT_SHARE = 0.5


@dataclass
class _Found:
    """Buildings of the area's grid: pixel outlines, mean probabilities and areas (pixels)."""

    outline: list[Polygon] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    size_px: list[int] = field(default_factory=list)

    def add(self, outline: Polygon, confidence: float, size_px: int) -> None:
        self.outline.append(outline)
        self.confidence.append(confidence)
        self.size_px.append(size_px)


def extract_buildings(
    probabilities: ProbabilityMap, area: Area, settings: DetectionSettings, *, progress: ProgressCallback | None = None
) -> gpd.GeoDataFrame:
    """Footprints in EPSG:4326: `confidence` (mean probability of its pixels), `area_m2`, `geometry`; north to south.

    A building belongs to the window that holds its centre, and is seen there whole, as windows overlap by the halo.
    One that reaches beyond the halo is put together from the windows' parts. Footprints do not overlap.
    """
    whole, parts = _Found(), _Found()
    windows = list(area.squares(settings.window_px, step_px=settings.window_px))
    for number, window in enumerate(windows, start=1):
        _from_window(probabilities, area, window, settings, whole, parts)
        if progress is not None:
            progress(number, len(windows))
    _join(parts, whole)
    rows = [
        row
        for row, outline in enumerate(whole.outline)
        if whole.confidence[row] >= settings.min_confidence and outline.area >= settings.min_area_m2
    ]
    drawn = [regularised(whole.outline[row], simplify_m=settings.simplify_m) for row in rows]
    confidence = np.array([whole.confidence[row] for row in rows], dtype=np.float64).round(_CONFIDENCE_DIGITS)
    footprints = apart(np.array(drawn, dtype=object), confidence)
    keep = ~shapely.is_empty(footprints)
    table = gpd.GeoDataFrame(
        {"confidence": confidence[keep], "area_m2": shapely.area(footprints[keep])},
        geometry=footprints[keep],
        crs=area.crs,
    )
    centre = shapely.centroid(table.geometry.to_numpy())
    table = table.iloc[np.lexsort([shapely.get_x(centre), -shapely.get_y(centre)])].to_crs("EPSG:4326")
    rounded = shapely.transform(table.geometry.to_numpy(), lambda xy: np.round(xy, _DIGITS))
    return table.set_geometry(gpd.GeoSeries(rounded, index=table.index, crs="EPSG:4326")).reset_index(drop=True)


def apart(footprints: NDArray[Any], confidence: NDArray[np.float64]) -> NDArray[Any]:
    """The footprints [N] (metres) without overlaps: where two lie on one another, the more confident keeps the place.

    A rectangle in place of a pixel outline reaches over its neighbour's wall or fills a courtyard with a house in it.
    The other footprint loses that part; where less than half of it is left, it was the same building seen twice, and
    an empty polygon stands in its place. Of equally confident ones the larger keeps the place, then the northern.
    """
    out = footprints.copy()
    centre, areas = shapely.centroid(footprints), shapely.area(footprints)
    order = np.lexsort([shapely.get_x(centre), -shapely.get_y(centre), -areas, -confidence])
    rank = np.empty(len(order), dtype=np.intp)
    rank[order] = np.arange(len(order))
    one, other = shapely.STRtree(footprints).query(footprints, predicate="intersects")
    pairs = np.flatnonzero(rank[other] < rank[one])  # `other` keeps its place, `one` gives way
    pairs = pairs[np.argsort(rank[one[pairs]], kind="stable")]
    starts = np.flatnonzero(np.diff(one[pairs], prepend=-1))
    for same in np.split(pairs, starts[1:]) if len(pairs) else ():
        row = one[same[0]]
        taken = shapely.union_all(out[other[same]])
        left = max(shapely.get_parts(shapely.difference(out[row], taken)), key=shapely.area, default=Polygon())
        out[row] = left if isinstance(left, Polygon) and left.area >= _LEFT_SHARE * areas[row] else Polygon()
    return out


def _from_window(
    probabilities: ProbabilityMap, area: Area, window: Square, settings: DetectionSettings, whole: _Found, parts: _Found
) -> None:
    halo = settings.halo_px
    around = Square(window.row - halo, window.column - halo, window.size_px + 2 * halo)
    building, core = probabilities.read(around)
    numbers = split_buildings(building, core)
    present = np.unique(numbers[numbers > 0])
    if not len(present):
        return
    cut_off = set(np.unique(_rim(numbers, around, area)).tolist())
    centres = np.array(ndimage.center_of_mass(numbers > 0, numbers, present)).reshape(-1, 2)
    own = np.all((centres >= halo) & (centres < halo + window.size_px), axis=1)
    inner = np.zeros(numbers.shape, dtype=bool)
    inner[halo : halo + window.size_px, halo : halo + window.size_px] = True
    kept = np.zeros(int(numbers.max()) + 1, dtype=bool)
    kept[present[own]] = True
    kept[0] = False
    cut = np.zeros_like(kept)
    cut[[number for number in cut_off if number > 0]] = True
    # A building that is cut off by the halo gives each window the part within the window itself.
    drawn = np.where(cut[numbers], np.where(inner, numbers, 0), np.where(kept[numbers], numbers, 0)).astype(np.int32)
    sizes = np.bincount(drawn.ravel(), minlength=len(kept))
    means = np.bincount(drawn.ravel(), weights=building.ravel(), minlength=len(kept)) / np.maximum(sizes, 1)
    transform = area.transform_of(around)
    for number, outline, size_px in _outlines(drawn, transform):
        (parts if cut[number] else whole).add(outline, float(means[number]), size_px)


def _rim(numbers: NDArray[np.int32], around: Square, area: Area) -> NDArray[np.int32]:
    """The outermost pixels of a window, but for sides where the area itself ends."""
    sides = []
    if around.row > 0:
        sides.append(numbers[0])
    if around.column > 0:
        sides.append(numbers[:, 0])
    if around.row + around.size_px < area.grid.height:
        sides.append(numbers[-1])
    if around.column + around.size_px < area.grid.width:
        sides.append(numbers[:, -1])
    return np.concatenate(sides) if sides else np.zeros(0, dtype=np.int32)


def _outlines(numbers: NDArray[np.int32], transform: object) -> list[tuple[int, Polygon, int]]:
    """Number, outline (the largest piece) and size in pixels of every building."""
    pieces: dict[int, Polygon] = {}
    for geometry, number in shapes(numbers, mask=numbers > 0, transform=transform, connectivity=8):
        polygon = shape(geometry)
        if not polygon.is_valid:  # pixels that meet in a corner only
            polygon = max(shapely.get_parts(shapely.make_valid(polygon)), key=shapely.area)
        if isinstance(polygon, Polygon) and (int(number) not in pieces or polygon.area > pieces[int(number)].area):
            pieces[int(number)] = polygon
    sizes = np.bincount(numbers.ravel())
    return [(number, polygon, int(sizes[number])) for number, polygon in sorted(pieces.items())]


def _join(parts: _Found, whole: _Found) -> None:
    """Parts of large buildings that touch along a window's edge become one building each."""
    if not parts.outline:
        return
    merged = shapely.get_parts(shapely.union_all(parts.outline, grid_size=1e-3))
    tree = shapely.STRtree(merged)
    home = tree.query(shapely.point_on_surface(np.array(parts.outline, dtype=object)), predicate="intersects")
    for number, outline in enumerate(merged):
        rows = home[0][home[1] == number]
        sizes = np.array([parts.size_px[row] for row in rows], dtype=np.float64)
        if len(rows) and isinstance(outline, Polygon):
            mean = float(np.average([parts.confidence[row] for row in rows], weights=sizes))
            whole.add(outline, mean, int(sizes.sum()))

"""Where a footprint is found in the imagery: its drawn position moved by what registration says."""

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

_METRES_PER_DEGREE = 111_320.0


def shifts_on(index: pd.DataFrame | None, count: int, role: str) -> NDArray[np.float64]:
    """Metres east and north [N, 2], in each building's UTM grid, from the drawn footprint to the image of one side.

    In pre a building stands at its footprint's shift, in post also at the shift of post against pre. Zero where nothing
    is known, and in events whose pairs were cut before shifts were undone (the index then lacks the footprint's shift).
    """
    if index is None or "footprint_shift_x_m" not in index:
        return np.zeros((count, 2))
    names = [("footprint_shift_x_m", "footprint_shift_y_m")]
    if role == "post":
        names.append(("shift_x_m", "shift_y_m"))
    shifts = sum(index[list(pair)].to_numpy(dtype=np.float64, na_value=0.0) for pair in names)
    return np.nan_to_num(np.asarray(shifts, dtype=np.float64))


def moved(geometry: NDArray[np.object_], shift_m: NDArray[np.float64]) -> NDArray[np.object_]:
    """Footprints [N] in EPSG:4326 moved by metres east and north [N, 2] of their UTM grid; to a centimetre in 10 m."""
    if not shift_m.any():
        return geometry
    points, owner = shapely.get_coordinates(geometry, return_index=True)
    centre = shapely.get_coordinates(shapely.centroid(geometry))
    lon, lat = np.radians(centre).T
    meridian = np.radians(6 * np.floor(np.degrees(lon) / 6) + 3)
    turn = (lon - meridian) * np.sin(lat)  # grid north lies this far clockwise of true north (meridian convergence)
    east, north = shift_m.T
    true_east = east * np.cos(turn) + north * np.sin(turn)
    true_north = north * np.cos(turn) - east * np.sin(turn)
    degrees = np.column_stack([true_east / np.cos(lat), true_north]) / _METRES_PER_DEGREE
    return np.asarray(shapely.set_coordinates(shapely.force_2d(geometry), points + degrees[owner]), dtype=object)

"""Several sources of footprints made one: what is a duplicate, what is recorded, what stays."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from damage_ssl.errors import InputError
from damage_ssl.footprints.cleaning import clean_footprints
from damage_ssl.footprints.footprint_set import FootprintSet
from damage_ssl.footprints.merging import merge_footprints
from damage_ssl.footprints.reader import read_footprints
from tests.footprints.footprint_files import BUILDINGS, IMAGERY, box, write

SIDE = 0.0002


def source(name: str, polygons: dict[str, shapely.Polygon]) -> FootprintSet:
    table = gpd.GeoDataFrame({"id": list(polygons)}, geometry=list(polygons.values()), crs=4326)
    return clean_footprints(table, Path(f"{name}.geojson"))


def moved(share: float) -> shapely.Polygon:
    """A building that shares this much of the one at 10, 50."""
    return box(10 + (1 - share) * SIDE, 50, SIDE)


def test_shared_area_of_half_the_smaller_one_makes_a_duplicate() -> None:
    first = source("first", {"a": box(10, 50)})
    assert len(merge_footprints([first, source("b", {"x": moved(0.52)})]).table) == 1
    assert len(merge_footprints([first, source("b", {"x": moved(0.48)})]).table) == 2
    assert len(merge_footprints([first, source("b", {"x": moved(0.48)})], duplicate_share=0.4).table) == 1


def test_small_building_inside_a_large_one_is_a_duplicate_either_way_round() -> None:
    large, small = source("l", {"a": box(10, 50, 0.001)}), source("s", {"b": box(10.0001, 50.0001)})
    for order in ([large, small], [small, large]):
        merged = merge_footprints(order)
        assert merged.table["source"].tolist() == [order[0].sources[0].source]
        assert merged.left_out["overlap"].tolist() == pytest.approx([1.0])


def test_building_in_the_courtyard_of_another_is_its_own() -> None:
    inside = box(10.00107, 50.00007, 0.00005)
    assert len(merge_footprints([source("a", {"c": BUILDINGS["2"]}), source("b", {"d": inside})]).table) == 2


def test_order_is_the_preference_and_the_duplicate_names_its_nearest_kept_one() -> None:
    first = source("first", {"a": moved(0.6), "b": box(10 - 0.4 * SIDE, 50)})
    merged = merge_footprints([first, source("second", {"x": box(10 + 0.1 * SIDE, 50)})])
    assert merged.table["building_id"].tolist() == ["a", "b"]
    (row,) = merged.left_out.to_dict("records")
    assert (row["source"], row["source_id"], row["reason"], row["duplicate_of"]) == (
        "second.geojson",
        "x",
        "duplicate",
        "a",
    )
    assert row["overlap"] == pytest.approx(0.7, abs=1e-6)


def test_ids_taken_by_an_earlier_source_get_the_later_ones_name() -> None:
    merged = merge_footprints(
        [
            source("osm", {"1": box(10, 50), "2": box(11, 50)}),
            source("ml", {"1": box(12, 50), "3": box(13, 50)}),
            source("hand", {"1": box(14, 50)}),
        ]
    )
    assert merged.table["building_id"].tolist() == ["1", "2", "ml:1", "3", "hand:1"]
    assert merged.table["source_id"].tolist() == ["1", "2", "1", "3", "1"]


def test_every_footprint_of_every_source_is_kept_or_listed_once() -> None:
    rng = np.random.default_rng(3)
    sets = []
    for name in ("a", "b", "c"):
        places = rng.uniform(0, 0.01, (400, 2))
        sets.append(source(name, {f"{name}{n}": box(10 + x, 50 + y) for n, (x, y) in enumerate(places)}))
    merged = merge_footprints(sets)
    given = {(f"{s}.geojson", f"{s}{n}") for s in "abc" for n in range(400)}
    kept = list(zip(merged.table["source"], merged.table["source_id"], strict=True))
    out = list(zip(merged.left_out["source"], merged.left_out["source_id"], strict=True))
    assert len(kept) + len(out) == 1200
    assert {*kept, *out} == given
    assert set(merged.left_out["duplicate_of"]) <= set(merged.table["building_id"])
    assert [report.kept + sum(report.left_out.values()) for report in merged.sources] == [400] * 3
    # No two of different sources that are left share half of the smaller one: an independent look at every pair.
    table = merged.table
    polygons, names = table.geometry.to_numpy(), table["source"].to_numpy()
    one, other = np.triu_indices(len(table), 1)
    apart = names[one] != names[other]
    common = shapely.area(shapely.intersection(polygons[one[apart]], polygons[other[apart]]))
    assert (common / SIDE**2).max() < 0.5


def test_merging_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    files = [write("OpenStreetMap PBF", tmp_path), write("Open Buildings", tmp_path), write("Overture", tmp_path)]
    first, second = (read_footprints(files, imagery=IMAGERY) for _ in range(2))
    assert first.table.to_wkb().equals(second.table.to_wkb())
    assert first.left_out.equals(second.left_out)
    assert [report.kept for report in first.sources] == [3, 0, 0]
    assert first.left_out["reason"].tolist() == ["duplicate"] * 6


def test_one_of_several_sources_may_have_nothing_here_but_not_all(tmp_path: Path) -> None:
    here, elsewhere = write("Open Buildings", tmp_path), write("GeoJSON", tmp_path)
    area = shapely.box(19.99, 49.99, 20.01, 50.01)
    (tmp_path / "only_here").mkdir()
    near = tmp_path / "only_here" / "near.geojson"
    gpd.GeoDataFrame({"id": ["n"]}, geometry=[box(10, 50)], crs=4326).to_file(near)
    found = read_footprints([near, here, elsewhere], imagery=area)
    assert [(report.source, report.kept) for report in found.sources] == [
        ("near.geojson", 0),
        ("f.csv", 1),
        ("f.geojson", 0),
    ]
    with pytest.raises(InputError, match=r"none of their footprints is within 1,000 m of the imagery"):
        read_footprints([near, near], imagery=area)


def test_points_of_one_source_fill_what_the_polygons_of_another_lack(tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    points.write_text("id,latitude,longitude\np,50.0001,10.0001\nq,50.005,10.005\n")
    found = read_footprints([write("GeoJSON", tmp_path), points], imagery=IMAGERY)
    assert found.table["geometry_kind"].tolist() == ["polygon"] * 3 + ["point"]
    assert found.table["building_id"].tolist()[-1] == "q"

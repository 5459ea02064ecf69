"""Towns of many seeds, sizes and hazards: truth, footprints and pictures fit each other whatever is drawn."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely

from damage_ssl.damage_scale import DamageGrade
from damage_ssl.simulation.event import simulate
from damage_ssl.simulation.settings import HAZARDS, SimulationSettings
from tests.campaigns import campaign


@campaign(1, 12)
@pytest.mark.parametrize("hazard", HAZARDS)
def test_truth_footprints_and_pictures_fit_each_other(hazard: str, rounds: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(rounds)
    for number in range(rounds):
        buildings, share = int(rng.integers(15, 90)), round(float(rng.uniform(0.05, 0.8)), 2)
        seed = int(rng.integers(10**6))
        settings = SimulationSettings(buildings=buildings, hazard=hazard, seed=seed, damaged_share=share)
        drawn = simulate(tmp_path / str(number), settings)
        with drawn.truth.open(newline="") as file:
            truth = {row["building_id"]: row["grade"] for row in csv.DictReader(file)}
        features = json.loads(drawn.footprints.read_text())["features"]
        assert {each["properties"]["building_id"] for each in features} == set(truth) and len(truth) == buildings
        counts = Counter(truth.values())
        damaged = sum(counts[grade.label] for grade in (DamageGrade.MAJOR_DAMAGE, DamageGrade.DESTROYED))
        assert abs(damaged - share * buildings) <= 1, settings
        outlines = shapely.from_geojson([json.dumps(each["geometry"]) for each in features])
        assert shapely.is_valid(outlines).all(), settings
        with rasterio.open(drawn.pre) as pre, rasterio.open(drawn.post) as post:
            assert (pre.shape, pre.bounds, pre.crs) == (post.shape, post.bounds, post.crs)
            assert pre.read(masked=True).std() > 5 < post.read(masked=True).std()

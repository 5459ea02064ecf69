"""Pairs of the mismatch experiment show no building."""

import numpy as np
import shapely

from damage_ssl.benchmarking.background_pairs import cut_windows, free_places
from damage_ssl.benchmarking.preparation import prepare
from damage_ssl.benchmarking.settings import BenchmarkSettings
from damage_ssl.events.event import Event
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.settings import PatchSettings
from damage_ssl.simulation.event import SimulatedEvent
from damage_ssl.workflow import cut_patches
from tests.benchmarking.bench_division import FakeTrainer


def test_free_places_lie_clear_of_every_footprint() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 400, size=(60, 2))
    buildings = shapely.box(*corner.T, *(corner + rng.uniform(5, 25, size=corner.shape)).T)
    places = free_places(buildings, wanted=50, size_m=32.0, rng=rng)
    assert 10 < len(places) <= 50
    squares = shapely.box(*(places - 16).T, *(places + 16).T)
    assert not any(shapely.intersects(square, buildings).any() for square in squares)


def test_a_town_without_gaps_has_no_free_place() -> None:
    x, y = np.meshgrid(np.arange(60), np.arange(60))
    corner = np.stack([x.ravel(), y.ravel()], axis=1) * 10.0
    buildings = shapely.box(*corner.T, *(corner + 9.5).T)
    places = free_places(buildings[1700:1900], wanted=20, size_m=32.0, rng=np.random.default_rng(0))
    inside = free_places(buildings, wanted=20, size_m=5.0, rng=np.random.default_rng(0))
    whole = shapely.union_all(buildings).convex_hull
    assert all(not whole.contains(shapely.Point(place)) for place in inside)
    assert all(
        not shapely.intersects(shapely.box(*(place - 16), *(place + 16)), buildings[1700:1900]).any()
        for place in places
    )


def test_windows_of_an_event_contain_no_building_and_look_like_its_patches(
    small_town: tuple[Event, SimulatedEvent],
) -> None:
    event, _ = small_town
    store = cut_patches(event, PatchSettings(size_px=32))
    windows = cut_windows(event, store, 40, np.random.default_rng(0))
    assert windows is not None
    pairs = windows.pairs
    assert 5 < len(pairs) == len(windows.where)
    assert pairs.close.pre.shape[1:] == store.load().close.pre.shape[1:]
    assert pairs.close.footprint.any(axis=(1, 2)).all()
    usable = (pairs.close.valid * pairs.close.footprint).sum(axis=(1, 2)) / pairs.close.footprint.sum(axis=(1, 2))
    assert (usable >= 0.75).all()
    assert not set(pairs.building_id) & set(store.load().building_id)
    outlines = event.footprints().to_crs("EPSG:4326")
    outlines = outlines.to_crs(outlines.estimate_utm_crs()).geometry.to_numpy()
    squares = shapely.box(*(windows.where - 8).T, *(windows.where + 8).T)
    assert not any(shapely.intersects(square, outlines).any() for square in squares)


def test_windows_that_share_pixels_with_held_out_buildings_are_left_out(
    small_town: tuple[Event, SimulatedEvent],
) -> None:
    event, drawn = small_town
    cut_patches(event, PatchSettings(size_px=32))
    settings = BenchmarkSettings(
        methods=("frozen-random",),
        experiments=("mismatch",),
        labels=(3,),
        trials=1,
        block_m=60.0,
        train=TrainSettings(network="small-cnn", steps=2),
    )
    bench = prepare(event, drawn.truth, settings, event.path / "cells", FakeTrainer())
    assert bench.foreign is not None
    held = bench.material.where[np.concatenate([bench.division.test, bench.division.validation])]
    apart = np.abs(bench.foreign.where[:, None] - held[None]).max(axis=2)
    assert apart.min() >= bench.material.reach_m == 32.0

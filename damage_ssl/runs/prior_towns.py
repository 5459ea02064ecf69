"""What packaged prior models learn from: simulated towns, drawn, cut and described as any event is."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from damage_ssl.damage_scale import DamageGrade
from damage_ssl.events.event import Event
from damage_ssl.files import atomic_path
from damage_ssl.labels.label_csv import read_label_csv
from damage_ssl.learning.features.pair_features import FORMAT_VERSION, make_pair_features
from damage_ssl.learning.prior.fitting import Source, labelled_source
from damage_ssl.patches.extraction import extract_patches
from damage_ssl.registration.event_registration import register
from damage_ssl.settings import PatchSettings
from damage_ssl.simulation.event import simulate
from damage_ssl.simulation.settings import HAZARDS, SimulationSettings

TOWNS = 8
"""Of each hazard."""
TOWN_BUILDINGS = 100
"""Many small towns teach more than few large ones: what a town has in common is learned from as one."""

DAMAGED_FROM = DamageGrade.MAJOR_DAMAGE


def town_settings(hazard: str, number: int, *, buildings: int = TOWN_BUILDINGS, seed: int = 0) -> SimulationSettings:
    """What the town of this number is drawn with: everything that may differ between real scenes differs."""
    rng = np.random.default_rng([seed, HAZARDS.index(hazard), number])
    return SimulationSettings(
        buildings=buildings,
        hazard=hazard,
        seed=int(rng.integers(2**31)),
        gsd_m=round(float(rng.uniform(0.35, 0.75)), 2),
        damaged_share=round(float(rng.uniform(0.15, 0.55)), 2),
        minor_share=round(float(rng.uniform(0.05, 0.25)), 2),
        scatter=round(float(rng.uniform(0.1, 0.9)), 2),
        subtlety=round(float(rng.uniform(0.2, 1.0)), 2),
        shift_px=round(float(rng.uniform(0.0, 6.0)), 1),
        haze=round(float(rng.uniform(0.0, 0.5)), 2),
        variety=1.0,
    )


def town_sources(
    folder: Path,
    hazards: tuple[str, ...] = HAZARDS,
    *,
    towns: int = TOWNS,
    buildings: int = TOWN_BUILDINGS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, list[Source]]:
    """The towns of each hazard as sources of a prior model; those that lie in `folder` already are not drawn again.

    A town leaves only the features of its buildings behind, 25 KB each.

    Raises:
        StorageError: the disk is full or read-only.
    """
    wanted = [(hazard, number) for number in range(towns) for hazard in hazards]
    found: dict[str, list[Source]] = {hazard: [] for hazard in hazards}
    for done, (hazard, number) in enumerate(wanted):
        settings = town_settings(hazard, number, buildings=buildings, seed=seed)
        name = f"{hazard}-{seed}-{number}"
        path = folder / f"{name}-{buildings}-v{FORMAT_VERSION}.npz"
        if not path.exists():
            _write_source(_described(folder / f".{name}", name, settings), path)
        found[hazard].append(_read_source(name, path))
        if progress is not None:
            progress(done + 1, len(wanted))
    return found


def _described(folder: Path, name: str, settings: SimulationSettings) -> Source:
    """Draw a town and look at it as at any event: registered, cut, described. Its files are removed again."""
    town = simulate(folder / "town", settings)
    event = Event.create(
        folder / "events", name, pre=[town.pre], post=[town.post], footprints=town.footprints, overwrite=True
    )
    pre, post = event.pre_and_post()
    footprints, patches = event.footprints()[["building_id", "area_m2", "geometry"]], PatchSettings()
    shifts = register(event.path, footprints, pre, post, patches, manual_shifts={}).table
    extract_patches(event.path, footprints, pre, post, shifts, patches)
    rows = read_label_csv(town.truth, labeller="simulation").rows
    grades = {row.building_id: row.value.grade for row in rows}
    ids = np.array([building for building, grade in grades.items() if grade is not None])
    damaged = np.array([grade >= DAMAGED_FROM for grade in grades.values() if grade is not None])
    source = labelled_source(name, make_pair_features(event), ids, damaged)
    shutil.rmtree(folder)
    return source


def _write_source(source: Source, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, features=source.features, damaged=source.damaged)


def _read_source(name: str, path: Path) -> Source:
    with np.load(path, allow_pickle=False) as file:
        return Source(name, file["features"], file["damaged"])

"""From an event on disk to a benchmark that can be run."""

from pathlib import Path

import numpy as np

from damage_ssl.benchmarking.background_pairs import Windows, cut_windows
from damage_ssl.benchmarking.bench import Bench, CellTrainer, bench_fingerprint, train_and_predict
from damage_ssl.benchmarking.division import Material, divide, load_material, near_held_out
from damage_ssl.benchmarking.plan import make_plan
from damage_ssl.benchmarking.random_search import search_space, settings_of
from damage_ssl.benchmarking.settings import WINDOWS, BenchmarkSettings
from damage_ssl.damage_scale import scheme_named
from damage_ssl.errors import SettingsError
from damage_ssl.events.definition import damage_scheme
from damage_ssl.events.event import Event
from damage_ssl.learning.training import check_settings
from damage_ssl.patches.pairs import PairSet
from damage_ssl.patches.store import PatchStore

MOST_WINDOWS = 2000
_AWAY = 1e12


def prepare(
    event: Event, truth: Path, settings: BenchmarkSettings, folder: Path, trainer: CellTrainer = train_and_predict
) -> Bench:
    """Read pairs and grades, divide the event, cut the foreign pairs, lay out the cells.

    Raises:
        SettingsError: an unknown method, or an impossible setting. LabelsError: too few grades.
        WorkspaceError: the patches are not cut, or the other event's are cut otherwise.
    """
    for method in settings.methods:
        search_space(method, settings.train.network)
        check_settings(settings_of(settings.train, method, 0, {}), "benchmark")
    if "scheme" not in settings.train.model_fields_set:
        settings = settings.replace(train=settings.train.replace(scheme=damage_scheme(event).name))
    scheme = scheme_named(settings.train.scheme)
    store = PatchStore.open(event.patches_path)
    material = load_material(store, truth, scheme)
    division = divide(
        material,
        block_m=settings.block_m,
        test_share=settings.test_share,
        validation_share=settings.validation_share,
        least_pool=_most_of_a_class(settings, len(scheme)),
        rng=np.random.default_rng(settings.split_seed),
    )
    foreign = None
    if "mismatch" in settings.experiments:
        foreign = _foreign(event, store, material, settings)
        if foreign is not None:
            foreign = foreign.take(np.flatnonzero(~near_held_out(material, division, foreign.where)))
    plan = make_plan(
        settings,
        fingerprint=bench_fingerprint(material, division, foreign),
        pool=len(division.pool),
        classes=len(scheme),
        foreign=0 if foreign is None else len(foreign),
    )
    return Bench(plan=plan, material=material, division=division, foreign=foreign, folder=folder, trainer=trainer)


def _most_of_a_class(settings: BenchmarkSettings, classes: int) -> int:
    """Labelled buildings of one class that some cell draws."""
    if "imbalance" not in settings.experiments:
        return max(settings.labels)
    share = max(max(each, 1 - each) for each in settings.damaged_shares)
    intact_classes = max(classes // 2, 1)
    return max(max(settings.labels), round(share * settings.middle_labels * classes / intact_classes))


def _foreign(event: Event, store: PatchStore, material: Material, settings: BenchmarkSettings) -> Windows | None:
    if settings.foreign == WINDOWS:
        rng = np.random.default_rng([settings.split_seed, 3])
        return cut_windows(event, store, min(MOST_WINDOWS, len(material.pairs)), rng)
    other = PatchStore.open(Event.open(event.path.parent, settings.foreign).patches_path)
    if other.views != store.views or other.settings.size_px != store.settings.size_px:
        raise SettingsError(
            f"benchmark: the patches of event '{settings.foreign}' have other sizes than those of '{event.name}'; cut "
            "them with the same size_px, gsd_m and context_gsd_m"
        )
    pairs = other.load()
    chosen = np.sort(np.random.default_rng([settings.split_seed, 3]).permutation(len(pairs))[:MOST_WINDOWS])
    pairs = pairs.take(chosen)
    ids = np.char.add(f"{settings.foreign}/", pairs.building_id)
    named = PairSet(building_id=ids, close=pairs.close, context=pairs.context)
    return Windows(named, np.full((len(pairs), 2), _AWAY))

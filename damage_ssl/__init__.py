"""Building damage maps from pre/post imagery and a handful of labels, by semi-supervised learning.

    import damage_ssl

    event = damage_ssl.Event.create("workspace", "town", pre=["pre.tif"], post=["post.tif"], footprints="roofs.gpkg")
    damage_ssl.cut_patches(event)
    damage_ssl.import_labels(event, "labels.csv", labeller="me")
    run = damage_ssl.train(event)
    damage_ssl.predict(event, run)
    damage_ssl.export(event, "map.geojson")

Importing the package is cheap: a name is looked up in its room when it is first used, and torch, rasterio and geopandas
load with the room that needs them.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from damage_ssl.api import evaluate as evaluate
    from damage_ssl.api import train as train
    from damage_ssl.damage_scale import ClassScheme as ClassScheme
    from damage_ssl.damage_scale import LabelValue as LabelValue
    from damage_ssl.damage_scale import scheme_named as scheme_named
    from damage_ssl.errors import DamageSSLError as DamageSSLError
    from damage_ssl.events.definition import damage_scheme as damage_scheme
    from damage_ssl.events.definition import state_scheme as state_scheme
    from damage_ssl.events.event import Event as Event
    from damage_ssl.events.event import open_labels as open_labels
    from damage_ssl.labels.label_log import LabelStore as LabelStore
    from damage_ssl.labels.new_label import NewLabel as NewLabel
    from damage_ssl.learning.algorithms import ALGORITHMS as ALGORITHMS
    from damage_ssl.learning.algorithms.base import Algorithm as Algorithm
    from damage_ssl.learning.algorithms.base import AlgorithmEntry as AlgorithmEntry
    from damage_ssl.learning.algorithms.base import LossTerms as LossTerms
    from damage_ssl.learning.algorithms.base import Stateless as Stateless
    from damage_ssl.learning.algorithms.base import TrainingBatch as TrainingBatch
    from damage_ssl.learning.augmentation.photometry import AUGMENTATIONS as AUGMENTATIONS
    from damage_ssl.learning.pair_dataset import PairDataset as PairDataset
    from damage_ssl.learning.predictor import Predictor as Predictor
    from damage_ssl.learning.predictor import load_predictor as load_predictor
    from damage_ssl.learning.settings import TrainSettings as TrainSettings
    from damage_ssl.patches.pairs import PairSet as PairSet
    from damage_ssl.patches.pairs import PairViews as PairViews
    from damage_ssl.patches.store import PatchStore as PatchStore
    from damage_ssl.products.sampled_table import table_totals as table_totals
    from damage_ssl.products.totals import event_totals
    from damage_ssl.products.units import grid_units as grid_units
    from damage_ssl.products.units import read_units as read_units
    from damage_ssl.runs.best import best_run as best_run
    from damage_ssl.runs.finished_run import FinishedRun as FinishedRun
    from damage_ssl.runs.run import Run as Run
    from damage_ssl.settings import FootprintSettings as FootprintSettings
    from damage_ssl.settings import PatchSettings as PatchSettings
    from damage_ssl.settings import Resources as Resources
    from damage_ssl.settings import Settings as Settings
    from damage_ssl.settings import SplitSettings as SplitSettings
    from damage_ssl.simulation.event import simulate as simulate
    from damage_ssl.simulation.settings import SimulationSettings as SimulationSettings
    from damage_ssl.workflow import add_scenes as add_scenes
    from damage_ssl.workflow import cut_patches as cut_patches
    from damage_ssl.workflow import diff_runs as diff_runs
    from damage_ssl.workflow import export_event, predict_event
    from damage_ssl.workflow import export_table as export_table
    from damage_ssl.workflow import import_labels as import_labels
    from damage_ssl.workflow import next_to_label as next_to_label

    export, predict, totals = export_event, predict_event, event_totals

_HOMES = {
    "ALGORITHMS": "learning.algorithms",
    "AUGMENTATIONS": "learning.augmentation.photometry",
    "Algorithm": "learning.algorithms.base",
    "AlgorithmEntry": "learning.algorithms.base",
    "ClassScheme": "damage_scale",
    "DamageSSLError": "errors",
    "Event": "events.event",
    "FinishedRun": "runs.finished_run",
    "FootprintSettings": "settings",
    "LabelStore": "labels.label_log",
    "LabelValue": "damage_scale",
    "LossTerms": "learning.algorithms.base",
    "NewLabel": "labels.new_label",
    "PairDataset": "learning.pair_dataset",
    "PairSet": "patches.pairs",
    "PairViews": "patches.pairs",
    "PatchSettings": "settings",
    "PatchStore": "patches.store",
    "Predictor": "learning.predictor",
    "Resources": "settings",
    "Run": "runs.run",
    "Settings": "settings",
    "SimulationSettings": "simulation.settings",
    "SplitSettings": "settings",
    "Stateless": "learning.algorithms.base",
    "TrainSettings": "learning.settings",
    "TrainingBatch": "learning.algorithms.base",
    "add_scenes": "workflow",
    "best_run": "runs.best",
    "cut_patches": "workflow",
    "damage_scheme": "events.definition",
    "diff_runs": "workflow",
    "evaluate": "api",
    "export": "workflow",
    "export_table": "workflow",
    "grid_units": "products.units",
    "import_labels": "workflow",
    "load_predictor": "learning.predictor",
    "next_to_label": "workflow",
    "open_labels": "events.event",
    "predict": "workflow",
    "read_units": "products.units",
    "scheme_named": "damage_scale",
    "simulate": "simulation.event",
    "state_scheme": "events.definition",
    "table_totals": "products.sampled_table",
    "totals": "products.totals",
    "train": "api",
}
"""Public name → the module that holds it; the imports above say the same to type checkers (held by a test)."""

_SHORT = {"export": "export_event", "predict": "predict_event", "totals": "event_totals"}
"""Public names that are shorter than those in their module."""

__all__ = [*_HOMES]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'damage_ssl' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"damage_ssl.{_HOMES[name]}"), _SHORT.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

"""The models whose predictions the map can show."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import ClassScheme
from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.runs.change_score import ALGORITHM as CHANGE
from damage_ssl.runs.plan import plan_of
from damage_ssl.runs.predictions import class_probabilities, read_predictions
from damage_ssl.runs.run import Run


class MapModel(Protocol):
    """The model behind a map. One without a `run` was fitted on the fly: nothing was held out to check it."""

    @property
    def model_id(self) -> str:
        """A run id, or `live`."""

    @property
    def stamp(self) -> str:
        """Changes when the predictions change."""

    @property
    def algorithm(self) -> str:
        """The method, by its own name."""

    @property
    def scheme(self) -> ClassScheme:
        """The classes that it tells apart."""

    @property
    def threshold(self) -> float:
        """Damaged is P(damaged) ≥ threshold."""

    @property
    def run(self) -> Run | None:
        """The run on disk."""


@dataclass(frozen=True)
class FinishedRun:
    """A finished run as the model behind a map."""

    run: Run

    @property
    def model_id(self) -> str:
        return self.run.run_id

    @property
    def stamp(self) -> str:
        return format(self.run.predictions_path.stat().st_mtime_ns, "x")

    @property
    def algorithm(self) -> str:
        return plan_of(self.run).train.algorithm

    @property
    def scheme(self) -> ClassScheme:
        return plan_of(self.run).scheme

    @property
    def threshold(self) -> float:
        return Calibration.read(self.run.calibration_path).threshold


@dataclass(frozen=True, kw_only=True, eq=False)
class Said:
    """What a model says, as arrays over the assessed buildings: `Model.predictions` without the cost of a table."""

    building_id: NDArray[np.str_]
    probabilities: NDArray[np.float64]
    """[N, C], the classes of the model's scheme."""
    p_damaged: NDArray[np.float64]
    uncertainty: NDArray[np.float64]


class Model(MapModel, Protocol):
    """What the map asks of a model. Models are hashable; one with another `stamp` has other predictions."""

    def __hash__(self) -> int:
        """Of what it is, for caches."""

    @property
    def is_change_score(self) -> bool:
        """True where its numbers compare pre and post and are no probabilities of damage."""

    def predictions(self) -> pd.DataFrame:
        """Every assessed building: `building_id`, a probability a class, `p_damaged`, `uncertainty`."""

    def said(self) -> Said:
        """The same as arrays."""


@dataclass(frozen=True)
class RunModel(FinishedRun):
    """A finished run."""

    @property
    def is_change_score(self) -> bool:
        return self.algorithm == CHANGE

    def predictions(self) -> pd.DataFrame:
        return read_predictions(self.run)

    def said(self) -> Said:
        table = self.predictions()
        return Said(
            building_id=table["building_id"].to_numpy(str),
            probabilities=class_probabilities(table, self.scheme),
            p_damaged=table["p_damaged"].to_numpy(np.float64),
            uncertainty=table["uncertainty"].to_numpy(np.float64),
        )

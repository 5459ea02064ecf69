"""The models whose predictions the map can show."""

from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from damage_ssl.assessment.calibration import Calibration
from damage_ssl.assessment.change import ALGORITHM as CHANGE
from damage_ssl.assessment.prediction import read_predictions
from damage_ssl.grades import ClassScheme
from damage_ssl.learning.runs import Run
from damage_ssl.pipeline import plan_of


class Model(Protocol):
    """What the map asks of a model. Models are hashable; one with another `stamp` has other predictions."""

    def __hash__(self) -> int:
        """Of what it is, for caches."""

    @property
    def model_id(self) -> str:
        """Its name in addresses: a run id, or `live`."""

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
        """The run on disk; None for a model that is fitted on the fly."""

    @property
    def is_change_score(self) -> bool:
        """True where its numbers compare pre and post and are no probabilities of damage."""

    def predictions(self) -> pd.DataFrame:
        """Every assessed building: `building_id`, a probability a class, `p_damaged`, `uncertainty`."""


@dataclass(frozen=True)
class RunModel:
    """A finished run."""

    finished: Run

    @property
    def model_id(self) -> str:
        return self.finished.run_id

    @property
    def stamp(self) -> str:
        return format(self.finished.predictions_path.stat().st_mtime_ns, "x")

    @property
    def algorithm(self) -> str:
        return plan_of(self.finished).train.algorithm

    @property
    def scheme(self) -> ClassScheme:
        return plan_of(self.finished).scheme

    @property
    def threshold(self) -> float:
        return Calibration.read(self.finished.calibration_path).threshold

    @property
    def run(self) -> Run | None:
        return self.finished

    @property
    def is_change_score(self) -> bool:
        return self.algorithm == CHANGE

    def predictions(self) -> pd.DataFrame:
        return read_predictions(self.finished)

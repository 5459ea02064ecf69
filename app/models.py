"""The models whose predictions the map can show."""

from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from damage_ssl.assessment.change import ALGORITHM as CHANGE
from damage_ssl.assessment.prediction import read_predictions
from damage_ssl.pipeline.pack import FinishedRun, MapModel


class Model(MapModel, Protocol):
    """What the map asks of a model. Models are hashable; one with another `stamp` has other predictions."""

    def __hash__(self) -> int:
        """Of what it is, for caches."""

    @property
    def is_change_score(self) -> bool:
        """True where its numbers compare pre and post and are no probabilities of damage."""

    def predictions(self) -> pd.DataFrame:
        """Every assessed building: `building_id`, a probability a class, `p_damaged`, `uncertainty`."""


@dataclass(frozen=True)
class RunModel(FinishedRun):
    """A finished run."""

    @property
    def is_change_score(self) -> bool:
        return self.algorithm == CHANGE

    def predictions(self) -> pd.DataFrame:
        return read_predictions(self.run)

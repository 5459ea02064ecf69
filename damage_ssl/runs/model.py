"""The model behind a map: what a map asks of it, and what there is to know of its kind.

Two things can stand behind a map: a finished run (`finished_run.FinishedRun`) and the live model (`live.LiveModel`).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from damage_ssl.damage_scale import ClassScheme
from damage_ssl.errors import SettingsError
from damage_ssl.evaluation.stacking.stack import StackFacts
from damage_ssl.events.event import Event
from damage_ssl.progress import ProgressCallback
from damage_ssl.runs.cross_fitting import CrossFitted
from damage_ssl.runs.predictions import Prediction
from damage_ssl.runs.run import Run
from damage_ssl.settings import Resources

if TYPE_CHECKING:
    from distributed import Client

    from damage_ssl.learning.trainer.data import TrainProgress


class RunKind:
    """What a run is: how it is made, what its numbers mean, what must be said with them.

    Each kind is a type of its own, in the module that makes its runs. `kinds.kind_of` looks it up once, by the name of
    the algorithm; what differs between kinds below that line is asked of the kind.
    """

    name: str
    """The word for it; but for trainings, it stands where these have the name of their algorithm."""
    title: str | None = None
    """What people call a model of the kind; None: by its algorithm."""
    heading: str = "Damage map"
    """Title of its card."""
    statement: str | None = None
    """What must be said with every map of the kind."""
    method: str | None = None
    """How its numbers came about, in each row of a product; None: the name of its algorithm."""
    measure: str = "probability"
    """What its numbers are."""
    unit: str = "step"
    """What its work is counted in."""
    is_probability: bool = True
    """False where its numbers compare pre and post and are no probabilities of damage."""
    learns: bool = True
    """False where no label teaches it."""
    exportable: bool = True
    """False where its map goes out only in a pack, with what must be said of it."""
    instead: str | None = None
    """Why there is nothing to train, and the command to use, with `{event}` for its name; None for trainings."""
    no_member: str | None = None
    """Why a run of the kind cannot be averaged by an ensemble; None where it can."""

    def check_trainable(self, event: Event) -> None:
        """Raises SettingsError where the kind's name was given for an algorithm: the message has the command to use."""
        if self.instead is not None:
            raise SettingsError(f"algorithm '{self.name}' {self.instead.format(event=event.name)}")

    def train(
        self,
        event: Event,
        run: Run,
        progress: "Callable[[TrainProgress], None] | None" = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        """Train what was planned, where there is something to train."""

    def predict(
        self,
        event: Event,
        run: Run,
        progress: ProgressCallback | None = None,
        *,
        resources: Resources | None = None,
        client: "Client | None" = None,
    ) -> pd.DataFrame:
        """Predict every assessed building, write calibration and predictions, and finish the run.

        Returns:
            `building_id`, a probability a class, `p_damaged`, `uncertainty`: see `predictions.prediction_table`.

        Raises:
            WorkspaceError: the run cannot predict (any more). StorageError: the disk is full.
        """
        raise NotImplementedError(f"{self.name}: has no runs")


class MapModel(Protocol):
    """The model behind a map. Models are hashable; one with another `stamp` has other predictions.

    One without a `run` was fitted on the fly: nothing was held out to check it.
    """

    def __hash__(self) -> int:
        """Of what it is, for caches."""

    @property
    def model_id(self) -> str:
        """A run id, or `live`."""

    @property
    def stamp(self) -> str:
        """Changes when the predictions change."""

    @property
    def kind(self) -> RunKind:
        """What it is."""

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
    def statement(self) -> str | None:
        """What must be said with its numbers."""

    @property
    def validated(self) -> bool:
        """True where it was checked on enough buildings that it has not learned from (`metrics.enough_to_validate`)."""

    @property
    def unseen(self) -> CrossFitted | None:
        """What it says of its labels without having learned from them; None where it was not cross-fitted."""

    @property
    def stack(self) -> StackFacts | None:
        """What its spatial stack was found to be; None without one."""

    @property
    def run(self) -> Run | None:
        """The run on disk."""

    @property
    def method(self) -> str | None:
        """How its numbers came about, in words: goes into every row of a product."""

    @property
    def predictions(self) -> pd.DataFrame:
        """What it says, as a table with a row for each assessed building; see `predictions.prediction_table`."""

    @property
    def prediction(self) -> Prediction:
        """The same as arrays; a run's are read from disk each time, since caches hold models."""

"""What a prior model says of an event's buildings: which model is taken, and its log-odds, worked out once.

A model is named by its file, by the name of a packaged one, or by that of a file in the workspace's folder `models`.
Without a name the event's hazard decides.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.errors import InputError, WorkspaceError, nearest_name
from damage_ssl.events.event import Event
from damage_ssl.files import atomic_path, storage_errors
from damage_ssl.learning.prior.hazards import MODELS, models_for, packaged_path
from damage_ssl.learning.prior.model import SUFFIX, PriorModel, prior_log_odds
from damage_ssl.patches.store import PatchStore
from damage_ssl.progress import ProgressCallback

NO_PRIOR = "none"
"""In place of a model: no prior model is used."""
COLUMN = "prior"
"""The name of its column in the spatial stack."""


@dataclass(frozen=True, kw_only=True)
class PriorChoice:
    """The models that are taken, each as `name` or path with a hash of its file; several are averaged."""

    references: tuple[str, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """Their files."""
        return tuple(_path_of(reference.rpartition("#")[0]) for reference in self.references)

    @property
    def digest(self) -> str:
        """A hash of what they say."""
        return hashlib.blake2b("\0".join(self.references).encode(), digest_size=8).hexdigest()

    def models(self) -> list[PriorModel]:
        """Read them.

        Raises:
            InputError: a file is gone, or is no prior model.
            WorkspaceError: a file is no longer the one that was chosen.
        """
        if self != _chosen([reference.rpartition("#")[0] for reference in self.references]):
            raise WorkspaceError(
                f"prior model {', '.join(map(str, self.paths))}: is not what the run was begun with; begin a new run"
            )
        return [PriorModel.read(path) for path in self.paths]


def prior_statement(references: Sequence[str]) -> str | None:
    """Where the models of a choice come from, in a sentence that needs no file; None where there are none.

    Examples:
        >>> prior_statement(("flood#1f",))
        'The order of the buildings comes also from the prior model flood, from simulated towns; your labels take over.'
    """
    names = [reference.rpartition("#")[0] for reference in references]
    if not names:
        return None
    word = "model" if len(names) == 1 else "models"
    said = " and ".join(name if name in MODELS else Path(name).stem for name in names)
    made = "from simulated towns" if all(name in MODELS for name in names) else "learned from other events"
    return f"The order of the buildings comes also from the prior {word} {said}, {made}; your labels take over."


def workspace_models(workspace: Path) -> Path:
    """The folder of the user's own prior models."""
    return Path(workspace) / "models"


def choose_prior(event: Event, asked: str | None = None) -> PriorChoice | None:
    """The prior model of an event: the asked one (a name, a file, `NO_PRIOR`), else by its hazard.

    Raises:
        InputError: there is no such model.
    """
    if asked == NO_PRIOR:
        return None
    if asked is None:
        names = [name for name in models_for(event.hazard) if packaged_path(name).exists()]
        return _chosen(names) if names else None
    own = workspace_models(event.path.parent) / f"{asked}{SUFFIX}"
    if own.exists():
        return _chosen([str(own)])
    if asked in MODELS:
        return _chosen([asked])
    if not Path(asked).is_file():
        known = (*MODELS, NO_PRIOR, *(path.stem for path in sorted(own.parent.glob(f"*{SUFFIX}"))))
        raise InputError(f"prior model '{asked}': no file and no model of this name: {nearest_name(asked, known)}")
    return _chosen([str(Path(asked).resolve())])


def chosen_before(references: Sequence[str]) -> PriorChoice | None:
    """The choice that a run's plan holds."""
    return PriorChoice(references=tuple(references)) if references else None


def event_prior(event: Event, choice: PriorChoice, progress: ProgressCallback | None = None) -> pd.Series:
    """Log-odds of damaged by building id, worked out once for these patches and models, and kept with the event.

    Raises:
        InputError, WorkspaceError: as `PriorChoice.models` and `make_pair_features` do.
    """
    path = _kept_path(event, choice)
    if not path.exists():
        from damage_ssl.learning.features.pair_features import make_pair_features

        models = choice.models()
        features = make_pair_features(event, progress)
        table = pd.DataFrame({"building_id": features.building_id, "log_odds": prior_log_odds(models, features)})
        path.parent.mkdir(exist_ok=True)
        with storage_errors(path), atomic_path(path) as temporary:
            table.to_parquet(temporary, index=False)
    return pd.read_parquet(path).set_index("building_id")["log_odds"]


def kept_columns(event: Event, building_id: NDArray[np.str_]) -> dict[str, NDArray[np.float64]]:
    """The columns of `stack_columns` that need no waiting; none where no first map has made them."""
    kept = kept_prior(event, building_id)
    return {} if kept is None else {COLUMN: kept}


def kept_prior(event: Event, building_id: NDArray[np.str_]) -> NDArray[np.float64] | None:
    """The event's log-odds for these buildings [N], where its hazard's model has been applied to its patches already.

    For whoever must not wait: nothing is computed. A building that it lacks has 0.
    """
    choice = choose_prior(event)
    if choice is None or not (path := _kept_path(event, choice)).exists():
        return None
    log_odds = pd.read_parquet(path).set_index("building_id")["log_odds"]
    return log_odds.reindex(building_id).fillna(0.0).to_numpy(np.float64)


def prior_for_training(event: Event, asked: str | None = None, *, whole: bool) -> PriorChoice | None:
    """The prior model that a training stacks: the asked one, else that of the event's hazard.

    Unless it is asked for, a training that is not `whole` does without, except where a first map has made it already: a
    regression that takes a second shall not wait for pair features. `whole` is one that describes every building by
    several views anyway.

    Raises:
        InputError: there is no such model.
    """
    choice = choose_prior(event, asked)
    if choice is None or whole or asked is not None or _kept_path(event, choice).exists():
        return choice
    return None


def stack_columns(
    event: Event, references: Sequence[str], building_id: NDArray[np.str_], progress: ProgressCallback | None = None
) -> dict[str, NDArray[np.float64]]:
    """The further columns of a run's spatial stack: log-odds [N] of the prior models of its plan, none without.

    Raises:
        InputError, WorkspaceError: as `event_prior` does.
    """
    choice = chosen_before(references)
    if choice is None:
        return {}
    log_odds = event_prior(event, choice, progress).reindex(building_id)
    return {COLUMN: log_odds.fillna(0.0).to_numpy(np.float64)}


def _kept_path(event: Event, choice: PriorChoice) -> Path:
    fingerprint = PatchStore.open(event.patches_path).fingerprint
    return event.path / "prior" / f"{choice.digest}-{fingerprint[:16]}.parquet"


def _chosen(names: Sequence[str]) -> PriorChoice:
    return PriorChoice(references=tuple(f"{name}#{_digest(_path_of(name))}" for name in names))


def _path_of(name: str) -> Path:
    return packaged_path(name) if name in MODELS else Path(name)


def _digest(path: Path) -> str:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=6).hexdigest()
    except OSError as error:
        raise InputError(f"prior model {path}: cannot be read ({error}); see `damage-ssl model list`") from error

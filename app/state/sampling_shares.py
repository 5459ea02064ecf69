"""How queues are mixed: shares kept with the event, so that every analyst in every browser is asked by the same."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from app.state.event_view import EventView
from app.state.label_evidence import answers_of
from damage_ssl.errors import InputError
from damage_ssl.events.event import Event
from damage_ssl.files import read_json, write_json
from damage_ssl.labels.sampling import second_opinions


@dataclass(frozen=True, kw_only=True)
class Shares:
    """`random`: of the labelling queue, what is drawn by plain chance. `second`: of all labelled buildings, those that
    two analysts should answer, so that agreement can be measured. Both 0..1.
    """

    random: float = 0.25
    second: float = 0.10

    def __post_init__(self) -> None:
        for name, share in asdict(self).items():
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 <= share <= 1.0:
                raise InputError(f"share '{name}' is {share!r}; give a number from 0 to 1")


def shares_of(event: Event) -> Shares:
    """The event's shares, the usual ones where nobody chose others.

    Raises:
        InputError: its settings file is damaged; the message names it.
    """
    path = _path(event)
    try:
        kept: Any = read_json(path)
        return Shares(**kept["queue"])
    except FileNotFoundError:
        return Shares()
    except (ValueError, TypeError, KeyError, InputError) as error:
        raise InputError(f"{path}: is not this app's settings of the event ({error}); correct or delete it") from error


def keep_shares(event: Event, shares: Shares) -> None:
    """Keep them for everybody who works on the event.

    Raises:
        StorageError: the disk is full or not writable.
    """
    write_json(_path(event), {"queue": asdict(shares)})


def second_opinions_wanted(view: EventView, labeller: str, revision: int, rng: np.random.Generator) -> pd.DataFrame:
    """Buildings that one other analyst has answered, as many as the event's share still lacks, in an order of chance.

    Returns:
        As `labels.sampling.second_opinions`; of buildings that can be assessed.
    """
    answers = answers_of(view.event, revision)
    rows = [view.position_of.get(building, -1) for building in answers["building_id"].tolist()]
    at = np.array(rows, dtype=np.intp)
    answers = answers[(at >= 0) & view.assessed[at]]
    analysts = answers.groupby("building_id")["labeller"].nunique()
    wanted = math.ceil(shares_of(view.event).second * len(analysts)) - int((analysts > 1).sum())
    return second_opinions(answers, labeller, max(wanted, 0), rng)


def _path(event: Event) -> Path:
    return event.path / "app.json"

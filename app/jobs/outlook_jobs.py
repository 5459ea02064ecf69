"""What the next labels would bring, worked out in a process of its own: the fits would hold up whoever labels."""

import logging
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from damage_ssl.errors import DamageSSLError
from damage_ssl.evaluation.learning_curve import LearningCurve, OutlookQuestion, elsewhere

_LOG = logging.getLogger(__name__)
_LOCK = threading.Lock()
_WAITING = ThreadPoolExecutor(1, thread_name_prefix="outlook")


@dataclass(frozen=True)
class Told:
    """The newest answer (None before the first), and whether a newer one is being worked out."""

    outlook: LearningCurve | None
    waiting: bool


_KNOWN: dict[str, tuple[str, LearningCurve | None]] = {}  # subject → the state that was asked about, and the answer
_ASKED: dict[str, str] = {}


def told(subject: str, state: str, question: Callable[[], OutlookQuestion]) -> Told:
    """What is known of a subject now; asks `question` in the background where that is of another `state`."""
    with _LOCK:
        known, answer = _KNOWN.get(subject, ("", None))
        if known == state:
            return Told(answer, waiting=False)
        if _ASKED.get(subject) != state:
            _ASKED[subject] = state
            _WAITING.submit(_ask, subject, state, question)
        return Told(answer, waiting=True)


def _ask(subject: str, state: str, question: Callable[[], OutlookQuestion]) -> None:
    if _ASKED.get(subject) != state:
        return  # asked again since, of a newer state
    try:
        answer = elsewhere(question())
    except (DamageSSLError, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        _LOG.warning("what more labels would bring is not known: %s", error)
        answer = None
    with _LOCK:
        _KNOWN[subject] = (state, answer)

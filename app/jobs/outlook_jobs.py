"""What the next labels would bring, worked out in a process of its own: the fits would hold up whoever labels."""

import logging
from dataclasses import dataclass
from pathlib import Path

from app.jobs import job
from damage_ssl.errors import DamageSSLError
from damage_ssl.evaluation.learning_curve import LearningCurve, read_curve
from damage_ssl.events.event import Event

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Told:
    """The newest answer (None before the first), and whether a newer one is being worked out."""

    outlook: LearningCurve | None
    waiting: bool


def told(event: Event, state: str) -> Told:
    """What is known of an event's next labels now; asks in the background where that is of another `state`."""
    folder = event.path / "outlook_job"
    try:
        with job.one_at_a_time(folder):
            report = job.report_in(folder)
            if report is None or (not report.active and report.job.form.get("state") != state):
                job.start(
                    ["label", "outlook", event.name, "--out", str(_answer(folder))], folder, form={"state": state}
                )
                return Told(read_curve(_answer(folder)), waiting=True)
    except (DamageSSLError, OSError) as error:
        _LOG.warning("what more labels would bring is not known: %s", error)
        return Told(None, waiting=False)
    known = read_curve(_answer(folder)) if report.active or report.state == "done" else None
    return Told(known, waiting=report.active)


def _answer(folder: Path) -> Path:
    return folder / "learning_curve.json"

"""What more labels would bring is worked out beside the page, and never holds it up or breaks it."""

import threading
from pathlib import Path

import numpy as np
import pytest

from app.jobs.outlook_jobs import Told, told
from damage_ssl.errors import WorkspaceError
from damage_ssl.evaluation.learning_curve import OutlookQuestion
from tests.conftest import eventually


def question(count: int = 4) -> OutlookQuestion:
    at = np.zeros(count)
    return OutlookQuestion(
        features=np.zeros((count, 2), np.float32), classes=np.arange(count, dtype=np.int64) % 2, x_m=at, y_m=at
    )


def test_page_never_waits_and_keeps_the_last_answer_until_there_is_a_newer_one(tmp_path: Path) -> None:
    subject, held = str(tmp_path), threading.Event()

    def slow() -> OutlookQuestion:
        assert held.wait(60)
        return question(6)

    assert told(subject, "4 labels", question) == Told(None, waiting=True)
    first = eventually(lambda: told(subject, "4 labels", question).outlook)
    assert first.labels == 4
    assert told(subject, "6 labels", slow) == Told(first, waiting=True)
    assert told(subject, "6 labels", slow) == Told(first, waiting=True)
    held.set()
    assert eventually(lambda: not told(subject, "6 labels", slow).waiting)
    newest = told(subject, "6 labels", slow).outlook
    assert newest is not None and newest.labels == 6


@pytest.mark.parametrize("kind", [OSError, WorkspaceError])
def test_question_that_cannot_be_answered_leaves_nothing_to_say(
    kind: type[Exception], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> OutlookQuestion:
        raise kind("the disk is gone")

    assert told(str(tmp_path), "now", broken).waiting
    assert eventually(lambda: told(str(tmp_path), "now", broken) == Told(None, waiting=False))
    assert "the disk is gone" in caplog.text

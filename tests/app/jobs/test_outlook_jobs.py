"""What more labels would bring is worked out beside the page, and never holds it up or breaks it."""

import time
from pathlib import Path

import pytest

from app.jobs import job
from app.jobs.outlook_jobs import Told, told
from app.state.event_view import label_store
from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import StorageError
from damage_ssl.events.event import Event
from tests.app.town_app import add_features, prepared_event
from tests.conftest import Town, eventually


@pytest.fixture
def event(town: Town, monkeypatch: pytest.MonkeyPatch) -> Event:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    event = prepared_event(town)
    add_features(event, {"b03", "b04"})
    return event


def label(event: Event, count: int) -> None:
    for number in range(count):
        value = LabelValue.DESTROYED if number % 2 else LabelValue.NO_DAMAGE
        label_store(event).add(f"b{number:02}", value, labeller="Ana", drawn="map", inclusion_probability=None)


def test_page_never_waits_and_keeps_the_last_answer_until_there_is_a_newer_one(event: Event) -> None:
    label(event, 4)
    begun = time.monotonic()
    assert told(event, "4 labels") == Told(None, waiting=True)
    assert time.monotonic() - begun < 2
    first = eventually(lambda: told(event, "4 labels").outlook)
    assert first.labels == 4
    label(event, 6)
    assert told(event, "6 labels") == Told(first, waiting=True)
    assert eventually(lambda: not told(event, "6 labels").waiting)
    newest = told(event, "6 labels").outlook
    assert newest is not None and newest.labels == 6


def test_question_that_cannot_be_answered_leaves_nothing_to_say(event: Event) -> None:
    (event.path / "features" / "features.json").unlink()
    assert told(event, "now").waiting
    assert eventually(lambda: told(event, "now") == Told(None, waiting=False))


def test_question_that_cannot_be_asked_leaves_nothing_to_say(
    event: Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(command: list[str], folder: Path, **_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(job, "start", full)
    assert told(event, "now") == Told(None, waiting=False)
    assert "the disk is full" in caplog.text

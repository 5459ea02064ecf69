"""Labels from a CSV file in the browser: all of them or none, and what is wrong is said by its row."""

from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st

from app.auth.access import Person
from app.panels.labels import _take
from app.state.event_view import view_of
from damage_ssl import workflow
from tests.conftest import Town


@pytest.fixture
def take(town: Town, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Send a file, and give what the page then says."""
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    town.create()
    state: dict[str, Any] = {"import-generation": 0}
    monkeypatch.setattr(st, "session_state", state)

    def send(text: str, *, skip: bool = False) -> tuple[str, bool, str]:
        state.update({"import-0": SimpleNamespace(getvalue=lambda: text.encode()), "import-skip": skip})
        _take(view_of("town"), Person("ana", "analyst"), "import-0")
        outcome: tuple[str, bool, str] = state["import-outcome"]
        return outcome

    return send


def counts(town: Town) -> int:
    return sum(workflow.open_labels(view_of("town").event).counts().values())


def test_labels_of_a_file_are_taken_in_the_name_of_the_person(take: Any, town: Town) -> None:
    assert take("building_id,grade\nb00,destroyed\nb01,no-damage\n") == ("town", True, "2 labels taken.")
    labels = workflow.open_labels(view_of("town").event).current()
    assert set(labels["labeller"]) == {"ana"}


def test_one_wrong_row_and_none_is_taken(take: Any, town: Town) -> None:
    _, good, text = take("building_id,grade\nb00,destroyed\nb01,detroyed\n")
    assert not good
    assert "row 3" in text and "detroyed" in text and "No label was taken" in text
    assert "/" not in text.split(",")[0]
    assert counts(town) == 0


def test_unknown_buildings_are_refused_or_left_out_as_asked(take: Any, town: Town) -> None:
    file = "building_id,grade\nb00,destroyed\nelsewhere,destroyed\n"
    assert not take(file)[1]
    assert counts(town) == 0
    assert take(file, skip=True) == ("town", True, "1 label taken; 1 of unknown buildings left out.")
    assert counts(town) == 1

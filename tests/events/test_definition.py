"""What counts as damaged in an event: stated once, kept, read again with care."""

import json
from datetime import datetime

import pytest

from damage_ssl.damage_scale import SCHEMES
from damage_ssl.errors import SettingsError, WorkspaceError
from damage_ssl.events.definition import (
    DEFINITION_FILE,
    damage_scheme,
    read_definition,
    state_scheme,
    stated_scheme,
    training_scheme,
)
from tests.conftest import Town


def test_an_event_of_which_nobody_said_it_takes_the_default(town: Town) -> None:
    event = town.create()
    assert stated_scheme(event) is None and read_definition(event) is None
    assert damage_scheme(event).name == "binary-major"
    assert not (event.path / DEFINITION_FILE).exists()


@pytest.mark.parametrize("name", SCHEMES)
def test_what_is_stated_is_kept_with_who_and_when_also_when_the_event_is_made_anew(town: Town, name: str) -> None:
    event = town.create()
    assert state_scheme(event, name, by="ana") == SCHEMES[name] == damage_scheme(event)
    found = read_definition(town.create(overwrite=True))
    assert found is not None and (found.scheme.name, found.by) == (name, "ana")
    assert datetime.fromisoformat(str(found.stated)).tzinfo is not None


def test_without_a_name_it_is_the_account_that_states_it(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    event = town.create()
    monkeypatch.setenv("LOGNAME", "bo")
    state_scheme(event, "grades")
    assert read_definition(event).by == "bo"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "17", '"grades"', "{}", '{"scheme": null}', '{"scheme": "binary"}', '{"scheme": []}'],
)
def test_a_damaged_file_is_never_taken_for_the_default_and_can_be_stated_again(town: Town, text: str) -> None:
    event = town.create()
    (event.path / DEFINITION_FILE).write_text(text)
    for read in (stated_scheme, damage_scheme):
        with pytest.raises(WorkspaceError, match=r"damage_definition.json: .*damage-ssl define town --scheme"):
            read(event)
    assert state_scheme(event, "binary-minor") == damage_scheme(event)


def test_bytes_that_are_no_text_and_a_file_of_an_older_version_are_read_with_care(town: Town) -> None:
    event = town.create()
    (event.path / DEFINITION_FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WorkspaceError, match="state it again"):
        damage_scheme(event)
    (event.path / DEFINITION_FILE).write_text(json.dumps({"scheme": "grades"}))
    found = read_definition(event)
    assert found is not None and (found.scheme.name, found.stated, found.by) == ("grades", None, None)


def test_an_unknown_scheme_states_nothing(town: Town) -> None:
    event = town.create()
    with pytest.raises(SettingsError, match="did you mean 'binary-minor'"):
        state_scheme(event, "binary-minr")
    assert not (event.path / DEFINITION_FILE).exists()


@pytest.mark.parametrize(
    ("stated", "asked", "fits"),
    [
        (None, "binary-minor", True),
        (None, "grades", True),
        ("binary-major", "binary-major", True),
        ("binary-major", "grades", True),  # read under either definition
        ("binary-minor", "grades", True),
        ("binary-major", "binary-minor", False),
        ("binary-minor", "binary-major", False),
        ("grades", "binary-major", False),
    ],
)
def test_a_training_may_ask_what_the_event_can_be_told_by(
    town: Town, stated: str | None, asked: str, fits: bool
) -> None:
    event = town.create()
    if stated is not None:
        state_scheme(event, stated)
    if fits:
        assert training_scheme(event, asked).name == asked
    else:
        with pytest.raises(SettingsError, match=f"damage-ssl define town --scheme {asked}"):
            training_scheme(event, asked)
    assert training_scheme(event, None).name == (stated or "binary-major")
    with pytest.raises(SettingsError, match="unknown"):
        training_scheme(event, "binary")

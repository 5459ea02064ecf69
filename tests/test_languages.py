import re

import pytest

from damage_ssl.languages import LANGUAGES, translator
from tests.locale_catalogues import TRANSLATED, catalogue, wanted_texts

PLACEHOLDER = re.compile(r"{\w+}")


@pytest.mark.parametrize("code", TRANSLATED)
def test_every_text_is_translated_with_the_same_placeholders(code: str) -> None:
    known = {message.id: message.string for message in catalogue(code) if message.id}
    assert set(known) == set(wanted_texts()), "run python -m tests.locale_catalogues and translate what is empty"
    assert [text for text, said in known.items() if not said] == []
    odd = {
        text: said for text, said in known.items() if set(PLACEHOLDER.findall(text)) != set(PLACEHOLDER.findall(said))
    }
    assert odd == {}


@pytest.mark.parametrize("code", TRANSLATED)
def test_compiled_catalogue_says_what_the_source_says(code: str) -> None:
    say = translator(code)
    assert {text: say(text) for text in wanted_texts()} == {m.id: m.string for m in catalogue(code) if m.id}


def test_a_text_without_a_translation_stays_english() -> None:
    assert translator("ar")("Nobody wrote this") == "Nobody wrote this"
    assert translator("en")("Assessed") == "Assessed"


def test_names_within_arabic_are_isolated_and_elsewhere_left_alone() -> None:
    assert LANGUAGES["ar"].inside("2017-10-11") == "\u20682017-10-11\u2069"
    assert LANGUAGES["fr"].inside("2017-10-11") == "2017-10-11"
    assert LANGUAGES["fr"].number(1234) == "1\u202f234"

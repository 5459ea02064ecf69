"""The languages in which people are told things: gettext catalogues, direction of writing, how numbers are written.

English is the source text; the others lie in `locale/<code>/LC_MESSAGES/damage_ssl.po` and are compiled to the `.mo`
beside it by `python -m tests.locale_catalogues` (Babel, for development only; reading them takes Python's `gettext`).
"""

import gettext
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from damage_ssl.errors import InputError, nearest_name

DOMAIN = "damage_ssl"
LOCALE = Path(__file__).parent / "locale"


@dataclass(frozen=True)
class Language:
    """A language: its code (ISO 639-1), its own name, direction of writing, the marks of thousands and of lists."""

    code: str
    name: str
    right_to_left: bool = False
    thousands: str = ","
    comma: str = ", "

    def number(self, value: int) -> str:
        """A whole number with its thousands marked; digits are Western in every language, as on the map's files."""
        return f"{value:,}".replace(",", self.thousands)

    def inside(self, text: str) -> str:
        """A name, date or range to stand within a sentence: isolated, so that no neighbour turns its order round.

        Source: Unicode Standard Annex 9, first strong isolate (U+2068) to pop directional isolate (U+2069).
        """
        return f"\u2068{text}\u2069" if self.right_to_left else text


LANGUAGES: Mapping[str, Language] = {
    language.code: language
    for language in (
        Language("en", "English"),
        Language("fr", "Français", thousands="\u202f"),
        Language("es", "Español", thousands="\u202f"),
        Language("ar", "العربية", right_to_left=True, comma="، "),
    )
}


def language_named(code: str) -> Language:
    """Look a language up by its code.

    Raises:
        InputError: there is no catalogue of it.

    Examples:
        >>> language_named("ar").right_to_left
        True
    """
    if code not in LANGUAGES:
        raise InputError(f"language '{code}' is unknown: {nearest_name(code, LANGUAGES)}")
    return LANGUAGES[code]


def translator(language: str) -> Callable[[str], str]:
    """What gives an English text in a language; a text that its catalogue lacks stays English.

    Raises:
        InputError: there is no catalogue of it.

    Examples:
        >>> translator("fr")("Not assessed")
        'Non évalués'
    """
    code = language_named(language).code
    return gettext.translation(DOMAIN, LOCALE, languages=[code], fallback=code == "en").gettext

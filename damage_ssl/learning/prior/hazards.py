"""Which prior models an event takes: from its hazard, in whatever words it is given."""

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from damage_ssl.learning.prior.model import SUFFIX, PriorModel

ALL = "all"
"""The model of towns of every hazard: for what is not known or has no model of its own."""

MODELS = ("earthquake", "fire", "flood", "wind", ALL)
"""The packaged models, made by `damage-ssl model build`."""

MODEL_OF_WORD: Mapping[str, tuple[str, ...]] = {
    "earthquake": ("earthquake",),
    "quake": ("earthquake",),
    "seismic": ("earthquake",),
    "fire": ("fire",),
    "wildfire": ("fire",),
    "bushfire": ("fire",),
    "flood": ("flood",),
    "flooding": ("flood",),
    "floods": ("flood",),
    "tsunami": ("flood",),
    "surge": ("flood",),
    "wind": ("wind",),
    "tornado": ("wind",),
    "storm": ("wind",),
    "hurricane": ("wind", "flood"),
    "cyclone": ("wind", "flood"),
    "typhoon": ("wind", "flood"),
}
"""One table for the words of hazards; where a text names several models, their log-odds are averaged."""


def models_for(hazard: str | None) -> tuple[str, ...]:
    """Names of the packaged models for a hazard in free text.

    Examples:
        >>> models_for("wind and flood"), models_for("Tsunami"), models_for("volcano"), models_for(None)
        (('wind', 'flood'), ('flood',), ('all',), ('all',))
    """
    words = re.findall(r"[a-z]+", (hazard or "").lower())
    names = [name for word in words for name in MODEL_OF_WORD.get(word, ())]
    return tuple(dict.fromkeys(names)) or (ALL,)


def packaged_path(name: str) -> Path:
    """Where the packaged model of this name lies."""
    return Path(str(files("damage_ssl.learning.prior") / "packaged" / f"{name}{SUFFIX}"))


def packaged_model(name: str) -> PriorModel:
    """A packaged model by its name, one of `MODELS`.

    Raises:
        InputError: it is missing from the installation, or damaged.
    """
    return PriorModel.read(packaged_path(name))

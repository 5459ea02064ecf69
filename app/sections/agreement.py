"""Do the analysts agree? Who has answered how much, kappa with its meaning in words, and where two of them differ."""

from functools import lru_cache
from html import escape

import pandas as pd
import streamlit as st

from app.data import EventView
from app.evidence import label_log
from app.legend import colour_of, name_of
from app.models import Model
from app.ui import facts, note
from damage_ssl.event.catalog import Event
from damage_ssl.grades import ClassScheme, scheme_named
from damage_ssl.labelling.agreement import Agreement, PairAgreement, agreement, confusion, independent_answers
from damage_ssl.settings import TrainSettings

KEYS = {"no-damage": "1", "minor-damage": "2", "major-damage": "3", "destroyed": "4"}

FEW_BUILDINGS = 20
"""On fewer shared buildings than this kappa is a guess, and is said to be one."""

_MEANINGS = ((0.8, "very good"), (0.6, "good"), (0.4, "moderate"), (0.2, "weak"), (-1.0, "hardly better than chance"))


def kappa_words(kappa: float | None, buildings: int) -> str:
    """What a kappa means (the bands of Altman 1991, "Practical statistics for medical research", p. 404)."""
    if kappa is None:
        return "not defined: all answers are alike, or too few"
    meaning = next(words for least, words in _MEANINGS if kappa > least or least == _MEANINGS[-1][0])
    caution = (
        f"; {buildings} shared building{'s' if buildings > 1 else ''} tell little" if buildings < FEW_BUILDINGS else ""
    )
    return f"{kappa:.2f} · {meaning}{caution}"


def show(view: EventView, model: Model | None, revision: int) -> None:
    """The part "Agreement" of checking."""
    answers = _answers(view.event, revision)
    given = answers["labeller"].value_counts()
    if given.empty:
        note("Nobody has labelled yet.")
        return
    facts([(str(name), f"{count:,} answers") for name, count in given.items()])
    scheme = model.scheme if model is not None else scheme_named(TrainSettings().scheme)
    every, coarse = _agreement(view.event, revision, None), _agreement(view.event, revision, scheme)
    if not every.buildings:
        note("No building has been answered by two analysts yet. The queue “Second opinions” asks for that.")
        return
    note(f"{every.buildings:,} buildings were answered by two or more. Agreement beyond chance (kappa):")
    facts(
        [
            ("On the exact answer", kappa_words(every.kappa, every.buildings)),
            ("On damaged or not", kappa_words(coarse.kappa, coarse.buildings)),
        ]
    )
    pairs = {f"{pair.first} and {pair.second}": pair for pair in every.pairs}
    names = list(pairs)
    if st.session_state.get("agreement-pair") not in names:
        st.session_state["agreement-pair"] = names[0]
    chosen = names[0] if len(names) == 1 else st.selectbox("Two analysts", names, key="agreement-pair")
    _pair(pairs[chosen], answers)


def _pair(pair: PairAgreement, answers: pd.DataFrame) -> None:
    note(
        f"{pair.first} and {pair.second} gave the same answer to {pair.agreed:.0%} of {pair.buildings:,} buildings; "
        f"Cohen's kappa {kappa_words(pair.kappa, pair.buildings)}."
    )
    st.html(_table(confusion(answers, pair.first, pair.second), pair.first, pair.second))


def _table(counts: pd.DataFrame, first: str, second: str) -> str:
    """A small table of counts: one analyst down, the other across; where they agree is set off."""
    head = "".join(
        f'<th scope="col" title="{escape(name_of(each))}">{_swatch(each)}<br>{_short(each)}</th>'
        for each in counts.columns
    )
    body = "".join(
        f'<tr><th scope="row">{_swatch(given)}{_short(given)} {escape(name_of(given))}</th>'
        + "".join(
            f'<td class="{"same" if given == other else "apart" if count else "none"}">{count or "·"}</td>'
            for other, count in row.items()
        )
        + "</tr>"
        for given, row in zip(counts.index.astype(str), counts.to_dict("records"), strict=True)
    )
    return (
        f'<table class="ds-confusion"><caption>Down: {escape(first)}. Across: {escape(second)}.</caption>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _short(value: str) -> str:
    """The key with which an answer is given; the first letter of one that has none."""
    return KEYS.get(value, name_of(value)[0])


def _swatch(value: str) -> str:
    return f'<i style="background:{escape(colour_of(value))}" aria-hidden="true"></i>'


def _answers(event: Event, revision: int) -> pd.DataFrame:
    return independent_answers(label_log(event, revision))


@lru_cache(maxsize=8)
def _agreement(event: Event, revision: int, scheme: ClassScheme | None) -> Agreement:
    return agreement(_answers(event, revision), scheme)

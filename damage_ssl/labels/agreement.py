"""Do analysts agree? Kappa between them, and the buildings on which somebody has to decide."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from damage_ssl.damage_scale import ClassScheme, LabelValue
from damage_ssl.labels.schema import ADJUDICATION, REVERT, WITHDRAWN

FEW_BUILDINGS = 20
"""On fewer shared buildings than this kappa is a guess, and is said to be one."""


@dataclass(frozen=True, kw_only=True)
class PairAgreement:
    """How two analysts agree on the `buildings` that both have answered.

    `agreed` is the plain share of equal answers; `kappa` is Cohen's, 1 for full agreement and 0 for what chance would
    give; None where it is not defined (fewer than two buildings, or one answer only).
    """

    first: str
    second: str
    buildings: int
    agreed: float
    kappa: float | None


@dataclass(frozen=True, kw_only=True)
class AnalystAgreement:
    """Agreement of all analysts on the buildings that at least two of them have answered (`buildings`).

    `kappa` is Fleiss' over all analysts, None where it is not defined.
    """

    buildings: int
    agreed: float | None
    kappa: float | None
    pairs: tuple[PairAgreement, ...]


@dataclass(frozen=True)
class Confusion:
    """How often two analysts gave which `answers` to the same building: `counts`, a row for each of the first's."""

    answers: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


def independent_answers(log: pd.DataFrame) -> pd.DataFrame:
    """Each analyst's own latest word on each building, oldest first.

    Decisions of disputes do not count, and do not hide what the deciding analyst had said before: else every settled
    dispute would leave the comparison, and kappa would rise with each. Who put back another one's answer, or withdrew
    their own, has no word on that building.

    Args:
        log: all rows, oldest first (`LabelStore.log`).
    """
    own = log[log["drawn"] != ADJUDICATION].drop_duplicates(["building_id", "labeller"], keep="last")
    return pd.DataFrame(own[(own["value"] != WITHDRAWN) & (own["drawn"] != REVERT)])


def disputed(log: pd.DataFrame) -> pd.DataFrame:
    """The buildings on which analysts differ and that are not settled: their latest row is no decision.

    Args:
        log: all rows, oldest first (`LabelStore.log`).

    Returns:
        As `disagreements`.
    """
    last = log.drop_duplicates("building_id", keep="last")
    settled = last.loc[last["drawn"] == ADJUDICATION, "building_id"]
    own = independent_answers(log)
    own = own[~own["building_id"].isin(settled)]
    return disagreements(own[own.groupby("building_id")["value"].transform("nunique") > 1])


def confusion(answers: pd.DataFrame, first: str, second: str) -> Confusion:
    """How often two analysts gave which answers to the same building.

    Args:
        answers: as for `agreement`.
        first: the analyst of the rows.
        second: the analyst of the columns.

    Returns:
        Of the answers that either of them gave, in the order of `LabelValue`.
    """
    table = _independent(answers, None).pivot(index="building_id", columns="labeller", values="answer")
    pair = table.reindex(columns=[first, second]).dropna()
    given = [value.value for value in LabelValue if value.value in set(pair.to_numpy().ravel())]
    counts = pd.crosstab(pair[first], pair[second]).reindex(index=given, columns=given, fill_value=0)
    return Confusion(tuple(given), tuple(tuple(row) for row in counts.to_numpy().tolist()))


def agreement(answers: pd.DataFrame, scheme: ClassScheme | None = None) -> AnalystAgreement:
    """Measure how far analysts agree.

    Args:
        answers: each analyst's latest answer on each building (`LabelStore.answers`): `building_id`, `labeller`,
            `value`. Rows with `drawn` = adjudication are left out: they were given with the other answers in view.
        scheme: compare classes of this scheme, leaving out answers that have none; None compares the answers
            themselves, so that `unclear` against `destroyed` is a disagreement.
    """
    table = _independent(answers, scheme).pivot(index="building_id", columns="labeller", values="answer")
    pairs = tuple(
        pair
        for first, second in combinations(sorted(table.columns), 2)
        if (pair := _pair(table[first], table[second])) is not None
    )
    shared = table[table.notna().sum(axis=1) >= 2]
    counts = _counts(shared)
    return AnalystAgreement(
        buildings=len(shared),
        agreed=float(_agreeing_pairs(counts).mean()) if len(shared) else None,
        kappa=fleiss_kappa(counts),
        pairs=pairs,
    )


def kappa_words(kappa: float | None, buildings: int) -> str:
    """What a kappa means (the bands of Altman 1991, "Practical statistics for medical research", p. 404)."""
    if kappa is None:
        return "not defined: all answers are alike, or too few"
    meaning = next(words for least, words in _MEANINGS if kappa > least or least == _MEANINGS[-1][0])
    caution = (
        f"; {buildings} shared building{'s' if buildings > 1 else ''} tell little" if buildings < FEW_BUILDINGS else ""
    )
    return f"{kappa:.2f} · {meaning}{caution}"


_MEANINGS = ((0.8, "very good"), (0.6, "good"), (0.4, "moderate"), (0.2, "weak"), (-1.0, "hardly better than chance"))


def fleiss_kappa(counts: NDArray[np.int_]) -> float | None:
    """Chance-corrected agreement of many raters (Fleiss 1971, "Measuring nominal scale agreement among many raters").

    The number of raters may differ from one building to another; a class's share is then that of all answers.

    Args:
        counts: [N, K], how many raters gave building n the class k; at least two raters a building.

    Returns:
        (P̄ - P̄ₑ) / (1 - P̄ₑ), None for fewer than two buildings or where all answers are one class.
    """
    if len(counts) < 2:
        return None
    share = counts.sum(axis=0) / counts.sum()  # p_j, [K]
    by_chance = float((share**2).sum())  # P̄ₑ
    if by_chance >= 1 - 1e-12:
        return None
    return float((_agreeing_pairs(counts).mean() - by_chance) / (1 - by_chance))


def disagreements(answers: pd.DataFrame) -> pd.DataFrame:
    """The buildings on which analysts' latest answers differ and that nobody has settled since.

    A building is settled by an answer with `drawn` = adjudication that is newer than every other answer on it.

    Args:
        answers: `LabelStore.answers`.

    Returns:
        `building_id`, `answers`: one text "name: answer; name: answer" in the order in which they were given, and
        `distinct`: how many different answers there are; the most divided first, then the longest waiting.
    """
    columns = ["building_id", "answers", "distinct"]
    rows = []
    for place, (building, group) in enumerate(answers.groupby("building_id", sort=False)):
        distinct = group["value"].nunique()
        if distinct < 2 or group["drawn"].iloc[-1] == ADJUDICATION:
            continue
        said = "; ".join(f"{name}: {value}" for name, value in zip(group["labeller"], group["value"], strict=True))
        rows.append((-distinct, place, str(building), said))
    return pd.DataFrame(
        [(building, said, -negative) for negative, _, building, said in sorted(rows)], columns=columns
    ).astype({"distinct": "int64"})


def _independent(answers: pd.DataFrame, scheme: ClassScheme | None) -> pd.DataFrame:
    table = answers[answers["drawn"] != ADJUDICATION][["building_id", "labeller"]].copy()
    values = [LabelValue(value) for value in answers.loc[table.index, "value"]]
    table["answer"] = [value.value if scheme is None else scheme.index_of(value) for value in values]
    return table[table["answer"].notna()]


def _pair(first: "pd.Series[str]", second: "pd.Series[str]") -> PairAgreement | None:
    both = first.notna() & second.notna()
    if not both.any():
        return None
    one, other = first[both].astype(str), second[both].astype(str)
    defined = len(one) > 1 and len({*one, *other}) > 1
    return PairAgreement(
        first=str(first.name),
        second=str(second.name),
        buildings=int(both.sum()),
        agreed=float((one == other).mean()),
        kappa=float(cohen_kappa_score(one, other)) if defined else None,
    )


def _counts(shared: pd.DataFrame) -> NDArray[np.int_]:
    """How many analysts gave each building each answer: [N, K]."""
    classes = sorted({answer for answer in shared.to_numpy().ravel() if not pd.isna(answer)})
    return np.stack([(shared == each).sum(axis=1).to_numpy() for each in classes], axis=1) if classes else _NONE


_NONE = np.zeros((0, 0), dtype=np.int_)


def _agreeing_pairs(counts: NDArray[np.int_]) -> NDArray[np.float64]:
    """Share of pairs of raters that agree on each building, P_i in Fleiss 1971: [N]."""
    raters = counts.sum(axis=1)
    share: NDArray[np.float64] = (counts * (counts - 1)).sum(axis=1) / np.maximum(raters * (raters - 1), 1)
    return share

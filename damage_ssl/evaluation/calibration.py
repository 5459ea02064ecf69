"""From a model's probabilities to a decision: their map and the threshold, from labels that the model has not seen.

The map is Platt's (1999) with a temperature and an intercept, both drawn to "as it is" by a prior, so that a handful of
labels bends little. scikit-learn's `CalibratedClassifierCV` was looked at: its sigmoid has no prior, takes labels for a
random sample of what is predicted, and `frozen` estimators only.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from damage_ssl.checksums import check, write_checked_json
from damage_ssl.damage_scale import ClassScheme
from damage_ssl.errors import WorkspaceError
from damage_ssl.records import read_record

DEFAULT_THRESHOLD = 0.5
SHRINKING_BUILDINGS = 10
"""With this many labels of the rarer kind the threshold goes half of the way (in log-odds) to the best on them."""

FEWEST_RANDOM = 20
"""Fewer labels drawn at random say too little of the event's share of damaged buildings: they count as chosen ones."""

FEWEST_FOR_MAP = 5
"""With fewer labels of the rarer kind, and not enough at random, the probabilities stay as they are."""

SLOWER_WITHOUT_RANDOM = 3
"""Labels none of which was drawn at random are so many times fewer for the threshold: their F1 is not the event's."""

_LOG_TEMPERATURE_SD = 0.7
_BIAS_SD = 3.0
_BIAS_SD_WITHOUT_RANDOM = 1.0
_CHOSEN_SD = 3.0
_LEAST_P = 1e-12


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How raw probabilities become a verdict.

    A building is damaged if its calibrated P(damaged) ≥ `threshold`. Calibrated log-odds of damaged are the raw ones
    divided by `temperature`, plus `bias` (None: of an older version, which divided each class's log-probability).
    `n_validation` labels, `n_damaged` of them damaged and `n_random` drawn at random, decided; each was predicted by a
    model that had not seen it: all labels where `cross_fitted`, else those held out. `share` is the share of damaged
    buildings that the probabilities are calibrated for. `method` says how.
    """

    threshold: Annotated[float, Field(ge=0, le=1)]
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    n_validation: Annotated[int, Field(ge=0)]
    n_damaged: Annotated[int, Field(ge=0)]
    method: str
    bias: Annotated[float, Field(allow_inf_nan=False)] | None = None
    cross_fitted: bool = False
    n_random: Annotated[int, Field(ge=0)] = 0
    share: Annotated[float, Field(ge=0, le=1)] | None = None

    def write(self, path: Path) -> None:
        """Write as JSON, atomically."""
        write_checked_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> "Calibration":
        """Read what `write` of this or another version wrote.

        Raises:
            WorkspaceError: there is no such file, or it is damaged.
        """
        if not path.exists():
            raise WorkspaceError(f"{path}: the run is not calibrated yet; train it with `damage-ssl train`")
        advice = f"make it again with `damage-ssl doctor {path.parents[2].name} --repair`, or name another run"
        check(path, advice)
        return read_record(path, cls, advice)

    def apply(self, probabilities: NDArray[np.float64], scheme: ClassScheme) -> NDArray[np.float64]:
        """Raw → calibrated probabilities [N, C]: P(damaged) by the map, classes of one kind in their old proportion.

        The map rises with P(damaged), so no ranking of buildings, and with it no AUROC, changes.
        """
        if self.bias is None:
            return scale_probabilities(probabilities, self.temperature)
        return with_log_odds(
            probabilities, damaged_log_odds(probabilities, scheme) / self.temperature + self.bias, scheme
        )


def calibrate(
    probabilities: NDArray[np.float64],
    classes: NDArray[np.integer],
    scheme: ClassScheme,
    *,
    random: NDArray[np.bool_] | None = None,
    cross_fitted: bool = False,
) -> Calibration:
    """Choose the map and the threshold on labelled buildings that the model has not seen.

    log-odds(damaged) = s / T + b + c · chosen, by maximum a posteriori: s are the raw log-odds, T the temperature (Guo
    et al. 2017, arXiv:1706.04599, §4.2; log-normal prior around 1), b the intercept (Platt 1999; normal prior around
    0). c is what choosing labels did to their share of damaged ones (prior shift: Saerens et al. 2002, Neural
    Computation 14, eq. 2.4). At least `FEWEST_RANDOM` labels drawn at random beside the chosen ones tell it, and it is
    left out of the map, which so fits the event and not the labels. With fewer the labels' own share is taken.

    The threshold maximises F1 of damaged, where chosen damaged labels weigh exp(-c): as many as the event has. Where
    few decide it is drawn towards the one with the highest F1 expected of the calibrated probabilities alone; more so,
    and towards 0.5, where no label was drawn at random.

    Args:
        probabilities: [N, C] raw, each row sums to 1.
        classes: [N], the class index of each building.
        scheme: says which classes count as damaged.
        random: [N] drawn at random over the event, whatever it looks like (None: none).
        cross_fitted: [N] are all labels, each predicted by a model that had not seen it.
    """
    true_class = np.asarray(classes, dtype=np.intp)
    damaged = true_class >= scheme.damaged_from
    drawn = np.zeros(len(damaged), dtype=bool) if random is None else np.asarray(random, dtype=bool)
    whose = "cross-fitted labels" if cross_fitted else "validation buildings"
    plain = Calibration(
        threshold=DEFAULT_THRESHOLD,
        temperature=1.0,
        bias=0.0,
        n_validation=len(damaged),
        n_damaged=int(damaged.sum()),
        cross_fitted=cross_fitted,
        n_random=int(drawn.sum()),
        method="",
    )
    if not damaged.any() or damaged.all():
        lacking = f"{len(damaged)} {whose} lack damaged or intact buildings" if len(damaged) else f"no {whose}"
        said = f"threshold left at {DEFAULT_THRESHOLD} and probabilities as they are: {lacking}"
        return replace(plain, method=said)
    deciding = int(min(damaged.sum(), (~damaged).sum()))
    chosen_shift, fitted = 0.0, plain
    told = plain.n_random >= FEWEST_RANDOM
    drawn = drawn & told
    if told or deciding >= FEWEST_FOR_MAP:
        temperature, bias, chosen_shift = _fit(damaged_log_odds(probabilities, scheme), damaged, drawn)
        fitted = replace(plain, temperature=temperature, bias=bias)
    p = damaged_probability(fitted.apply(probabilities, scheme), scheme)
    weight = np.where(damaged & ~drawn, np.exp(-chosen_shift), 1.0)
    best, expected = best_threshold(p, damaged, weight), DEFAULT_THRESHOLD
    if told:
        expected, slowly = best_threshold(p, p, weight), 1
    else:
        slowly = SLOWER_WITHOUT_RANDOM
    return replace(
        fitted,
        threshold=shrunk_threshold(best, deciding / slowly, expected),
        share=float(np.average(damaged, weights=weight)),
        method=_method(fitted, best, expected, deciding, whose),
    )


def calibrated_unseen(
    probabilities: NDArray[np.float64],
    classes: NDArray[np.integer],
    scheme: ClassScheme,
    fold: NDArray[np.integer],
    *,
    random: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cross-fitted probabilities as `calibrate` would make them without the labels of each one's fold.

    So neither model, map nor threshold has seen the building that is measured.

    Args:
        probabilities: [N, C] raw, cross-fitted.
        classes: [N], the class index of each building.
        scheme: the classes.
        fold: [N], the part that each was held out with.
        random: [N] drawn at random over the event.

    Returns:
        Calibrated probabilities [N, C], and the threshold for each building [N].
    """
    calibrated, threshold = np.empty_like(probabilities), np.empty(len(fold))
    for each in np.unique(fold):
        held = fold == each
        drawn = None if random is None else random[~held]
        found = calibrate(probabilities[~held], classes[~held], scheme, random=drawn, cross_fitted=True)
        calibrated[held], threshold[held] = found.apply(probabilities[held], scheme), found.threshold
    return calibrated, threshold


def prior_shift(p_damaged: NDArray[np.float64], share: float, *, rounds: int = 1000) -> float:
    """The share of damaged buildings that the probabilities [N] themselves speak for, by EM: a check, applied nowhere.

    Saerens, Latinne & Decaestecker 2002, Neural Computation 14(1), eq. 2.9: odds times the ratio of new to old prior
    odds, and the mean of the new probabilities as the next prior. Far from `share`, what the probabilities are
    calibrated for, it says that the labels are not like the event, or that the model is not.
    """
    new = share = float(np.clip(share, 1e-6, 1 - 1e-6))
    for _ in range(rounds):
        damaged, intact = p_damaged * new / share, (1 - p_damaged) * (1 - new) / (1 - share)
        step = float((damaged / np.maximum(damaged + intact, _LEAST_P)).mean())
        if abs(step - new) < 1e-6:
            break
        new = min(max(step, 1e-6), 1 - 1e-6)
    return new


def scale_probabilities(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Softmax(log p / T), [N, C]; 1 leaves them as they are, more than 1 makes them less certain."""
    logits = np.log(np.clip(probabilities, 1e-12, 1.0)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float64)


def damaged_probability(probabilities: NDArray[np.float64], scheme: ClassScheme) -> NDArray[np.float64]:
    """P(damaged) [N]: the sum of [N, C] over the classes that count as damaged."""
    return np.asarray(np.minimum(probabilities[:, scheme.damaged_from :].sum(axis=1), 1.0), dtype=np.float64)


def damaged_log_odds(probabilities: NDArray[np.float64], scheme: ClassScheme) -> NDArray[np.float64]:
    """Log-odds of damaged [N] of [N, C], finite."""
    raw = np.clip(probabilities, _LEAST_P, 1.0)
    split = scheme.damaged_from
    return np.asarray(np.log(raw[:, split:].sum(axis=1)) - np.log(raw[:, :split].sum(axis=1)), dtype=np.float64)


def with_log_odds(
    probabilities: NDArray[np.float64], log_odds: NDArray[np.float64], scheme: ClassScheme
) -> NDArray[np.float64]:
    """Probabilities [N, C] of damaged by these log-odds [N], the classes of one kind in their old proportion."""
    raw = np.clip(probabilities, _LEAST_P, 1.0)
    damaged = np.arange(raw.shape[1]) >= scheme.damaged_from
    kind = np.where(damaged, _expit(log_odds)[:, None], _expit(-log_odds)[:, None])
    within = np.where(damaged, (raw * damaged).sum(axis=1)[:, None], (raw * ~damaged).sum(axis=1)[:, None])
    return np.asarray(raw * kind / within, dtype=np.float64)


def decide(
    probabilities: NDArray[np.float64], scheme: ClassScheme, threshold: float | NDArray[np.float64]
) -> NDArray[np.intp]:
    """The class index of each building [N], such that class and verdict never contradict each other.

    It is the likeliest of the damaged classes if P(damaged) ≥ threshold, else the likeliest of the others.
    """
    split = scheme.damaged_from
    above = split + probabilities[:, split:].argmax(axis=1)
    below = probabilities[:, :split].argmax(axis=1)
    damaged = damaged_probability(probabilities, scheme) >= threshold
    return np.asarray(np.where(damaged, above, below), dtype=np.intp)


def normalised_entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Uncertainty [N] of [N, C]: 0 for a certain prediction, 1 for equal probabilities."""
    clipped = np.clip(probabilities, 1e-12, 1.0)
    entropy = -(clipped * np.log(clipped)).sum(axis=1) / np.log(probabilities.shape[1])
    return np.asarray(np.clip(entropy, 0.0, 1.0), dtype=np.float64)


def best_threshold(
    p_damaged: NDArray[np.float64],
    damaged: NDArray[np.bool_] | NDArray[np.float64],
    weight: NDArray[np.float64] | None = None,
) -> float:
    """The threshold with the highest F1, from the midpoints between neighbouring probabilities [N].

    Of several equally good ones it is the nearest to 0.5, of two equally near the lower. `weight` [N] says how many
    buildings each stands for; `damaged` may be probabilities too, for the F1 of their expected counts.
    """
    weight = np.ones(len(p_damaged)) if weight is None else weight
    distinct, place = np.unique(p_damaged, return_inverse=True)
    candidates = (np.concatenate([[0.0], distinct[:-1]]) + distinct) / 2
    # buildings, and damaged ones, at or above each candidate
    called, hits = (
        np.bincount(place, weights=each, minlength=len(distinct))[::-1].cumsum()[::-1]
        for each in (weight, weight * damaged)
    )
    # F1 = 2·TP / (called + damaged), Van Rijsbergen 1979; the denominator is positive because each candidate calls one.
    f1 = 2 * hits / (called + (weight * damaged).sum())
    best = candidates[np.isclose(f1, f1.max(), rtol=0, atol=1e-12)]
    return float(best[np.abs(best - 0.5).argmin()])


def shrunk_threshold(best: float, deciding: float, expected: float = DEFAULT_THRESHOLD) -> float:
    """Between `expected` and `best` in log-odds: n / (n + 10) of the way, where n is `deciding`, the rarer kind's
    count."""
    share = deciding / (deciding + SHRINKING_BUILDINGS)
    best, expected = (min(max(each, _LEAST_P), 1 - _LEAST_P) for each in (best, expected))
    odds = (best / (1 - best)) ** share * (expected / (1 - expected)) ** (1 - share)
    return float(odds / (1 + odds))


def _method(fitted: Calibration, best: float, expected: float, deciding: int, whose: str) -> str:
    """How a calibration came about, for a person."""
    drawn = (
        f"{fitted.n_random} of them drawn at random, which say the event's share of damaged buildings"
        if fitted.n_random >= FEWEST_RANDOM
        else f"{fitted.n_random or 'none'} of them drawn at random ({FEWEST_RANDOM} would tell the event's share of "
        "damaged buildings), so it is that of the labels, not the event's"
    )
    probabilities = (
        "probabilities left as they are, for so few labels"
        if fitted.temperature == 1.0 and fitted.bias == 0.0
        else f"temperature {fitted.temperature:.2f} and intercept {fitted.bias:+.2f} by the same labels, {drawn}"
    )
    return (
        f"threshold with the highest F1 on {fitted.n_validation} {whose} ({best:.2f}), drawn towards {expected:.2f} "
        f"because the rarer kind has {deciding}; {probabilities}"
    )


def _fit(
    log_odds: NDArray[np.float64], damaged: NDArray[np.bool_], drawn: NDArray[np.bool_]
) -> tuple[float, float, float]:
    """T, b and c of `calibrate`; c is 0 where all or none are drawn at random."""
    from scipy.optimize import minimize

    chosen = (~drawn).astype(float) if drawn.any() else np.zeros(len(drawn))
    sign = np.where(damaged, 1.0, -1.0)
    bias_sd = _BIAS_SD if drawn.any() else _BIAS_SD_WITHOUT_RANDOM
    deviation = np.array([_LOG_TEMPERATURE_SD, bias_sd, _CHOSEN_SD])

    def cost(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scaled = log_odds * np.exp(-x[0])
        margin = sign * (scaled + x[1] + x[2] * chosen)
        slope = -sign * _expit(-margin)  # of the negative log-likelihood by each log-odds
        gradient = np.array([-(slope * scaled).sum(), slope.sum(), (slope * chosen).sum()])
        penalty = x / deviation
        return float(np.logaddexp(0, -margin).sum() + 0.5 * (penalty**2).sum()), gradient + penalty / deviation

    found = minimize(cost, np.zeros(3), jac=True, method="L-BFGS-B", bounds=[(-3, 3), (-15, 15), (-15, 15)]).x
    return float(np.exp(found[0])), float(found[1]), float(found[2])


def _expit(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # what is not known (NaN) stays so
        return np.asarray(np.exp(-np.logaddexp(0, -log_odds)), dtype=np.float64)

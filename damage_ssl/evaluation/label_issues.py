"""Which buildings deserve a second look: labels that the models contradict, and buildings on which models differ.

Everything here is arithmetic on probabilities; it needs no torch.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import ClassScheme, LabelValue
from damage_ssl.evaluation.spatial_blocks import block_of
from damage_ssl.labels.schema import ADJUDICATION
from damage_ssl.learning.features.linear_probe import fit_linear_probe

CONTRADICTED = "contradicted"
"""What `drawn` says of an answer that was given with the models' contradiction in view."""

MIN_BLOCKS = 3
_HALVINGS = 3
_LEAST_P = 1e-6

UNSURE_LOG_ODDS = float(np.log(1.5))
"""Up to here a verdict counts as unsure: odds within a factor of 1.5 of the threshold's (0.40 to 0.60 around 0.5)."""

DISAGREEMENT_BITS = 0.1
"""From here on models count as divided: two of them that say 0.32 and 0.68 are 0.095 bits apart."""


def labelled_blocks(x_m: NDArray[np.float64], y_m: NDArray[np.float64], block_m: float) -> NDArray[np.str_]:
    """The spatial block [n] of each labelled building, in blocks halved until the labels lie in three of them.

    A model that has seen the neighbour has seen much of the building: they share roofs, scene and light.

    Args:
        x_m: [n] easting in one projected CRS, metres.
        y_m: [n] northing, metres.
        block_m: width to begin with; halved up to three times.
    """
    for halving in range(_HALVINGS):
        block = block_of(x_m, y_m, block_m / 2**halving)
        if len(np.unique(block)) >= MIN_BLOCKS:
            return block
    return block_of(x_m, y_m, block_m / 2**_HALVINGS)


def cross_validated(
    features: NDArray[np.float32],
    classes: NDArray[np.int64],
    fold: NDArray[np.intp],
    *,
    n_classes: int,
) -> NDArray[np.float64]:
    """What the linear probe says of each labelled building when it learns only from labels of other folds.

    Args:
        features: [n, D] of the labelled buildings, standardised.
        classes: [n], 0 to C - 1.
        fold: [n] the part that each is held out with (`spatial_blocks.block_folds`).
        n_classes: C.

    Returns:
        [n, C] probabilities; NaN for a building whose other folds hold labels of fewer than two classes.
    """
    judged = np.full((len(classes), n_classes), np.nan)
    for held, said in probes_without(features, np.arange(len(classes)), classes, fold, n_classes=n_classes):
        judged[fold == held] = said[fold == held]
    return judged


def probes_without(
    features: NDArray[np.float32],
    rows: NDArray[np.intp],
    classes: NDArray[np.int64],
    fold: NDArray[np.intp],
    *,
    n_classes: int,
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Each fold with what the linear probe says of all buildings, [N, C], when it learns only from the other folds.

    Folds whose other folds hold labels of fewer than two classes are left out.

    Args:
        features: [N, D] of all buildings, standardised.
        rows: [n] the labelled ones.
        classes: [n], 0 to C - 1.
        fold: [n] the part that each is held out with.
        n_classes: C.
    """
    for held in np.unique(fold):
        learned = fold != held
        if len(np.unique(classes[learned])) < 2:
            continue
        known = fit_linear_probe(features, rows[learned], classes[learned])
        said = np.zeros((len(known), n_classes))
        said[:, : known.shape[1]] = known
        yield int(held), said


def judge_labels(
    building_id: NDArray[np.str_],
    probabilities: NDArray[np.float64],
    given: NDArray[np.int64],
    class_names: Sequence[str],
) -> pd.DataFrame:
    """How one model sees labels that it has not learned from.

    Args:
        building_id: [n] labelled buildings.
        probabilities: [n, C], out of sample; rows with NaN are left out.
        given: [n] the class that the analyst gave, 0 to C - 1.
        class_names: [C].

    Returns:
        `building_id`; `given`, `other`: names of the analyst's class and of the likeliest other one; `p_given`,
        `p_other`: their probabilities. p_given is the "self-confidence" and p_given - p_other the margin of confident
        learning (Northcutt, Jiang & Chuang 2021, "Confident learning: estimating uncertainty in dataset labels",
        JAIR 70, arXiv:1911.00068, §3.2).
    """
    known = np.isfinite(probabilities).all(axis=1)
    p, classes = probabilities[known], np.asarray(given)[known]
    rows = np.arange(len(p))
    others = p.copy()
    others[rows, classes] = -1.0
    other = others.argmax(axis=1) if len(p) else np.zeros(0, dtype=np.intp)
    names = np.array(class_names, dtype=object)
    return pd.DataFrame(
        {
            "building_id": np.asarray(building_id)[known],
            "given": names[classes],
            "other": names[other],
            "p_given": p[rows, classes],
            "p_other": p[rows, other],
        }
    )


def judge_unlearned(
    labels: pd.DataFrame,
    learned_id: Collection[str],
    building_id: NDArray[np.str_],
    probabilities: NDArray[np.float64],
    scheme: ClassScheme,
) -> pd.DataFrame:
    """`judge_labels` for a trained model, on the labels that it did not learn from.

    Args:
        labels: the current ones (`LabelStore.current`); those that the scheme has no class for are left out.
        learned_id: the buildings that it learned from.
        building_id: [N] all buildings that it says something of.
        probabilities: [N, C].
        scheme: its classes.
    """
    learned = set(learned_id)
    class_of = {value: scheme.index_of(LabelValue(value)) for value in labels["value"].unique()}
    given = {
        building: class_index
        for building, value in zip(labels["building_id"], labels["value"], strict=True)
        if (class_index := class_of[value]) is not None and building not in learned
    }
    rows = pd.Index(building_id.astype(object)).get_indexer(list(given))
    classes = np.array(list(given.values()), dtype=np.int64)[rows >= 0]
    rows = rows[rows >= 0]
    return judge_labels(building_id[rows], probabilities[rows], classes, scheme.class_names)


def contradicted(judgements: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Labelled buildings on which the models, on average, think another class likelier; the surest first.

    A building is judged by those models only that have not learned from its label: each table of `judge_labels`
    holds just those. Labels are ranked by their margin p_given - p_other (confident learning's "prune by noise rate"),
    averaged over the models that judge them.

    Args:
        judgements: a table of `judge_labels` for each model, by the model's id.

    Returns:
        `building_id`, `margin` (mean, -1 to 0: the lower, the surer), `models` (how many judged), and `model`, `given`,
        `other`, `p_given`, `p_other` of the model that is surest.
    """
    columns = ["building_id", "margin", "models", "model", "given", "other", "p_given", "p_other"]
    tables = [table.assign(model=model) for model, table in judgements.items() if len(table)]
    if not tables:
        return pd.DataFrame(columns=columns)
    said = pd.concat(tables, ignore_index=True)
    said["own"] = said["p_given"] - said["p_other"]
    by_building = said.groupby("building_id", sort=False)["own"]
    said["margin"], said["models"] = by_building.transform("mean"), by_building.transform("size")
    wrong = said[said["margin"] < 0].sort_values(["margin", "building_id", "own"], kind="stable")
    return pd.DataFrame(wrong.drop_duplicates("building_id")[columns]).reset_index(drop=True)


def contradicted_labels(judgements: Mapping[str, pd.DataFrame], labels: pd.DataFrame) -> pd.DataFrame | None:
    """`contradicted` with `value` and `labeller` of the current `labels`; None where no model judges any.

    A label that was given or confirmed with the contradiction in view, or as a decision, is not asked about again.
    """
    if not any(len(table) for table in judgements.values()):
        return None
    open_labels = labels[~labels["drawn"].isin([CONTRADICTED, ADJUDICATION])]
    return contradicted(judgements).merge(open_labels[["building_id", "value", "labeller"]], on="building_id")


def differing(one: NDArray[np.int8], other: NDArray[np.int8]) -> NDArray[np.intp]:
    """Rows of the buildings that one map calls damaged and the other does not: verdicts [N], 1, 0, or -1 for none."""
    return np.flatnonzero((one >= 0) & (other >= 0) & (one != other))


def verdict_disagreement(p_damaged: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """`disagreement` of models about damaged or not: [N] bits of P(damaged) [N] each; NaN where one says nothing."""
    return disagreement([np.stack([1 - p, p], axis=1) for p in p_damaged])


def disagreement(probabilities: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """How far apart models are on each building, in bits: the Jensen-Shannon divergence of their distributions.

    H(mean p) - mean H(p) (Lin 1991, "Divergence measures based on the Shannon entropy", IEEE Trans. Inf. Theory 37,
    eq. 5.1, all models with equal weight). For an ensemble it is the mutual information between the class and which
    model is asked (Houlsby et al. 2011, arXiv:1112.5745, eq. 2): high where each model is sure and they say different
    things, 0 where all are equally unsure.

    Args:
        probabilities: one array [N, C] a model, of the same classes and buildings; at least one.

    Returns:
        [N], from 0 to log2(min(C, models)).
    """
    stacked = np.stack(list(probabilities))  # [M, N, C]
    divergence = _entropy_bits(stacked.mean(axis=0)) - _entropy_bits(stacked).mean(axis=0)
    return np.asarray(np.maximum(divergence, 0.0), dtype=np.float64)


def distance_to_threshold(p_damaged: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """How far a model is from the other verdict, in log-odds: |logit(p) - logit(threshold)|, [N]; NaN stays NaN.

    Log-odds, because with a threshold of 0.9 a building at 0.8 is less sure of its verdict than one at 1.0.
    """
    p, cut = (np.clip(value, _LEAST_P, 1 - _LEAST_P) for value in (p_damaged, np.float64(threshold)))
    return np.asarray(np.abs(np.log(p / (1 - p)) - np.log(cut / (1 - cut))), dtype=np.float64)


def _entropy_bits(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """H of distributions [..., C], in bits: [...]."""
    from scipy.special import entr

    return np.asarray(entr(p).sum(axis=-1) / np.log(2), dtype=np.float64)

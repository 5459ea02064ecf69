"""What a model says of its own labels when it has not learned from them: made on disk with a run, or with the live one.

Every label is predicted by the same training without the labels of its fold (spatial blocks), so that none has to be
kept from the model that is used. Calibration, threshold, validation, audit and doubts about labels rest on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import ClassScheme
from damage_ssl.evaluation.calibration import (
    Calibration,
    calibrate,
    calibrated_unseen,
    damaged_log_odds,
    damaged_probability,
    with_log_odds,
)
from damage_ssl.evaluation.metrics import Evaluation, evaluate
from damage_ssl.files import atomic_path, damage_named
from damage_ssl.runs.predictions import class_probabilities, prediction_table
from damage_ssl.runs.run import Run

_STACKED = "stacked_log_odds"


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossFitted:
    """Labels of a model with what it says of each without the labels of its fold.

    `building_id`, `classes` (of `scheme`), `fold`, `random` (drawn at random over the event): [n] each. `probabilities`
    are raw, [n, C]; NaN where the other folds hold labels of one class only. `image` [n, C] is what the model said from
    the images alone, where a spatial stack came after it; None: the same.
    """

    scheme: ClassScheme
    building_id: NDArray[np.str_]
    classes: NDArray[np.int64]
    fold: NDArray[np.intp]
    random: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    image: NDArray[np.float64] | None = None

    @classmethod
    def read(cls, run: Run, scheme: ClassScheme) -> "CrossFitted | None":
        """What `write` left; None where the run was not cross-fitted.

        Raises:
            WorkspaceError: the file is damaged.
        """
        if not run.cross_fitted_path.exists():
            return None
        with damage_named(run.cross_fitted_path, "train another run with `damage-ssl train`"):
            table = pd.read_parquet(run.cross_fitted_path)
            own = cls(
                scheme=scheme,
                building_id=table["building_id"].to_numpy(str),
                classes=table["class_index"].to_numpy(np.int64),
                fold=table["fold"].to_numpy(np.intp),
                random=table["random"].to_numpy(bool),
                probabilities=class_probabilities(table, scheme),
            )
            return own.stacked(table[_STACKED].to_numpy(np.float64)) if _STACKED in table else own

    def write(self, run: Run) -> None:
        """Write `run.cross_fitted_path` (Parquet, atomically)."""
        said = self.probabilities if self.image is None else self.image
        table = prediction_table(self.building_id, said, self.scheme)
        if self.image is not None:
            table[_STACKED] = damaged_log_odds(self.probabilities, self.scheme)
        with atomic_path(run.cross_fitted_path) as temporary:
            table.assign(class_index=self.classes, fold=self.fold, random=self.random).to_parquet(
                temporary, index=False
            )

    @property
    def image_only(self) -> "CrossFitted":
        """The same without the spatial stack."""
        return self if self.image is None else replace(self, probabilities=self.image, image=None)

    def stacked(self, log_odds: NDArray[np.float64]) -> "CrossFitted":
        """With the log-odds of damaged [n] of a spatial stack after the model."""
        own = self.image_only.probabilities
        return replace(self, probabilities=with_log_odds(own, log_odds, self.scheme), image=own)

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Which labels have probabilities [n]."""
        return np.asarray(np.isfinite(self.probabilities).all(axis=1))

    @property
    def auroc(self) -> float:
        """Of P(damaged), over all folds; both kinds are there."""
        from sklearn.metrics import roc_auc_score

        p, damaged = damaged_probability(self.probabilities, self.scheme), self.classes >= self.scheme.damaged_from
        return float(roc_auc_score(damaged[self.known], p[self.known]))

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration by all of them."""
        rows = self.known
        drawn = self.random[rows]
        return calibrate(self.probabilities[rows], self.classes[rows], self.scheme, random=drawn, cross_fitted=True)

    @cached_property
    def calibrated(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Probabilities [n, C] and threshold [n] of a calibration without each one's fold; NaN where not known."""
        rows, threshold = self.known, np.full(len(self.classes), np.nan)
        p = np.full_like(self.probabilities, np.nan)
        drawn, fold = self.random[rows], self.fold[rows]
        found = calibrated_unseen(self.probabilities[rows], self.classes[rows], self.scheme, fold, random=drawn)
        p[rows], threshold[rows] = found
        return p, threshold

    def evaluation(self, block: Mapping[str, str]) -> Evaluation | None:
        """How good the model is on its labels, none of which model, map or threshold had seen; None without any known.

        Rankings (AUROC, average precision) are of all labels under one map: the folds' own ones differ by their shares
        of damaged buildings, which says nothing of the model. `block` names the spatial block of each building.
        """
        rows = self.known
        if not rows.any():
            return None
        calibrated, threshold = self.calibrated
        classes = self.classes[rows]
        blocks = np.array([block[each] for each in self.building_id[rows].tolist()])

        def measured(p: NDArray[np.float64], cut: float | NDArray[np.float64]) -> Evaluation:
            return evaluate(p, classes, classes >= self.scheme.damaged_from, blocks, scheme=self.scheme, threshold=cut)

        own = measured(calibrated[rows], threshold[rows])
        common = self.calibration
        ranked = measured(common.apply(self.probabilities[rows], self.scheme), common.threshold)
        kept = {name: getattr(ranked, name) for name in ("threshold", "auroc", "average_precision")}
        return replace(own, **kept)

    def in_place_of(
        self, building_id: NDArray[np.str_], probabilities: NDArray[np.float64], *, calibrated: bool = True
    ) -> NDArray[np.float64]:
        """The model's probabilities [N, C] with the cross-fitted ones in place of those of its labels.

        They are `calibrated`, or raw: as likely as the classes are to a model that takes them to be as frequent.
        """
        found, rows = probabilities.copy(), pd.Index(building_id.astype(object)).get_indexer(self.building_id)
        use = self.known & (rows >= 0)
        found[rows[use]] = (self.calibrated[0] if calibrated else self.probabilities)[use]
        return found

    def verdicts(self, building_id: NDArray[np.str_], said: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """`said` [N], whether the model calls each damaged, with the cross-fitted verdict where there is one."""
        p, threshold = self.calibrated
        unseen = damaged_probability(p, self.scheme) >= threshold
        verdict = dict(zip(self.building_id[self.known].tolist(), unseen[self.known].tolist(), strict=True))
        return np.array(
            [verdict.get(each, own) for each, own in zip(building_id.tolist(), said.tolist(), strict=True)], dtype=bool
        )

"""What is known of which building when training starts."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from damage_ssl.errors import LabelsError, WorkspaceError
from damage_ssl.grades import ClassScheme
from damage_ssl.patches.pairs import PairSet


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Class indices of the labelled buildings, by id; those of validation are never trained on and may be none.

    Every other pair is unlabelled; the labelled ones serve as unlabelled too, but for those of `foreign_id`, which are
    of other events.
    """

    train_id: NDArray[np.str_]
    train_class: NDArray[np.int64]
    validation_id: NDArray[np.str_]
    validation_class: NDArray[np.int64]
    foreign_id: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, dtype=np.str_))


@dataclass(frozen=True, kw_only=True)
class TargetRows:
    """`Targets` as rows of a pair set."""

    train_row: NDArray[np.intp]
    train_class: NDArray[np.int64]
    validation_row: NDArray[np.intp]
    validation_class: NDArray[np.int64]
    foreign_row: NDArray[np.intp]


def target_rows(targets: Targets, pairs: PairSet, scheme: ClassScheme) -> TargetRows:
    """Find the labelled buildings among the pairs.

    Raises:
        LabelsError: no labels, or labels of one class only.
        WorkspaceError: a labelled building has no pair.
    """
    present = np.unique(targets.train_class)
    if len(present) < 2:
        found = (
            f"all {len(targets.train_id)} are '{scheme.class_names[present[0]]}'" if len(present) else "there are none"
        )
        names = ", ".join(scheme.class_names)
        raise LabelsError(
            f"labels: training needs buildings of two classes at least ({names}), and {found}; label some more"
        )
    try:
        train_row, validation_row = pairs.rows_of(targets.train_id), pairs.rows_of(targets.validation_id)
        foreign_row = pairs.rows_of(targets.foreign_id)
    except KeyError as missing:
        raise WorkspaceError(
            f"labels: building {missing} has no pair of patches; leave out what was not assessed, or run "
            "`damage-ssl patches` again"
        ) from None
    return TargetRows(
        train_row=train_row,
        train_class=np.asarray(targets.train_class, dtype=np.int64),
        validation_row=validation_row,
        validation_class=np.asarray(targets.validation_class, dtype=np.int64),
        foreign_row=foreign_row,
    )

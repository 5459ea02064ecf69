"""Mean Teacher: the student's prediction on one view must be that of its running average on another view.

Tarvainen & Valpola 2017, "Mean teachers are better role models", arXiv:1703.01780, eqs. 1 and 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from damage_ssl.learning.algorithms.base import AlgorithmFactory, Network
from damage_ssl.learning.algorithms.pi_model import Consistency, ConsistencySettings
from damage_ssl.settings import from_mapping


@dataclass(frozen=True, kw_only=True)
class MeanTeacherSettings(ConsistencySettings):
    """`student_view` is the student's view of an unlabelled pair; the teacher's is weak.

    The teacher is the average that the trainer keeps of every network. The paper's decay α of eq. 2 is the setting
    `ema_decay` (0.999 there, over 10⁵ steps), reached by the same warm-up min(α, 1 − 1/(t + 1)) but for its constants.
    """

    unlabelled_weight: float = 50.0

    _opening = "mean-teacher"


class MeanTeacher(Consistency[MeanTeacherSettings]):
    """Eq. 1, J(θ) = E‖f(x, θ′, η′) − f(x, θ, η)‖², as mean over pairs and classes; the targets come from θ′ only.

    The paper takes the consistency over labelled and unlabelled pairs; the trainer draws both as unlabelled.
    """

    name: ClassVar[str] = "mean-teacher"

    @classmethod
    def from_options(cls, options: Mapping[str, Any], where: str) -> "MeanTeacher":
        """Build from the options of a run; `where` opens an error message."""
        return cls(from_mapping(MeanTeacherSettings, options, where))

    def teacher(self, student: Network, ema: Network | None) -> Network:
        if ema is None:
            raise ValueError("mean-teacher needs the averaged network, but was given none")
        return ema


ALGORITHMS: Mapping[str, AlgorithmFactory] = {MeanTeacher.name: MeanTeacher.from_options}

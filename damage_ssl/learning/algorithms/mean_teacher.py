"""Mean Teacher: the student's prediction on one view must be that of its running average on another view.

Tarvainen & Valpola 2017, "Mean teachers are better role models", arXiv:1703.01780, eqs. 1 and 2.
"""

from typing import ClassVar

from pydantic import Field

from damage_ssl.learning.algorithms.base import AlgorithmEntry, Network
from damage_ssl.learning.algorithms.pi_model import Consistency, ConsistencySettings


class MeanTeacherSettings(ConsistencySettings, title="mean-teacher"):
    """`student_view` is the student's view of an unlabelled pair; the teacher's is weak.

    The teacher is the average that the trainer keeps of every network. The paper's decay α of eq. 2 is the setting
    `ema_decay` (0.999 there, over 10⁵ steps), reached by the same warm-up min(α, 1 − 1/(t + 1)) but for its constants.
    """

    unlabelled_weight: float = Field(50.0, ge=0.0)


class MeanTeacher(Consistency[MeanTeacherSettings]):
    """Eq. 1, J(θ) = E‖f(x, θ′, η′) − f(x, θ, η)‖², as mean over pairs and classes; the targets come from θ′ only.

    The paper takes the consistency over labelled and unlabelled pairs; the trainer draws both as unlabelled.
    """

    name: ClassVar[str] = "mean-teacher"

    def teacher(self, student: Network, ema: Network | None) -> Network:
        if ema is None:
            raise ValueError("mean-teacher needs the averaged network, but was given none")
        return ema


ALGORITHMS = {MeanTeacher.name: AlgorithmEntry(MeanTeacherSettings, MeanTeacher)}

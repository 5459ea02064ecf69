"""A policy of views as AutoAugment has it: sub-policies of operations with a probability and a strength each, in JSON.

Cubuk et al. 2019 (AutoAugment, arXiv:1805.09501), section 3: a sample draws one sub-policy and runs through its
operations in order, each with its probability. How one is found is in `search.py`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import model_validator
from torch import Tensor

from damage_ssl.errors import SettingsError
from damage_ssl.files import write_json
from damage_ssl.learning.augmentation.operations import apply_table, operation_named
from damage_ssl.settings import Settings, from_mapping

FORMAT = 1


class PolicyStep(Settings):
    """One operation: its name in `table.py`, how likely it is applied, and how strongly (0 to 1, either sign)."""

    operation: str
    probability: float
    strength: float

    @model_validator(mode="after")
    def _possible(self) -> Self:
        operation_named(self.operation)
        for name, value in (("probability", self.probability), ("strength", self.strength)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} of '{self.operation}' is {value:g}; it must be 0 to 1")
        return self


SubPolicy = tuple[PolicyStep, ...]


@dataclass(frozen=True)
class AugmentPolicy:
    """Sub-policies, and what is known of how they were found (event, seconds, scores), for the reader of the file."""

    sub_policies: tuple[SubPolicy, ...]
    found: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, x: Tensor, generator: torch.Generator, *, per_date: bool = True) -> Tensor:
        """Each sample of `x`, float32 [N, 7 or 14, S, S], through a sub-policy of its own.

        `per_date` draws the sign of a strength for pre and post separately, and gives either date a share of it.
        """
        names = ["identity", *sorted({step.operation for sub in self.sub_policies for step in sub})]
        rounds = max(len(sub) for sub in self.sub_policies)
        table = torch.zeros(len(self.sub_policies), rounds, 3)  # operation, probability, strength
        for row, sub in enumerate(self.sub_policies):
            for column, step in enumerate(sub):
                table[row, column] = torch.tensor([names.index(step.operation), step.probability, step.strength])
        drawn = table[torch.randint(len(self.sub_policies), (len(x),), generator=generator)]  # [N, rounds, 3]
        for operation, probability, strength in (each.unbind(-1) for each in drawn.unbind(1)):
            u = torch.rand(len(x), 5, generator=generator)
            chosen = torch.where(u[:, 0] < probability, operation, 0).long()
            sign = torch.where(u[:, 1:3] < 0.5, -1.0, 1.0)  # [N, 2]
            both = strength[:, None] * (sign * u[:, 3:] if per_date else sign[:, :1].expand(-1, 2))
            x = apply_table(x, names, chosen, both, generator)
        return x

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, read back by `from_json`."""
        steps = [[step.model_dump() for step in sub] for sub in self.sub_policies]
        return {"format": FORMAT, "sub_policies": steps, "found": dict(self.found)}

    @classmethod
    def from_json(cls, text: str, where: str) -> "AugmentPolicy":
        """Read what `to_json` gave, as text; `where` opens an error message.

        Raises:
            SettingsError: it is no policy, or names an operation that there is not.
        """
        try:
            values = json.loads(text)
            if values["format"] != FORMAT:
                raise SettingsError(f"{where}: is of format {values['format']}; this version reads {FORMAT}")
            subs = values["sub_policies"]
            if not subs or not all(subs):
                raise SettingsError(f"{where}: 'sub_policies' is empty, or one of them is; each needs an operation")
            steps = tuple(tuple(from_mapping(PolicyStep, step, where) for step in sub) for sub in subs)
            return cls(steps, values.get("found", {}))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SettingsError(
                f"{where}: is not a policy of views ({error!r}); make one with `damage-ssl views EVENT --search 60`"
            ) from None

    @classmethod
    def read(cls, path: Path) -> "AugmentPolicy":
        """Read a policy from a file.

        Raises:
            SettingsError: there is no such file, it is no policy, or names an operation that there is not.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{path}: a policy of views cannot be read there ({error}); make one with `damage-ssl views EVENT "
                "--search 60`"
            ) from None
        return cls.from_json(text, str(path))

    def write(self, path: Path) -> None:
        """Write the policy.

        Raises:
            StorageError: the disk is full or read-only.
        """
        write_json(path, self.to_json())


def policy_of(text: str) -> AugmentPolicy:
    """A policy from its JSON text, or from the file of that name.

    Raises:
        SettingsError: see `AugmentPolicy.read`.
    """
    if text.lstrip().startswith("{"):
        return AugmentPolicy.from_json(text, "views: policy")
    return AugmentPolicy.read(Path(text))


def with_policy_text(options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Options of a run with the policy itself in the place of its file, so that the run does not change with the file.

    A relative path is looked for in the working directory, then in `folder` (the event's).

    Raises:
        SettingsError: see `AugmentPolicy.read`.
    """
    given = options.get("policy", "")
    if not isinstance(given, str) or not given or given.lstrip().startswith("{"):
        return dict(options)
    path = Path(given) if Path(given).exists() else folder / given
    return {**options, "policy": json.dumps(AugmentPolicy.read(path).to_json(), sort_keys=True)}

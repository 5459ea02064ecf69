"""The plan of a run: all that determines its weights."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from damage_ssl import __version__
from damage_ssl.grades import ClassScheme, scheme_named
from damage_ssl.pipeline.sources import SourcePlan, elsewhere_statement
from damage_ssl.settings import SplitSettings, TrainSettings, from_mapping, to_mapping

if TYPE_CHECKING:
    from damage_ssl.learning.targets import Targets


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """All that determines a run's weights: settings, who is trained on, who is held out, which pixels.

    Classes are indices of `scheme`; ids are the event's own. `sources` are other events whose labelled buildings are
    learned from too. Two plans with the same fingerprint give the same run, so it is not trained twice.
    """

    train: TrainSettings
    split: SplitSettings
    train_id: tuple[str, ...]
    train_class: tuple[int, ...]
    validation_id: tuple[str, ...]
    validation_class: tuple[int, ...]
    block_m: float
    patches_fingerprint: str
    version: str = __version__
    sources: tuple[SourcePlan, ...] = ()

    @property
    def scheme(self) -> ClassScheme:
        """The classes that the model tells apart."""
        return scheme_named(self.train.scheme)

    @property
    def fingerprint(self) -> str:
        """A hash of everything above."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    @property
    def held_out(self) -> dict[str, int]:
        """The class of each building that chooses the threshold, those of sources under their joint ids."""
        found = dict(zip(self.validation_id, self.validation_class, strict=True))
        for source in self.sources:
            found |= dict(zip(source.joint_validation_id, source.validation_class, strict=True))
        return found

    @property
    def statement(self) -> str | None:
        """What must be said beside the run's threshold where it comes from other events; None where it does not."""
        return elsewhere_statement(self.sources) if any(source.validation_id for source in self.sources) else None

    def targets(self) -> "Targets":
        """Who is trained on and who is held out, of all events, under their joint ids."""
        from damage_ssl.learning.targets import Targets

        trained = dict(zip(self.train_id, self.train_class, strict=True))
        for source in self.sources:
            trained |= dict(zip(source.joint_train_id, source.train_class, strict=True))
        own = {*self.train_id, *self.validation_id}
        return Targets(
            train_id=np.array(list(trained), dtype=str),
            train_class=np.array(list(trained.values()), dtype=np.int64),
            validation_id=np.array(list(self.held_out), dtype=str),
            validation_class=np.array(list(self.held_out.values()), dtype=np.int64),
            foreign_id=np.array([each for each in (*trained, *self.held_out) if each not in own], dtype=str),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, read back by `from_json`."""
        values = {**asdict(self), "train": to_mapping(self.train), "split": to_mapping(self.split)}
        if not self.sources:
            del values["sources"]  # as in plans of versions that knew none
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any], where: str) -> "RunPlan":
        """Read what `to_json` wrote.

        Raises:
            SettingsError: a setting that this version does not know.
        """
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        train = from_mapping(TrainSettings, values["train"], where)
        split = from_mapping(SplitSettings, values["split"], where)
        sources = tuple(SourcePlan.from_json(source) for source in values.get("sources", ()))
        return cls(**{**values, **lists, "train": train, "split": split, "sources": sources})

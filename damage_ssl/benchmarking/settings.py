"""What a benchmark is asked for."""

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from damage_ssl.errors import nearest_name
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.settings import Settings

EXPERIMENTS = ("labels", "unlabelled", "mismatch", "imbalance", "validation")
LEAST_SEEDS = 3
WINDOWS = "windows"
"""The foreign pairs that come from this event's own imagery, between its footprints."""

LabelsPerClass = Annotated[int, Field(ge=1, le=1_000_000)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class BenchmarkSettings(Settings, title="benchmark"):
    """One benchmark.

    `labels` are labels a class; the middle one is what methods are tuned with and what all experiments but the first
    use. `trials` settings are tried for each method, the first being its defaults. `unlabelled_shares` are shares of
    the unlabelled buildings; `foreign_shares` the shares of them that are replaced by `foreign` pairs (`windows`, or
    the name of another event); `damaged_shares` the shares of damaged buildings among the labelled ones, whose number
    stays; `validation_sizes` are buildings. Blocks of `block_m` metres that hold `test_share` of each class are held
    out, others with `validation_share` choose among the trials; `split_seed` draws both.
    """

    methods: Sequence[str] = Field(min_length=1)
    experiments: Sequence[str] = Field(EXPERIMENTS, min_length=1)
    labels: Sequence[LabelsPerClass] = Field((5, 25, 100), min_length=1)
    seeds: Sequence[int] = (0, 1, 2)
    trials: int = Field(4, ge=1, le=10_000)
    train: TrainSettings = TrainSettings()
    unlabelled_shares: Sequence[Share] = (0.0, 0.25, 1.0)
    foreign_shares: Sequence[Share] = (0.0, 0.5, 0.9)
    damaged_shares: Sequence[Share] = (0.5, 0.25, 0.1)
    validation_sizes: Sequence[int] = (10, 20, 50, 100, 200)
    foreign: str = WINDOWS
    block_m: float = Field(150.0, ge=1.0, le=1e6)
    test_share: float = Field(0.3, ge=0.05, le=0.6)
    validation_share: float = Field(0.2, ge=0.05, le=0.6)
    split_seed: int = 0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in self.experiments:
            if name not in EXPERIMENTS:
                raise ValueError(f"experiment '{name}' is unknown: {nearest_name(name, EXPERIMENTS)}")
        if len(set(self.seeds)) < LEAST_SEEDS:
            raise ValueError(
                f"{len(set(self.seeds))} seeds; it needs {LEAST_SEEDS} at least, since one training says nothing of "
                "how much another would differ"
            )
        return self

    @property
    def middle_labels(self) -> int:
        """Labels a class for tuning, and for all experiments but the label-efficiency curves."""
        ordered = sorted(self.labels)
        return ordered[len(ordered) // 2]

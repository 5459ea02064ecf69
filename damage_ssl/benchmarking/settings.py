"""What a benchmark is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from damage_ssl.errors import SettingsError, nearest_name
from damage_ssl.settings import TrainSettings, check_within

EXPERIMENTS = ("labels", "unlabelled", "mismatch", "imbalance", "validation")
LEAST_SEEDS = 3
WINDOWS = "windows"
"""The foreign pairs that come from this event's own imagery, between its footprints."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkSettings:
    """One benchmark.

    `labels` are labels a class; the middle one is what methods are tuned with and what all experiments but the first
    use. `trials` settings are tried for each method, the first being its defaults. `unlabelled_shares` are shares of
    the unlabelled buildings; `foreign_shares` the shares of them that are replaced by `foreign` pairs (`windows`, or
    the name of another event); `damaged_shares` the shares of damaged buildings among the labelled ones, whose number
    stays; `validation_sizes` are buildings. Blocks of `block_m` metres that hold `test_share` of each class are held
    out, others with `validation_share` choose among the trials; `split_seed` draws both.
    """

    methods: Sequence[str]
    experiments: Sequence[str] = EXPERIMENTS
    labels: Sequence[int] = (5, 25, 100)
    seeds: Sequence[int] = (0, 1, 2)
    trials: int = 4
    train: TrainSettings = field(default_factory=TrainSettings)
    unlabelled_shares: Sequence[float] = (0.0, 0.25, 1.0)
    foreign_shares: Sequence[float] = (0.0, 0.5, 0.9)
    damaged_shares: Sequence[float] = (0.5, 0.25, 0.1)
    validation_sizes: Sequence[int] = (10, 20, 50, 100, 200)
    foreign: str = WINDOWS
    block_m: float = 150.0
    test_share: float = 0.3
    validation_share: float = 0.2
    split_seed: int = 0

    def __post_init__(self) -> None:
        for name in self.experiments:
            if name not in EXPERIMENTS:
                raise SettingsError(f"benchmark: experiment '{name}' is unknown: {nearest_name(name, EXPERIMENTS)}")
        if len(set(self.seeds)) < LEAST_SEEDS:
            raise SettingsError(
                f"benchmark: {len(set(self.seeds))} seeds; it needs {LEAST_SEEDS} at least, since one training says "
                "nothing of how much another would differ"
            )
        for name in ("methods", "experiments", "labels"):
            if not getattr(self, name):
                raise SettingsError(f"benchmark: {name} is empty; name one at least")
        for labels in self.labels:
            check_within("benchmark: labels a class", labels, 1, 1e6)
        check_within("benchmark: trials", self.trials, 1, 10_000)
        check_within("benchmark: block_m", self.block_m, 1.0, 1e6)
        for name in ("test_share", "validation_share"):
            check_within(f"benchmark: {name}", getattr(self, name), 0.05, 0.6)
        for share in (*self.unlabelled_shares, *self.foreign_shares, *self.damaged_shares):
            check_within("benchmark: a share", share, 0.0, 1.0)

    @property
    def middle_labels(self) -> int:
        """Labels a class for tuning, and for all experiments but the label-efficiency curves."""
        ordered = sorted(self.labels)
        return ordered[len(ordered) // 2]

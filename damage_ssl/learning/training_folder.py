"""Where a training leaves its weights, its metrics and what it goes on from. Needs no torch: a run on disk is one."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from damage_ssl.files import storage_errors

State = Literal["queued", "running", "trained", "finished", "failed", "cancelled"]
"""`trained`: the weights are there, calibration and predictions are not yet; `finished`: they are too."""


@dataclass(frozen=True)
class TrainingFolder:
    """A folder that a training writes to; whoever wants to know how the training stands overrides `set_status`."""

    path: Path

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.path.name

    @property
    def checkpoint_path(self) -> Path:
        """The final weights; a JSON beside it says what they are."""
        return self.path / "model.safetensors"

    @property
    def card_path(self) -> Path:
        """The JSON beside the final weights."""
        return self.checkpoint_path.with_suffix(".json")

    @property
    def known_path(self) -> Path:
        """What the model says of its own pairs, where their features are kept."""
        return self.path / "known.npz"

    @property
    def resume_path(self) -> Path:
        """The state of a training that has not ended."""
        return self.path / "resume.safetensors"

    @property
    def metrics_path(self) -> Path:
        """One JSON object a line while training: step, loss, its parts, mask rate, validation score."""
        return self.path / "metrics.jsonl"

    def log_metrics(self, values: dict[str, Any]) -> None:
        """Append one line to `metrics.jsonl`."""
        with storage_errors(self.metrics_path), self.metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values, allow_nan=False) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """All complete lines of `metrics.jsonl`."""
        if not self.metrics_path.exists():
            return []
        lines = self.metrics_path.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines if line]

    def set_status(self, state: State, *, step: int, steps: int, message: str = "") -> None:
        """Be told where the training stands; a folder of its own keeps nothing of it."""

    def reached(self) -> tuple[int, int]:
        """The last step that `set_status` was told, and of how many; 0, 0 where nothing is kept."""
        return 0, 0

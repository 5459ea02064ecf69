"""Self-supervised pretraining on an event's pairs, and on other events': from patches to a file of weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from damage_ssl.errors import InputError
from damage_ssl.events.event import Event
from damage_ssl.patches.store import PatchStore

if TYPE_CHECKING:
    from torch import Tensor

    from damage_ssl.learning.pretraining import PretrainProgress, PretrainSettings


FOLDER = "pretrained"


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """What a pretraining left. `done` False: it was stopped, and the same command goes on with it."""

    path: Path
    done: bool
    steps: int
    pairs: int
    had: bool


def pretrain_event(
    event: Event,
    settings: "PretrainSettings",
    *,
    also: Sequence[Event] = (),
    progress: Callable[["PretrainProgress"], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Pretrained:
    """Pretrain on the pairs of these events; the file lies in the first one's folder, its name says what it is.

    No label is read. At most `max_pairs` pairs of an event, drawn at random, are held in memory; only the close view is
    used. What was pretrained before with the same settings and pixels is left as it is.

    Raises:
        WorkspaceError: the patches of an event are not cut.
        InputError: events whose patches are of different sizes or resolutions.
        DamageSSLError: lightly is not installed, or the loss is not a finite number any more.
    """
    from damage_ssl.learning.networks.weights import read_weights
    from damage_ssl.learning.pretraining import Pretraining, pretraining_fingerprint

    events = [event, *also]
    if len({each.path for each in events}) < len(events):
        raise InputError("pretraining: an event is named twice; name each once")
    stores = [PatchStore.open(each.patches_path) for each in events]
    fingerprint = pretraining_fingerprint(settings, [store.fingerprint for store in stores])
    network = settings.network.replace(":", "-").replace("/", "-")
    path = event.path / FOLDER / f"{settings.loss}-{network}-{fingerprint}.safetensors"
    if path.exists():
        facts = read_weights(path).facts
        return Pretrained(path=path, done=True, steps=int(facts["steps"]), pairs=int(facts["pairs"]), had=True)
    loaded = [_pixels(store, settings) for store in stores]
    if len({gsd_m for _, gsd_m in loaded}) > 1:
        found = ", ".join(f"{each.name} {gsd_m:g} m" for each, (_, gsd_m) in zip(events, loaded, strict=True))
        raise InputError(f"pretraining: the patches are of different resolutions ({found}); cut them alike")
    pretraining = Pretraining([pixels for pixels, _ in loaded], settings, fingerprint)
    resume = path.with_suffix(".resume")
    done = pretraining.run(resume, progress, should_stop)
    if done:
        pretraining.write(path, {"events": [each.name for each in events]})
        resume.unlink(missing_ok=True)
    return Pretrained(path=path, done=done, steps=pretraining.step, pairs=len(pretraining.pixels), had=False)


def _pixels(store: PatchStore, settings: "PretrainSettings") -> "tuple[Tensor, float]":
    """Close views uint8 [N, 7, H, W] of at most `max_pairs` buildings, and their metres a pixel."""
    from damage_ssl.learning.pair_tensor import VIEW_CHANNELS, pair_bytes

    index = store.index()
    building_id = index.loc[index["assessed"].to_numpy(bool), "building_id"].to_numpy(str)
    if len(building_id) > settings.max_pairs:
        drawn = np.random.default_rng(settings.seed).choice(len(building_id), settings.max_pairs, replace=False)
        building_id = building_id[np.sort(drawn)]
    pairs = store.load(building_id)
    return pair_bytes(pairs)[:, :VIEW_CHANNELS].contiguous(), pairs.close.gsd_m

"""Self-supervised pretraining of the encoder on pairs without labels, by the losses of `lightly`.

Two strong views of each pair, each date with its own light, go through the encoder and a projection that is thrown away
afterwards; their projections must agree, and those of other pairs must not collapse onto them. `simclr` is NT-Xent
(Chen et al. 2020, arXiv:2002.05709, eq. 1), `vicreg` keeps variance and decorrelates (Bardes et al. 2022,
arXiv:2105.04906, eqs. 1-6), `barlow-twins` brings the cross-correlation of the two views to the identity (Zbontar et
al. 2021, arXiv:2103.03230, eq. 1). The features are those of the pair (`fusion`), so that what the encoder learns to
tell apart is pairs, not places.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from damage_ssl import __version__
from damage_ssl.errors import DamageSSLError, InputError, SettingsError, WorkspaceError
from damage_ssl.learning.augmentation.views import Views
from damage_ssl.learning.device import device_named, keep_freed_memory
from damage_ssl.learning.networks.encoders import seeded
from damage_ssl.learning.networks.fusion import Fusion
from damage_ssl.learning.networks.pair_network import NetworkSpec, PairNetwork, build_network
from damage_ssl.learning.networks.torchvision_compat import ensure_torchvision
from damage_ssl.learning.networks.weights import KIND, load_weights, read_weights
from damage_ssl.learning.pair_tensor import to_unit
from damage_ssl.learning.tensor_files import (
    load_optimizer_tensors,
    optimizer_tensors,
    read_tensors,
    with_prefix,
    without_prefix,
    write_tensors,
)
from damage_ssl.learning.trainer.data import distinct
from damage_ssl.learning.trainer.optimiser import rate_factor, set_rate
from damage_ssl.settings import Settings

LossName = Literal["simclr", "vicreg", "barlow-twins"]
CHECKPOINT_SECONDS = 30.0
WARM_UP = 0.1
_WHERE = "pretraining"


class PretrainSettings(Settings, title="pretraining"):
    """One pretraining. `network` and `fusion` are those of the trainings to come; `input_px` too.

    `minutes` bounds it (None: all `steps`). `weights` is a file to start from, as of another pretraining; else the
    encoder starts as its name says (ImageNet for `efficientnet-lite0`, else random). `max_pairs` bounds the memory of
    each event (24 KiB a pair of 64 px). A SimCLR batch has 2 · (`batch` - 1) negatives a view.
    """

    loss: LossName = "vicreg"
    network: str = "efficientnet-lite0"
    fusion: Fusion = "change"
    seed: int = 0
    steps: int = Field(400, ge=1, le=10**9)
    minutes: float | None = Field(None, ge=1e-3, le=1e6)
    batch: int = Field(64, ge=4, le=10**6)
    learning_rate: float = Field(1e-4, ge=1e-9, le=10.0)
    weight_decay: float = 1e-4
    temperature: float = Field(0.2, ge=1e-3, le=100.0)
    projection: int = Field(256, ge=2, le=65_536)
    input_px: int = Field(64, ge=32, le=2048)
    max_pairs: int = Field(20_000, ge=4, le=10**9)
    weights: str = ""
    device: str = "auto"

    @model_validator(mode="after")
    def _has_an_encoder_of_one_date(self) -> Self:
        if self.fusion == "stacked":
            raise ValueError("fusion 'stacked' has no encoder of one date; take 'change' or 'siamese'")
        return self


@dataclass(frozen=True, kw_only=True)
class PretrainProgress:
    """Where a pretraining stands; `loss` is the last one, at each report."""

    step: int
    steps: int
    loss: float


def loss_named(settings: PretrainSettings) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of two projections [B, D], from `lightly`.

    Raises:
        DamageSSLError: lightly is not installed.
    """
    ensure_torchvision()
    try:
        from lightly.loss import BarlowTwinsLoss, NTXentLoss, VICRegLoss
    except ImportError as error:
        raise DamageSSLError(
            f"{_WHERE}: the losses are those of 'lightly', which cannot be imported ({error}); install it beside this "
            "torch with `pip install --no-deps 'lightly>=1.6'`, or all it ever needs with `pip install -c "
            "constraints.txt 'damage-ssl[pretrain]'`"
        ) from error
    losses: dict[LossName, Callable[[], Callable[[Tensor, Tensor], Tensor]]] = {
        "simclr": lambda: NTXentLoss(temperature=settings.temperature),
        "vicreg": VICRegLoss,
        "barlow-twins": BarlowTwinsLoss,
    }
    return losses[settings.loss]()


def pretraining_fingerprint(settings: PretrainSettings, patches: Sequence[str]) -> str:
    """Changes with anything that a pretraining that is gone on with must share with its beginning."""
    values = settings.model_dump()
    for name in ("minutes", "device"):
        values.pop(name)
    digest = hashlib.blake2b(json.dumps([values, list(patches), __version__]).encode(), digest_size=8)
    if settings.weights:
        digest.update(read_weights(Path(settings.weights)).path.read_bytes())
    return digest.hexdigest()


class Pretraining:
    """A pretraining in memory: network, projection, optimiser, generators, step."""

    def __init__(self, pixels: Sequence[Tensor], settings: PretrainSettings, fingerprint: str) -> None:
        """`pixels` are uint8 [N, 7, H, W], one tensor for each event."""
        self.settings, self.fingerprint, self.step, self.seconds = settings, fingerprint, 0, 0.0
        shapes = {tuple(each.shape[1:]) for each in pixels}
        if len(shapes) != 1:
            raise InputError(f"{_WHERE}: the events' patches are of different sizes ({shapes}); cut them alike")
        self.pixels = torch.cat(list(pixels))
        if len(self.pixels) < 4:
            raise InputError(f"{_WHERE}: only {len(self.pixels)} buildings have a pair; 4 are needed at least")
        self.loss = loss_named(settings)
        self.device = device_named(settings.device)
        self.generators = {
            name: torch.Generator().manual_seed(3 * settings.seed + index)
            for index, name in enumerate(("start", "batch", "views"))
        }
        self.network = _network(settings, self.pixels, self.generators["start"]).to(self.device)
        features, width = self.network.feature_count, 2 * settings.projection
        self.projection = seeded(
            lambda: nn.Sequential(
                nn.LayerNorm(features),
                nn.Linear(features, width),
                nn.LayerNorm(width),
                nn.ReLU(inplace=True),
                nn.Linear(width, settings.projection),
            ),
            self.generators["start"],
        ).to(self.device)
        self.views = Views()
        trained = [*self.network.encoder.parameters(), *self.network.attention.parameters()]
        groups = [{"params": part, "top_rate": settings.learning_rate} for part in (trained,)]
        groups.append({"params": list(self.projection.parameters()), "top_rate": max(settings.learning_rate, 1e-3)})
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)

    def run(
        self,
        resume: Path,
        progress: Callable[[PretrainProgress], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> bool:
        """Train to the end; False if stopped before, its state in `resume`, where it also goes on from.

        Raises:
            DamageSSLError: the loss is not a finite number any more. WorkspaceError: the state is of another one.
        """
        if resume.exists():
            self._load(resume)
        began, before, saved = time.monotonic(), self.seconds, time.monotonic()
        while (share := self._share()) < 1.0:
            if should_stop is not None and should_stop():
                self._save(resume)
                return False
            loss = self._one_step(share)
            self.step += 1
            self.seconds = before + time.monotonic() - began
            if self.step % 5 == 0 or self.step == self.settings.steps:
                self._report(float(loss), progress)
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                self._save(resume)
                saved = time.monotonic()
        return True

    def write(self, path: Path, facts: dict[str, object]) -> None:
        """Write the encoder alone, as `weights.read_weights` reads it."""
        about = {
            "kind": KIND,
            "network": self.settings.network,
            "norm": self.network.spec.norm,
            "fingerprint": self.fingerprint,
            "settings": self.settings.model_dump(),
            "steps": self.step,
            "pairs": len(self.pixels),
            "version": __version__,
            **facts,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, self.network.encoder.state_dict(), about)

    def _share(self) -> float:
        by_steps, minutes = self.step / self.settings.steps, self.settings.minutes
        return by_steps if minutes is None else max(by_steps, self.seconds / (60 * minutes))

    def _one_step(self, share: float) -> Tensor:
        set_rate(self.optimizer, rate_factor(share, WARM_UP))
        rows = distinct(len(self.pixels), min(self.settings.batch, len(self.pixels)), self.generators["batch"])
        pairs = to_unit(self.pixels[rows].to(self.device))
        views = [self.views.strong(pairs, self.generators["views"]) for _ in range(2)]
        one, other = self.projection(self.network.features(torch.cat(views))).chunk(2)
        loss = self.loss(one, other)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def _report(self, loss: float, progress: Callable[[PretrainProgress], None] | None) -> None:
        if not loss < float("inf"):
            raise DamageSSLError(
                f"{_WHERE}: step {self.step}: the loss is not a finite number any more; try a smaller --learning-rate"
            )
        if progress is not None:
            progress(PretrainProgress(step=self.step, steps=self.settings.steps, loss=loss))

    def _save(self, path: Path) -> None:
        tensors = {
            **with_prefix("network", self.network.state_dict()),
            **with_prefix("projection", self.projection.state_dict()),
            **with_prefix("optimizer", optimizer_tensors(self.optimizer)),
            **with_prefix("generator", {name: each.get_state() for name, each in self.generators.items()}),
        }
        facts = {"fingerprint": self.fingerprint, "step": self.step, "seconds": self.seconds}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, tensors, facts)

    def _load(self, path: Path) -> None:
        tensors, facts = read_tensors(path)
        if facts.get("fingerprint") != self.fingerprint:
            raise WorkspaceError(f"{path}: is of another pretraining; delete it to begin this one anew")
        self.network.load_state_dict(without_prefix("network", tensors))
        self.projection.load_state_dict(without_prefix("projection", tensors))
        load_optimizer_tensors(self.optimizer, without_prefix("optimizer", tensors))
        for name, state in without_prefix("generator", tensors).items():
            self.generators[name].set_state(state)
        self.step, self.seconds = facts["step"], facts["seconds"]


def _network(settings: PretrainSettings, pixels: Tensor, generator: torch.Generator) -> PairNetwork:
    """The network without texture features: its filters are not learned."""
    keep_freed_memory()
    weights = read_weights(Path(settings.weights)) if settings.weights else None
    spec = NetworkSpec(
        network=settings.network,
        fusion=settings.fusion,
        channels=int(pixels.shape[1]),
        input_px=settings.input_px,
        classes=2,
        norm="group" if weights is None else weights.norm,
    )
    network = build_network(spec, generator)
    if weights is not None:
        load_weights(network.encoder, settings.network, weights)
    if not any(each.requires_grad for each in network.encoder.parameters()):
        raise SettingsError(f"{_WHERE}: the network '{settings.network}' has nothing to train; take another --network")
    return network

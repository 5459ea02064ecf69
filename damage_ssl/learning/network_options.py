"""Options of the network itself: where its encoder starts, its head, its views, the sizes it is trained at."""

from dataclasses import dataclass
from typing import Literal

from damage_ssl.errors import SettingsError
from damage_ssl.learning.algorithms.base import check_range

SIZE_STEP_PX = 32
"""Mixed sizes are multiples of it: the deepest stride of the encoders."""


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Options of the network, beside `network`, `fusion` and `input_px` of `TrainSettings`.

    `weights` is a file that the encoder starts from: one of `damage-ssl pretrain`, or a published safetensors or .pth
    of a `timm:` or `smp:` encoder. `init`: `packaged` uses what comes with the encoder's name (ImageNet for
    `efficientnet-lite0`, random for the others), `hub` fetches ImageNet weights of a `timm:` or `smp:` encoder.
    `head`: `hidden` has a hidden layer, `ordinal` is for classes in an order (`heads.py`).
    `closeup` is the share of the patch's side that is cut out of its middle as a view of its own, the whole patch then
    being the context (0: none; not where the patches have a context view, which is used anyway). With `input_px_low`
    and `input_px_high` each training batch is resized to a multiple of 32 px between them, at random (0: always
    `input_px`); prediction stays at `input_px`.
    """

    weights: str = ""
    init: Literal["packaged", "hub"] = "packaged"
    head: Literal["linear", "hidden", "ordinal"] = "linear"
    closeup: float = 0.0
    input_px_low: int = 0
    input_px_high: int = 0

    def __post_init__(self) -> None:
        check_range("training: closeup", self.closeup, 0.0, 0.9)
        low, high = self.input_px_low, self.input_px_high
        if (low or high) and not SIZE_STEP_PX <= low <= high:
            raise SettingsError(
                f"training: input_px_low is {low}, input_px_high is {high}; both are needed, {SIZE_STEP_PX} or more, "
                "the low one first"
            )
        if low and not mixed_sizes(low, high):
            raise SettingsError(
                f"training: there is no multiple of {SIZE_STEP_PX} px from input_px_low {low} to input_px_high {high}"
            )
        if self.weights and self.init == "hub":
            raise SettingsError("training: 'weights' and init 'hub' both say where the encoder starts; give one")

    @property
    def given_start(self) -> bool:
        """True where the encoder starts from weights that its name does not bring along."""
        return bool(self.weights) or self.init == "hub"


def mixed_sizes(low: int, high: int) -> list[int]:
    """The multiples of `SIZE_STEP_PX` from `low` to `high`."""
    return list(range(-(-low // SIZE_STEP_PX) * SIZE_STEP_PX, high + 1, SIZE_STEP_PX)) if low else []

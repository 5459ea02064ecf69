"""How buildings are looked for, and how the network that finds them is trained."""

from dataclasses import dataclass

from damage_ssl.errors import SettingsError
from damage_ssl.settings import check_within

STRIDE_PX = 32
"""Every size and place on the grid is a multiple of this, so that the encoder's strides fall on the same pixels."""


@dataclass(frozen=True, kw_only=True)
class DetectionSettings:
    """What the network sees and what becomes a building.

    The network works on a UTM grid of `gsd_m` in tiles of `tile_px`. The outermost `margin_px` of a tile, which see
    the padding, are thrown away, and neighbouring tiles are blended over `overlap_px` beyond that. A building is a
    watershed region with a mean probability of `min_confidence` and an area of `min_area_m2`; 0.5 is "more likely than
    not". Buildings are cut out of windows of `window_px` with `halo_px` around them; larger ones are joined from parts.

    Raises:
        SettingsError: a number outside its range, or sizes that do not fit one another.
    """

    gsd_m: float = 0.5
    tile_px: int = 512
    margin_px: int = 32
    overlap_px: int = 64
    window_px: int = 1024
    halo_px: int = 256
    min_confidence: float = 0.5
    min_area_m2: float = 12.0
    simplify_m: float = 0.8

    def __post_init__(self) -> None:
        check_within("detection: gsd_m", self.gsd_m, 0.05, 5.0)
        check_within("detection: min_confidence", self.min_confidence, 0.0, 1.0)
        check_within("detection: min_area_m2", self.min_area_m2, 0.0, 1e6)
        check_within("detection: simplify_m", self.simplify_m, 0.0, 20.0)
        for name in ("tile_px", "window_px"):
            size = getattr(self, name)
            if size % STRIDE_PX or not 64 <= size <= 4096:
                raise SettingsError(f"detection: {name} is {size}; it must be a multiple of {STRIDE_PX}, 64 to 4096")
        if self.margin_px % STRIDE_PX or self.overlap_px % STRIDE_PX or self.margin_px < 0 or self.overlap_px < 0:
            raise SettingsError(f"detection: margin_px and overlap_px must be multiples of {STRIDE_PX}, 0 or more")
        if self.stride_px < self.overlap_px or self.stride_px <= 0:
            raise SettingsError(
                f"detection: tiles of {self.tile_px} px with {self.margin_px} px margin and {self.overlap_px} px "
                "overlap leave nothing between the overlaps; make tile_px larger"
            )
        check_within("detection: halo_px", self.halo_px, 0, self.window_px)

    @property
    def stride_px(self) -> int:
        """From one tile to the next."""
        return self.tile_px - 2 * self.margin_px - self.overlap_px


@dataclass(frozen=True, kw_only=True)
class DetectionTraining:
    """One training of the network.

    `encoder`: `efficientnet-lite0` (ImageNet weights from the package), `efficientnet-lite0-scratch` (the same
    without them) or `smp:<encoder>` (untrained). The run ends after `steps` or `minutes`, whichever is first; the
    learning rate follows what is used up of either. `copy_paste_share` of the crops get buildings of another crop
    pasted in (Ghiasi et al. 2021). `self_training_share` of the time is spent with pseudo-labels on the target's own
    imagery in half of each batch (Zoph et al. 2020); only pixels as sure as `pseudo_confidence` count there.
    `max_tiles` bounds the memory: a training tile of 512 px takes about 2 MiB.

    Raises:
        SettingsError: a number outside its range.
    """

    encoder: str = "efficientnet-lite0"
    seed: int = 0
    steps: int = 1500
    minutes: float | None = 10.0
    crop_px: int = 256
    batch: int = 8
    learning_rate_encoder: float = 3e-4
    learning_rate_decoder: float = 1e-3
    weight_decay: float = 1e-2
    copy_paste_share: float = 0.5
    self_training_share: float = 0.3
    pseudo_confidence: float = 0.9
    max_tiles: int = 200
    device: str = "auto"

    def __post_init__(self) -> None:
        check_within("detection: seed", self.seed, 0, 2**31 - 1)
        check_within("detection: steps", self.steps, 1, 1_000_000)
        if self.minutes is not None:
            check_within("detection: minutes", self.minutes, 0.0, 10_000.0)
        check_within("detection: batch", self.batch, 2, 256)
        if self.crop_px % STRIDE_PX or not 64 <= self.crop_px <= 512:
            raise SettingsError(
                f"detection: crop_px is {self.crop_px}; it must be a multiple of {STRIDE_PX}, 64 to 512"
            )
        for name in ("copy_paste_share", "self_training_share"):
            check_within(f"detection: {name}", getattr(self, name), 0.0, 0.9)
        check_within("detection: pseudo_confidence", self.pseudo_confidence, 0.5, 1.0)
        check_within("detection: max_tiles", self.max_tiles, 1, 100_000)

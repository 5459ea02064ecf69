"""How buildings are looked for, and how the network that finds them is trained."""

from typing import Self

from pydantic import Field, model_validator

from damage_ssl.settings import Settings

STRIDE_PX = 32
"""Every size and place on the grid is a multiple of this, so that the encoder's strides fall on the same pixels."""


class DetectionSettings(Settings, title="detection"):
    """What the network sees and what becomes a building.

    The network works on a UTM grid of `gsd_m` in tiles of `tile_px`. The outermost `margin_px` of a tile, which see
    the padding, are thrown away, and neighbouring tiles are blended over `overlap_px` beyond that. A building is a
    watershed region with a mean probability of `min_confidence` and an area of `min_area_m2`; 0.5 is "more likely than
    not". Buildings are cut out of windows of `window_px` with `halo_px` around them; larger ones are joined from parts.

    Raises:
        SettingsError: a number outside its range, or sizes that do not fit one another.
    """

    gsd_m: float = Field(0.5, ge=0.05, le=5.0)
    tile_px: int = Field(512, ge=64, le=4096, multiple_of=STRIDE_PX)
    margin_px: int = Field(32, ge=0, multiple_of=STRIDE_PX)
    overlap_px: int = Field(64, ge=0, multiple_of=STRIDE_PX)
    window_px: int = Field(1024, ge=64, le=4096, multiple_of=STRIDE_PX)
    halo_px: int = Field(256, ge=0)
    min_confidence: float = Field(0.5, ge=0.0, le=1.0)
    min_area_m2: float = Field(12.0, ge=0.0, le=1e6)
    simplify_m: float = Field(0.8, ge=0.0, le=20.0)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.stride_px < self.overlap_px or self.stride_px <= 0:
            raise ValueError(
                f"tiles of {self.tile_px} px with {self.margin_px} px margin and {self.overlap_px} px overlap leave "
                "nothing between the overlaps; make tile_px larger"
            )
        if self.halo_px > self.window_px:
            raise ValueError(f"halo_px is {self.halo_px}; it must be 0 to {self.window_px}, the window_px")
        return self

    @property
    def stride_px(self) -> int:
        """From one tile to the next."""
        return self.tile_px - 2 * self.margin_px - self.overlap_px


class DetectionTraining(Settings, title="detection"):
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
    seed: int = Field(0, ge=0, le=2**31 - 1)
    steps: int = Field(1500, ge=1, le=1_000_000)
    minutes: float | None = Field(10.0, ge=0.0, le=10_000.0)
    crop_px: int = Field(256, ge=64, le=512, multiple_of=STRIDE_PX)
    batch: int = Field(8, ge=2, le=256)
    learning_rate_encoder: float = 3e-4
    learning_rate_decoder: float = 1e-3
    weight_decay: float = 1e-2
    copy_paste_share: float = Field(0.5, ge=0.0, le=0.9)
    self_training_share: float = Field(0.3, ge=0.0, le=0.9)
    pseudo_confidence: float = Field(0.9, ge=0.5, le=1.0)
    max_tiles: int = Field(200, ge=1, le=100_000)
    device: str = "auto"

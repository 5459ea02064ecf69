"""Mixed resolutions: each training batch at another size."""

from collections.abc import Sequence

import torch

from damage_ssl.learning.network_options import NetworkOptions, mixed_sizes
from damage_ssl.learning.networks import PairNetwork


class MixedSizes:
    """Draws the size that networks see a batch at; without a range in the options it draws nothing.

    Student and average see one size in a step: their targets are of the same pixels. A graph that was captured or
    compiled for one size does not fit another; leave both off with mixed sizes.
    """

    def __init__(self, options: NetworkOptions, networks: Sequence[PairNetwork]) -> None:
        self._sizes = mixed_sizes(options.input_px_low, options.input_px_high)
        self._networks = list(networks)

    def draw(self, generator: torch.Generator) -> None:
        """Take a size at random for the step that begins."""
        if self._sizes:
            chosen = self._sizes[int(torch.randint(len(self._sizes), (), generator=generator))]
            for network in self._networks:
                network.input_px = chosen

    def restore(self) -> None:
        """Back to the size of prediction."""
        for network in self._networks:
            network.input_px = network.spec.input_px

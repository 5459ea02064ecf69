"""Which pairs a training step sees."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MANY = 100_000
"""Of at most so many, all are shuffled in each draw, which takes a millisecond there."""


class BalancedSampler:
    """Labelled rows with the classes in equal shares, whatever their counts; a step's remainder goes to random classes.

    Within a step a pair repeats only when its class has fewer pairs than its share. Has no state but the generator's.
    """

    def __init__(self, rows: NDArray[np.intp], classes: NDArray[np.int64]) -> None:
        self._by_class = [(int(each), torch.from_numpy(rows[classes == each])) for each in np.unique(classes)]

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rows and class indices, int64 [count] each, grouped by class."""
        share, remainder = divmod(count, len(self._by_class))
        lucky = set(torch.randperm(len(self._by_class), generator=generator)[:remainder].tolist())
        rows, classes = [], []
        for index, (class_index, members) in enumerate(self._by_class):
            wanted = share + (index in lucky)
            rows.append(members[distinct(len(members), wanted, generator)])
            classes.append(torch.full((wanted,), class_index))
        return torch.cat(rows), torch.cat(classes)


def distinct(available: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` random positions below `available`, int64; one repeats only when all others have come as often.

    Few out of very many take no time in proportion to these: those drawn twice are drawn again.
    """
    if available > MANY and count * 2 < available:
        drawn = torch.randint(available, (count,), generator=generator)
        while len(kept := torch.unique(drawn)) < count:
            drawn = torch.cat([kept, torch.randint(available, (count - len(kept),), generator=generator)])
        return drawn
    rounds = -(-count // available)
    return torch.cat([torch.randperm(available, generator=generator) for _ in range(max(rounds, 1))])[:count]

"""Pairs as a torch `Dataset`, for a training loop of one's own."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from damage_ssl.damage_scale import DEFAULT_SCHEME, LabelValue, scheme_named
from damage_ssl.learning.pair_tensor import pair_bytes, to_unit
from damage_ssl.patches.pairs import PairSet
from damage_ssl.patches.store import PatchStore


class PairDataset(Dataset[tuple[Tensor, Tensor]]):
    """Every assessable building of an event, or of pairs in memory: (pixels, class).

    Pixels are float32 [7, H, W] in [0, 1]: pre RGB, post RGB, footprint; with a context view its seven channels follow.
    What is not valid has the mean colour of the date. The class is int64 [], an index of `scheme`; -1: no label.
    `building_id` names the items in order.

    A patch store is read as items are asked for, so that memory does not grow with the event; a `DataLoader` asks for
    a batch at once. The store holds chunks of 128 neighbours, each read whole: `load()` what fits into memory before
    drawing from it at random.

    Args:
        pairs: a patch store, or pairs in memory.
        labels: building id → label, of any buildings.
        scheme: the classes that the labels fall into.

    Raises:
        InputError: a label is none. SettingsError: no such scheme.

    Examples:
        >>> from torch.utils.data import DataLoader
        >>> data = PairDataset(cut_patches(event), {"sim-000003": "destroyed"})
        >>> pixels, classes = next(iter(DataLoader(data, batch_size=16)))
        >>> pixels.shape, classes.tolist().count(1)
        (torch.Size([16, 14, 64, 64]), 1)
    """

    def __init__(
        self, pairs: PatchStore | PairSet, labels: Mapping[str, str] | None = None, *, scheme: str = DEFAULT_SCHEME
    ) -> None:
        self._pairs = pairs
        if isinstance(pairs, PairSet):
            self.building_id = pairs.building_id
        else:
            index = pairs.index()
            self.building_id = index.loc[index["row"] >= 0].sort_values("row")["building_id"].to_numpy(str)
        class_of = classes_of(labels or {}, scheme)
        self._classes = torch.tensor([class_of.get(building, -1) for building in self.building_id.tolist()])

    def __len__(self) -> int:
        return len(self.building_id)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """Several items, read together: `DataLoader` asks so."""
        at = np.asarray(rows, dtype=np.intp)
        some = self._pairs.take(at) if isinstance(self._pairs, PairSet) else self._pairs.load(self.building_id[at])
        return list(zip(to_unit(pair_bytes(some)), self._classes[torch.from_numpy(at)], strict=True))


def classes_of(labels: Mapping[str, str], scheme: str) -> dict[str, int]:
    """The class index of each label; those that are no class of the scheme are left out.

    Raises:
        InputError: a label is none. SettingsError: no such scheme.
    """
    chosen = scheme_named(scheme)
    index = {name: chosen.index_of(LabelValue.parse(value, f"label of '{name}'")) for name, value in labels.items()}
    return {name: found for name, found in index.items() if found is not None}

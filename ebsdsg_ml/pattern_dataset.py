"""Patterns of a data set as PyTorch's data loader wants them.

A reader holds the rows of the folds it was made for and nothing of the others; the file is opened
by whichever process reads from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ebsdsg_ml.dataset_file import open_dataset
from ebsdsg_ml.pattern_rows import PatternRows
from ebsdsg_ml.pattern_source import DatasetError
from ebsdsg_ml.sampler import random_order

if TYPE_CHECKING:
    import torch

IN_MEMORY = 512 << 20
"""Patterns of fewer bytes than this are held in memory."""


def open_patterns(
    path: str | Path,
    folds: int | Iterable[int] | None = None,
    *,
    training: bool = False,
    device: str = "cpu",
) -> PatternDataset:
    """Patterns of some folds, stored or made on the fly as the data set has it.

    Parameters
    ----------
    path : data-set file.
    folds : a fold, several, :data:`ebsdsg_ml.splits.TEST`, or None for all but the test set.
    training : with the sets that are for training only; on-the-fly patterns are then new in every
        epoch, and otherwise always those of epoch 0.
    device : where on-the-fly patterns are made.

    Raises
    ------
    DatasetError
        If the file is unusable, a fold is not there, or there is no pattern in the folds.
    """
    with open_dataset(path) as opened:
        generation = opened.recipe.generation
    if generation == "stored":
        return PatternDataset(path, folds, training=training)
    from ebsdsg_ml.pattern_bank import PatternBank

    return PatternBank(path, folds, training=training, device=device)


class PatternDataset(PatternRows):
    """Stored patterns of some folds, one by one, for a :class:`torch.utils.data.DataLoader`.

    Items are ``(pattern, class index, row)``: an (H, W) uint8 tensor, the position of its label in
    :attr:`classes`, and its row in the file.  The file is opened by the process that reads, so a
    loader's workers each have their own handle; nothing of it is copied when workers start.  An
    uncompressed file is memory-mapped.

    Parameters
    ----------
    path : data-set file.
    folds : a fold, several, :data:`ebsdsg_ml.splits.TEST`, or None for all but the test set.
    transform : applied to every pattern (uint8 tensor (H, W) -> tensor).
    training : with the sets of Debye-Waller factors that are for training only.
    in_memory : keep the patterns in memory; None does so below 512 MiB.

    Raises
    ------
    DatasetError
        If the file is unusable, a fold is not there, or there is no pattern in the folds.
    """

    fresh = False
    """Whether every epoch has patterns of its own."""

    def __init__(
        self,
        path: str | Path,
        folds: int | Iterable[int] | None = None,
        transform: Any = None,
        *,
        training: bool = False,
        in_memory: bool | None = None,
    ) -> None:
        self.transform = transform
        with open_dataset(path) as opened:
            if opened.patterns is None:
                raise DatasetError(
                    f"{path} holds no patterns, they are made on the fly: open it with "
                    "ebsdsg_ml.pattern_dataset.open_patterns"
                )
            super().__init__(opened, folds, training)
            n_bytes = self.rows.size * int(np.prod(opened.patterns.shape[1:]))
            if in_memory is None:
                in_memory = n_bytes < IN_MEMORY
            self._patterns = opened.patterns[...][self.rows] if in_memory else None
        self._stored: h5py.Dataset | np.memmap | None = None

    def order(self, epoch: int, seed: int) -> np.ndarray:
        """Order of one epoch (see :class:`ebsdsg_ml.sampler.Patterns`): a random permutation."""
        return random_order(len(self), epoch, seed)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open handle behind: a worker opens its own."""
        return {**self.__dict__, "_stored": None}

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Patterns at some positions, in the order asked for: (n, H, W) uint8."""
        positions = np.asarray(indices, dtype=np.int64)
        if self._patterns is not None:
            return self._patterns[positions]
        if self._stored is None:
            self._stored = _stored_patterns(self.path)
        rows, inverse = np.unique(self.rows[positions], return_inverse=True)
        return np.asarray(self._stored[rows])[inverse]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[torch.Tensor, int, int]]:
        """Several items with one read (called by the data loader)."""
        import torch

        patterns = list(torch.from_numpy(self.read(indices)))
        if self.transform is not None:
            patterns = [self.transform(pattern) for pattern in patterns]
        return [
            (pattern, int(self.labels[i]), int(self.rows[i]))
            for pattern, i in zip(patterns, indices, strict=True)
        ]

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        """One item; see the class."""
        return self.__getitems__([index])[0]


def _stored_patterns(path: Path) -> h5py.Dataset | np.memmap:
    """The patterns on disk: mapped where they lie in one piece, else read chunk by chunk."""
    file = h5py.File(path, "r")
    patterns = file["patterns"]
    offset = patterns.id.get_offset()
    if patterns.chunks is not None or offset is None:
        return patterns
    shape = patterns.shape
    file.close()
    return np.memmap(path, dtype=np.uint8, mode="r", offset=offset, shape=shape)

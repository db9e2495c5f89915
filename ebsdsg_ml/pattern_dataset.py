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

from ebsdsg_ml.dataset_file import DatasetError, open_dataset
from ebsdsg_ml.sampler import random_order

if TYPE_CHECKING:
    import torch


class PatternDataset:
    """Patterns of some folds, one by one, for a :class:`torch.utils.data.DataLoader`.

    Items are ``(pattern, class index, row)``: an (H, W) uint8 tensor, the position of its label in
    :attr:`classes`, and its row in the file.  The file is opened by the process that reads, so a
    loader's workers each have their own handle; nothing of it is copied when workers start.

    Parameters
    ----------
    path : data-set file.
    folds : a fold, several, or None for all.
    transform : applied to every pattern (uint8 tensor (H, W) -> tensor).
    in_memory : keep the patterns in memory; None does so below 512 MiB.

    Raises
    ------
    DatasetError
        If the file is unusable, a fold is not there, or there is no pattern in the folds.
    """

    def __init__(
        self,
        path: str | Path,
        folds: int | Iterable[int] | None = None,
        transform: Any = None,
        *,
        in_memory: bool | None = None,
    ) -> None:
        self.path = Path(path)
        self.transform = transform
        with open_dataset(path) as opened:
            self.recipe = opened.recipe
            self.classes = opened.recipe.class_numbers
            self.content_sha256 = opened.content_sha256
            self.phases = opened.phases
            if folds is None:
                self.folds = tuple(range(self.recipe.n_folds))
            else:
                self.folds = (folds,) if isinstance(folds, int) else tuple(sorted(set(folds)))
            absent = sorted(set(self.folds) - set(range(self.recipe.n_folds)))
            if absent:
                raise DatasetError(
                    f"fold(s) {absent} not in {path}: it has folds 0 to {self.recipe.n_folds - 1}"
                )
            self.rows = np.flatnonzero(np.isin(opened.fold, self.folds))
            if not self.rows.size:
                raise DatasetError(f"no patterns in fold(s) {list(self.folds)} of {path}")
            self.labels = opened.class_index[self.rows]
            self.phase_rows = opened.phase[self.rows]
            n_bytes = self.rows.size * int(np.prod(opened.patterns.shape[1:]))
            if in_memory is None:
                in_memory = n_bytes < 512 << 20
            self._patterns = opened.patterns[...][self.rows] if in_memory else None
        self._file: h5py.File | None = None

    @property
    def fresh(self) -> bool:
        """False: every epoch has the patterns of the file."""
        return False

    def order(self, epoch: int, seed: int) -> np.ndarray:
        """Order of one epoch (see :class:`ebsdsg_ml.sampler.Patterns`): a random permutation."""
        return random_order(len(self), epoch, seed)

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open handle behind: a worker opens its own."""
        return {**self.__dict__, "_file": None}

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Patterns at some positions, in the order asked for: (n, H, W) uint8."""
        positions = np.asarray(indices, dtype=np.int64)
        if self._patterns is not None:
            return self._patterns[positions]
        if self._file is None:
            self._file = h5py.File(self.path, "r")
        rows, inverse = np.unique(self.rows[positions], return_inverse=True)
        return self._file["patterns"][rows][inverse]

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

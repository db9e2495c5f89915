"""The two sides of an adaptation: labelled source patterns, and target patterns without labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ebsdsg_ml.pattern_dataset import open_patterns
from ebsdsg_ml.transforms import Preprocessing

IN_MEMORY = 1 << 30
"""Bytes up to which prepared patterns are kept instead of being prepared in every step."""


class DomainError(ValueError):
    """Source and target do not fit together; the message says how."""


@dataclass(frozen=True)
class Labelled:
    """Patterns with their classes.

    Parameters
    ----------
    patterns : (n, size, size) uint8.
    labels : (n,) class indices.
    """

    patterns: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        check_patterns(self.patterns)
        if self.labels.shape != (len(self.patterns),):
            raise DomainError(f"{len(self.patterns)} patterns with {self.labels.shape} labels")

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def read(
        cls,
        path: str | Path,
        folds: int | Sequence[int] | None = None,
        *,
        training: bool = False,
    ) -> Labelled:
        """Patterns of a data set.

        Parameters
        ----------
        path : data-set file.
        folds : a fold, several, or None for all but the test set.
        training : with the sets that are for training only, such as other Debye-Waller factors.
        """
        dataset = open_patterns(path, folds, training=training)
        return cls(dataset.read(np.arange(len(dataset))), dataset.labels)

    @classmethod
    def joined(cls, parts: Sequence[Labelled]) -> Labelled:
        """Several sources as one, such as low and high Debye-Waller factors.

        Raises
        ------
        DomainError
            If there is none, or their patterns differ in size.
        """
        if not parts:
            raise DomainError("an adaptation needs at least one source")
        if len({part.patterns.shape[1:] for part in parts}) > 1:
            sizes = [part.patterns.shape[1:] for part in parts]
            raise DomainError(f"the sources' patterns differ in size: {sizes}")
        return cls(
            np.concatenate([part.patterns for part in parts]),
            np.concatenate([part.labels for part in parts]),
        )


def check_patterns(patterns: np.ndarray) -> None:
    """Refuse anything but at least two square uint8 patterns.

    Raises
    ------
    DomainError
        Naming type and shape.
    """
    square = patterns.ndim == 3 and patterns.shape[1] == patterns.shape[2]
    if patterns.dtype != np.uint8 or not square or len(patterns) < 2:
        raise DomainError(
            f"patterns are {patterns.dtype} {patterns.shape}; expected uint8 (n, size, size), n > 1"
        )


def rows_of_step(n: int, batch: int, step: int, seed: int, purpose: int) -> np.ndarray:
    """Rows that a step takes from a pool that is gone through again and again.

    All rows are visited once before any is visited again; batches are full, and may reach over the
    end of one order into the next.  Nothing but the step's number is needed to know them.

    Parameters
    ----------
    n : size of the pool.
    batch : rows per step.
    step : number of the step from 0.
    seed, purpose : of the orders.

    Returns
    -------
    (batch,) int64.
    """
    from ebsdsg_ml.classifier import step_seed

    rows, position, end = [], step * batch, (step + 1) * batch
    while position < end:
        turn, start = divmod(position, n)
        generator = torch.Generator().manual_seed(step_seed(seed, turn, purpose))
        order = torch.randperm(n, generator=generator).numpy()
        rows.append(order[start : start + end - position])
        position += len(rows[-1])
    return np.concatenate(rows)


class Pool:
    """Patterns as inputs of a network, on its device.

    Parameters
    ----------
    patterns : (n, size, size) uint8.
    preprocessing : how they become inputs.
    device : where the inputs go.
    channels_last : memory layout of the inputs.
    """

    def __init__(
        self,
        patterns: np.ndarray,
        preprocessing: Preprocessing,
        device: torch.device,
        channels_last: bool,
    ) -> None:
        self.preprocessing, self.device, self.channels_last = preprocessing, device, channels_last
        self._patterns = torch.from_numpy(np.ascontiguousarray(patterns))
        self._prepared: Tensor | None = None
        if 4 * self._patterns.numel() <= IN_MEMORY:
            parts = [preprocessing.prepare(p.to(device)) for p in self._patterns.split(256)]
            self._prepared = torch.cat(parts)

    def __len__(self) -> int:
        return len(self._patterns)

    def _take(self, rows: Tensor) -> Tensor:
        if self._prepared is not None:
            return self._prepared[rows.to(self.device)]
        return self.preprocessing.prepare(self._patterns[rows].to(self.device))

    def _inputs(self, crops: Tensor) -> Tensor:
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return crops.contiguous(memory_format=layout)

    def training(self, rows: np.ndarray, generator: torch.Generator, flips: bool) -> Tensor:
        """Randomly cropped and flipped inputs (k, 1, crop, crop) of some rows."""
        prepared = self._take(torch.from_numpy(rows))
        return self._inputs(self.preprocessing.random_crops(prepared, generator, flips=flips))

    def evaluation(self, batch: int, *, mirrored: bool = False) -> Iterator[Tensor]:
        """All inputs in order, cropped at the centre, `batch` at a time.

        Parameters
        ----------
        batch : inputs at once.
        mirrored : left and right exchanged.
        """
        for rows in torch.arange(len(self)).split(batch):
            crops = self.preprocessing.centre_crops(self._take(rows))
            yield self._inputs(crops.flip(3) if mirrored else crops)

    def mixed(self, batch: int) -> Iterator[Tensor]:
        """All inputs, cropped at the centre, in a random order and batches of about one size.

        The order is the same in every call.  A pool is often sorted by phase: in this order every
        batch has all of it, and none has a pattern alone.

        Parameters
        ----------
        batch : inputs at once, at most.
        """
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))
        for rows in order.tensor_split(-(-len(self) // batch)):
            yield self._inputs(self.preprocessing.centre_crops(self._take(rows)))

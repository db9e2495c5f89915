"""Chance that a seed and a pattern's number fix, whatever else is in the batch.

Every pattern has a random stream of its own for every purpose, so that a pattern comes out the same
alone or in company, today or after a restart, and switching one imperfection on does not change the
chance of another.  Streams of a CPU and of a GPU differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Amount = float | tuple[float, float]
"""One value for all patterns, or (lowest, highest) of values drawn uniformly for each."""


class ImperfectionError(ValueError):
    """An imperfection's parameter or input does not fit; the message names it."""


def check_amount(name: str, amount: Amount, low: float, high: float) -> Amount:
    """An amount as given, lists as tuples.

    Raises
    ------
    ImperfectionError
        If it is no number or (lowest, highest) pair within ``low`` and ``high``.
    """
    pair = tuple(amount) if isinstance(amount, (list, tuple)) else (amount, amount)
    if (
        len(pair) != 2
        or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in pair)
        or not low <= pair[0] <= pair[1] <= high
    ):
        raise ImperfectionError(
            f"{name} = {amount!r}: must be a number, or (lowest, highest), between {low:g} and "
            f"{high:g}"
        )
    return (pair[0], pair[1]) if isinstance(amount, (list, tuple)) else amount


@dataclass(frozen=True)
class Chance:
    """The random streams of a batch of patterns.

    Parameters
    ----------
    seed : of the data set.
    indices : number of each pattern; two patterns of a data set must not share one.
    device : where random fields are drawn.
    """

    seed: int
    indices: Sequence[int]
    device: torch.device | str = "cpu"

    def __len__(self) -> int:
        return len(self.indices)

    def generator(self, purpose: str, index: int | None) -> torch.Generator:
        """A fresh generator of one pattern; of the camera, the same for all, for None."""
        text = f"{self.seed}\x1f{purpose}\x1f{'camera' if index is None else int(index)}"
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        generator = torch.Generator(device=self.device)
        return generator.manual_seed(int.from_bytes(digest, "big") >> 1)

    def amounts(self, purpose: str, amount: Amount) -> Tensor:
        """(n,) float32 values of an amount, one per pattern."""
        if not isinstance(amount, tuple):
            return torch.full((len(self),), float(amount), device=self.device)
        low, high = amount
        # Single numbers are drawn on the CPU, the same for every device.
        here = Chance(self.seed, self.indices)
        draws = [torch.rand((), generator=here.generator(purpose, i)) for i in self.indices]
        values = low + (high - low) * (torch.stack(draws) if draws else torch.empty(0))
        return values.to(self.device)

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """Normal deviates, float32, of shape ``(n, *shape)``."""
        result = torch.empty((len(self), *shape), device=self.device)
        for i, row in zip(self.indices, result, strict=True):
            row.normal_(generator=self.generator(purpose, i))
        return result

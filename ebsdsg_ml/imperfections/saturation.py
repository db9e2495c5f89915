"""A pixel holds so much and no more."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebsdsg_ml.imperfections.chance import Amount, Chance, check_amount


@dataclass(frozen=True)
class Saturation:
    """Cuts off what is above the full-well capacity.

    Parameters
    ----------
    capacity : in units of the mean signal: patterns with background reach 5 to
        10 in their brightest zone axes, so 4 cuts some of those.
    """

    capacity: Amount = 4.0

    def __post_init__(self) -> None:
        value = check_amount("saturation.capacity", self.capacity, 0.05, 1e6)
        object.__setattr__(self, "capacity", value)

    def __call__(self, patterns: Tensor, chance: Chance) -> Tensor:
        """(n, H, W) patterns, cut off."""
        capacity = chance.amounts("saturation.capacity", self.capacity)[:, None, None]
        return torch.minimum(patterns, capacity * patterns.mean(dim=(1, 2), keepdim=True))

"""Pixels of the camera that are bright whatever falls on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebsdsg_ml.imperfections.chance import Amount, Chance, ImperfectionError, check_amount


@dataclass(frozen=True)
class HotPixels:
    """Pixels with a signal of their own.

    Parameters
    ----------
    fraction : of all pixels.
    strength : largest signal, in units of the mean signal; each pixel has a part of it.
    fixed : whether they are the same pixels in all patterns of a seed, those of one camera; else
        every pattern has other ones.
    """

    fraction: Amount = 0.0
    strength: Amount = 3.0
    fixed: bool = True

    def __post_init__(self) -> None:
        for name, most in (("fraction", 1.0), ("strength", 1000.0)):
            value = check_amount(f"hot_pixels.{name}", getattr(self, name), 0, most)
            object.__setattr__(self, name, value)
        if not isinstance(self.fixed, bool):
            raise ImperfectionError(f"hot_pixels.fixed = {self.fixed!r}: must be true or false")

    def __call__(self, patterns: Tensor, chance: Chance) -> Tensor:
        """(n, H, W) patterns with hot pixels."""
        fraction = chance.amounts("hot_pixels.fraction", self.fraction)
        strength = chance.amounts("hot_pixels.strength", self.strength)
        mean = patterns.mean(dim=(1, 2))
        shape, result = patterns.shape[1:], patterns.clone()
        draws: tuple[Tensor, Tensor] | None = None
        for i, index in enumerate(chance.indices):
            if draws is None or not self.fixed:
                generator = chance.generator("hot_pixels", None if self.fixed else index)
                rank, size = (
                    torch.rand(shape, generator=generator, device=patterns.device) for _ in "ab"
                )
                draws = rank, size
            rank, size = draws
            result[i] += torch.where(rank < fraction[i], size * (strength[i] * mean[i]), 0)
        return result

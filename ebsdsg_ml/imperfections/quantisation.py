"""Whole grey levels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebsdsg_ml.imperfections.chance import ImperfectionError


@dataclass(frozen=True)
class Quantisation:
    """Grey levels of an image file.

    Parameters
    ----------
    bits : 1 to 8.
    clip : part of the pixels that may be cut off at each end of the range, so that single hot or
        dark pixels do not take the contrast of all others.
    """

    bits: int = 8
    clip: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.bits, bool) or self.bits not in range(1, 9):
            raise ImperfectionError(f"quantisation.bits = {self.bits!r}: must be 1 to 8")
        if not 0 <= self.clip < 0.5:
            raise ImperfectionError(f"quantisation.clip = {self.clip!r}: must be 0 to below 0.5")

    def __call__(self, patterns: Tensor) -> Tensor:
        """(n, H, W) uint8 patterns, 0 to 2^bits - 1; each from its own range."""
        flat = patterns.flatten(1)
        skip = int(self.clip * flat.shape[1])
        if skip:
            low = flat.kthvalue(skip + 1, dim=1).values
            high = flat.kthvalue(flat.shape[1] - skip, dim=1).values
        else:
            low, high = flat.amin(dim=1), flat.amax(dim=1)
        low, high = low[:, None, None], high[:, None, None]
        span = torch.where(high > low, high - low, 1)
        levels = (patterns - low) * ((2**self.bits - 1) / span)
        return levels.round_().clamp_(0, 2**self.bits - 1).to(torch.uint8)

"""The round screen: nothing is seen outside a circle."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebsdsg_ml.imperfections.chance import Amount, Chance, check_amount


@dataclass(frozen=True)
class CircularMask:
    """Pixels outside a circle around the middle become as dark as the darkest inside.

    Parameters
    ----------
    radius : in fractions of the shorter side; 0.5 touches two edges.
    """

    radius: Amount = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", check_amount("mask.radius", self.radius, 0.1, 0.8))

    def __call__(self, patterns: Tensor, chance: Chance) -> Tensor:
        """(n, H, W) masked patterns."""
        height, width = patterns.shape[1:]
        x = torch.arange(width, device=patterns.device) - (width - 1) / 2
        y = torch.arange(height, device=patterns.device) - (height - 1) / 2
        radius = chance.amounts("mask.radius", self.radius)[:, None, None] * min(height, width)
        inside = x**2 + y[:, None] ** 2 <= radius**2
        darkest = torch.where(inside, patterns, torch.inf).amin(dim=(1, 2), keepdim=True)
        return torch.where(inside, patterns, darkest)

"""What the camera adds and where it sees less: dark level, light, and shade towards the corners."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebsdsg_ml.imperfections.chance import Amount, Chance, check_amount


@dataclass(frozen=True)
class Response:
    """Dark and bright background of screen and camera.

    Parameters
    ----------
    vignetting : part of the light missing at a distance of half the width from the middle; it grows
        with the square of the distance, which is the first term of the cos^4 law.
    dark : dark level, in units of the mean signal.
    stray : light that does not come from the pattern, linear from none on the left to twice this at
        the right, in units of the mean signal.
    """

    vignetting: Amount = 0.0
    dark: Amount = 0.0
    stray: Amount = 0.0

    def __post_init__(self) -> None:
        for name, most in (("vignetting", 1.0), ("dark", 100.0), ("stray", 100.0)):
            value = check_amount(f"response.{name}", getattr(self, name), 0, most)
            object.__setattr__(self, name, value)

    def __call__(self, patterns: Tensor, chance: Chance) -> Tensor:
        """(n, H, W) patterns as the camera reads them."""
        height, width = patterns.shape[1:]
        x = (torch.arange(width, device=patterns.device) + 0.5) * (2 / width) - 1
        y = (torch.arange(height, device=patterns.device) + 0.5) * (2 / width) - height / width
        r2 = x**2 + y[:, None] ** 2
        vignetting, dark, stray = (
            chance.amounts(f"response.{name}", getattr(self, name))[:, None, None]
            for name in ("vignetting", "dark", "stray")
        )
        mean = patterns.mean(dim=(1, 2), keepdim=True)
        seen = patterns * (1 - vignetting * r2).clamp_min(0)
        return seen + mean * (dark + stray * (1 + x))

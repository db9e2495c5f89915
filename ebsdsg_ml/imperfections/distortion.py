"""Radial distortion of the camera's lens, after Brown and Conrady."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebsdsg_ml.imperfections.chance import Amount, Chance, check_amount


@dataclass(frozen=True)
class LensDistortion:
    """Moves image points radially from the middle of the image.

    Parameters
    ----------
    k1, k2 : coefficients; a point at radius r, in units of half the image's width, shows what
        belongs to r (1 + k1 r^2 + k2 r^4).  Positive k1 is barrel, negative pincushion distortion;
        one per cent is much for a camera lens.

    Notes
    -----
    D. C. Brown, *Photogrammetric Engineering* 32 (1966) 444, radial terms, from distorted to
    undistorted coordinates.  Points outside the image show its nearest edge.
    """

    k1: Amount = 0.0
    k2: Amount = 0.0

    def __post_init__(self) -> None:
        for name in ("k1", "k2"):
            value = check_amount(f"distortion.{name}", getattr(self, name), -0.3, 0.3)
            object.__setattr__(self, name, value)

    def __call__(self, patterns: Tensor, chance: Chance) -> Tensor:
        """(n, H, W) patterns as the lens shows them."""
        height, width = patterns.shape[1:]
        k1 = chance.amounts("distortion.k1", self.k1)[:, None, None]
        k2 = chance.amounts("distortion.k2", self.k2)[:, None, None]
        x = (torch.arange(width, device=patterns.device) + 0.5) * (2 / width) - 1
        y = ((torch.arange(height, device=patterns.device) + 0.5) * (2 / height) - 1)[:, None]
        r2 = x**2 + (y * height / width) ** 2
        factor = 1 + k1 * r2 + k2 * r2**2
        points = torch.stack((x * factor, y * factor), dim=-1)
        return torch.nn.functional.grid_sample(
            patterns[:, None], points, mode="bilinear", padding_mode="border", align_corners=False
        )[:, 0]

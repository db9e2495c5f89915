"""The point spread of phosphor, lens and camera."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebsdsg_ml.imperfections.chance import Amount, Chance, check_amount


@dataclass(frozen=True)
class Blur:
    """Gaussian point spread.

    Parameters
    ----------
    sigma : standard deviation, in fractions of the image's width: the same blur of the screen for
        every number of pixels.  0.002 is half a pixel of 229.

    Notes
    -----
    Electrons make light where they hit, and the light spreads: their noise is blurred with the
    pattern, which is why this comes after the counts.
    """

    sigma: Amount = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", check_amount("blur.sigma", self.sigma, 0, 0.1))

    def __call__(self, patterns: Tensor, chance: Chance) -> Tensor:
        """(n, H, W) blurred patterns; beyond an edge the image goes on as it ends."""
        n, _, width = patterns.shape
        sigma = chance.amounts("blur.sigma", self.sigma) * width
        if n == 0 or float(sigma.max()) < 1e-3:
            return patterns
        reach = max(1, int(3.5 * float(sigma.max()) + 0.5))
        at = torch.arange(-reach, reach + 1, device=patterns.device)
        kernel = torch.exp(-(at**2) / (2 * sigma.clamp_min(1e-3)[:, None] ** 2))
        kernel = kernel / kernel.sum(dim=1, keepdim=True)
        image = patterns[None]
        for shape, pad in (
            ((n, 1, 1, -1), (reach, reach, 0, 0)),
            ((n, 1, -1, 1), (0, 0, reach, reach)),
        ):
            padded = torch.nn.functional.pad(image, pad, mode="replicate")
            image = torch.nn.functional.conv2d(padded, kernel.reshape(shape), groups=n)
        return image[0]

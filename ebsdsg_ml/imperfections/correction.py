"""Background corrections, as acquisition software makes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ebsdsg_ml.imperfections.chance import ImperfectionError, check_amount
from ebsdsg_ml.transforms import gaussian_blur_matrix

Operation = Literal["subtract", "divide"]


def _check(name: str, operation: str) -> None:
    if operation not in ("subtract", "divide"):
        raise ImperfectionError(f"{name}.operation = {operation!r}: must be 'subtract' or 'divide'")


def _remove(patterns: Tensor, background: Tensor, operation: Operation) -> Tensor:
    if operation == "subtract":
        return patterns - background
    # A background without light would make a pixel infinite; such a pixel stays as it is.
    return patterns / background.where(background > 0, 1)


@dataclass(frozen=True)
class StaticCorrection:
    """Removes the mean image of very many grains, recorded through the same camera.

    Parameters
    ----------
    operation : "subtract" or "divide".

    Notes
    -----
    The background has the number of electrons in each pixel, vignetting, dark level, stray light
    and the camera's hot pixels, and no noise; before subtraction it gets the mean of the pattern.
    """

    operation: Operation = "divide"

    def __post_init__(self) -> None:
        _check("static", self.operation)

    def __call__(self, patterns: Tensor, background: Tensor) -> Tensor:
        """(n, H, W) patterns without the background of each, (n or 1, H, W)."""
        scale = patterns.mean(dim=(1, 2), keepdim=True)
        scale = scale / background.mean(dim=(1, 2), keepdim=True)
        return _remove(patterns, background * scale, self.operation)


@dataclass(frozen=True)
class DynamicCorrection:
    """Removes each pattern's own Gaussian blur.

    Parameters
    ----------
    operation : "subtract" or "divide".
    sigma : standard deviation of the blur, in fractions of the image's width; an eighth is
        kikuchipy's default.
    """

    operation: Operation = "subtract"
    sigma: float = 0.125

    def __post_init__(self) -> None:
        _check("dynamic", self.operation)
        check_amount("dynamic.sigma", self.sigma, 0.005, 2)

    def __call__(self, patterns: Tensor) -> Tensor:
        """(n, H, W) patterns without their blur."""
        height, width = patterns.shape[1:]
        down, across = (
            gaussian_blur_matrix(size, self.sigma * width).to(patterns.device)
            for size in (height, width)
        )
        return _remove(patterns, down @ patterns @ across.T, self.operation)

"""Image quality of a pattern after Krieger Lassen: how much of it is broad bands, not noise.

The Fourier spectrum of a sharp, noise-free pattern is concentrated at low frequencies; noise
spreads it.  The quality is one minus the spectrum's moment of inertia over that of white noise.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor


class QualityError(ValueError):
    """Patterns are not of a shape whose quality can be measured."""


@dataclass(frozen=True)
class QualityDefinition:
    """What an image quality is the quality of; values of different definitions do not compare.

    Parameters
    ----------
    size : pixels per side of the patterns that were measured.
    mask : radius of the circle that was measured, in fractions of the side; None for all pixels.
    formula : name of the measure.
    """

    size: int
    mask: float | None = None
    formula: str = "Krieger Lassen 1994, 1 - J/J_max over |F|, mean removed"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    def measure(self, patterns: Tensor, batch: int = 256) -> Tensor:
        """Quality of (n, size, size) patterns, (n,) float32, some at a time.

        Raises
        ------
        QualityError
            If the patterns have another size.
        """
        if patterns.ndim != 3 or patterns.shape[1:] != (self.size, self.size):
            raise QualityError(
                f"patterns of shape {tuple(patterns.shape)}, expected (n, {self.size}, {self.size})"
            )
        parts = [image_quality(part, mask=self.mask) for part in patterns.split(batch)]
        return torch.cat(parts) if parts else torch.empty(0)


def image_quality(patterns: Tensor, *, mask: float | None = None) -> Tensor:
    """Krieger Lassen's image quality of a batch of patterns.

    Parameters
    ----------
    patterns : (n, H, W), any real type; brightness and contrast do not matter.
    mask : radius of a circle around the middle, in fractions of the shorter side; pixels outside it
        are set to the mean inside.  None measures all pixels.

    Returns
    -------
    (n,) float32; 0 for white noise, towards 1 for broad structure, NaN for a blank pattern.

    Raises
    ------
    QualityError
        If the patterns are not (n, H, W) with at least 4 pixels per side, or the mask is not
        between 0.1 and 1.

    Notes
    -----
    N. C. Krieger Lassen, *Automated Determination of Crystal Orientations from Electron
    Backscattering Patterns*, PhD thesis, DTU (1994): Q = 1 - J / J_max with
    ``J = sum |F| (u^2 + v^2) / sum |F|`` over the discrete Fourier transform F of the pattern
    without its mean, frequencies u, v in cycles per image, and J_max = mean of u^2 + v^2.  The
    value depends on the number of pixels and on any mask: compare only equal ones.
    """
    if patterns.ndim != 3 or min(patterns.shape[1:]) < 4:
        raise QualityError(f"patterns of shape {tuple(patterns.shape)}, expected (n, H, W)")
    x = patterns.to(torch.float32)
    height, width = x.shape[1:]
    if mask is not None:
        if not 0.1 <= mask <= 1:
            raise QualityError(f"mask = {mask}: a radius between 0.1 and 1 of the shorter side")
        row = torch.arange(height, device=x.device) - (height - 1) / 2
        column = torch.arange(width, device=x.device) - (width - 1) / 2
        inside = row[:, None] ** 2 + column**2 <= (mask * min(height, width)) ** 2
        x = torch.where(inside, x, (x * inside).sum(dim=(1, 2), keepdim=True) / inside.sum())
    spectrum = torch.fft.fft2(x - x.mean(dim=(1, 2), keepdim=True)).abs()
    u = torch.fft.fftfreq(height, 1 / height, device=x.device)
    v = torch.fft.fftfreq(width, 1 / width, device=x.device)
    squares = u[:, None] ** 2 + v[None, :] ** 2
    total = spectrum.sum(dim=(1, 2))
    inertia = (spectrum * squares).sum(dim=(1, 2)) / total
    blank = x.amax(dim=(1, 2)) == x.amin(dim=(1, 2))
    return torch.where(blank, torch.nan, 1 - inertia / squares.mean())

"""Image quality of a pattern after Krieger Lassen: how much of it is broad bands, not noise.

The Fourier spectrum of a sharp, noise-free pattern is concentrated at low frequencies; noise
spreads it.  The quality is one minus the spectrum's moment of inertia over that of white noise.
"""

from __future__ import annotations

import torch
from torch import Tensor


class QualityError(ValueError):
    """Patterns are not of a shape whose quality can be measured."""


def image_quality(patterns: Tensor) -> Tensor:
    """Krieger Lassen's image quality of a batch of patterns.

    Parameters
    ----------
    patterns : (n, H, W), any real type; brightness and contrast do not matter.

    Returns
    -------
    (n,) float32; 0 for white noise, towards 1 for broad structure, NaN for a blank pattern.

    Raises
    ------
    QualityError
        If the patterns are not (n, H, W) with at least 4 pixels per side.

    Notes
    -----
    N. C. Krieger Lassen, *Automated Determination of Crystal Orientations from Electron
    Backscattering Patterns*, PhD thesis, DTU (1994): Q = 1 - J / J_max with
    J = sum |F| (u^2 + v^2) / sum |F| over the discrete Fourier transform F of the pattern without
    its mean, frequencies u, v in cycles per image, and J_max = mean of u^2 + v^2.  The value
    depends on the number of pixels and on any mask: compare only equal ones.
    """
    if patterns.ndim != 3 or min(patterns.shape[1:]) < 4:
        raise QualityError(f"patterns of shape {tuple(patterns.shape)}, expected (n, H, W)")
    x = patterns.to(torch.float32)
    height, width = x.shape[1:]
    spectrum = torch.fft.fft2(x - x.mean(dim=(1, 2), keepdim=True)).abs()
    u = torch.fft.fftfreq(height, 1 / height, device=x.device)
    v = torch.fft.fftfreq(width, 1 / width, device=x.device)
    squares = u[:, None] ** 2 + v[None, :] ** 2
    total = spectrum.sum(dim=(1, 2))
    inertia = (spectrum * squares).sum(dim=(1, 2)) / total
    blank = x.amax(dim=(1, 2)) == x.amin(dim=(1, 2))
    return torch.where(blank, torch.nan, 1 - inertia / squares.mean())

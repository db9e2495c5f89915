"""A picture of a master pattern: stereographic disc and Lambert square side by side."""

from __future__ import annotations

import os

import numpy as np

from ebsdsg_sim.atomic_file import new_file
from ebsdsg_sim.masterpattern import MasterPattern

#: Fraction of the pixels that may be clipped at either end of the grey scale.
CLIP = 0.002


def grey(image: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
    """Grey levels of an image, stretched between its darkest and brightest pixels.

    Parameters
    ----------
    image : (rows, columns) intensities.
    inside : (rows, columns) pixels to stretch by; the others become white.

    Returns
    -------
    (rows, columns) uint8.
    """
    values = image if inside is None else image[inside]
    low, high = np.quantile(values, [CLIP, 1 - CLIP])
    scaled = np.clip((image - low) / (high - low if high > low else 1), 0, 1)
    levels = np.round(255 * scaled).astype(np.uint8)
    if inside is not None:
        levels[~inside] = 255
    return levels


def master_pattern_png(
    master_pattern: MasterPattern,
    path: str | os.PathLike[str],
    *,
    energy_index: int = -1,
    size: int = 501,
) -> None:
    """Write a picture of one energy, summed over the sites.

    Parameters
    ----------
    master_pattern : what to draw.
    path : PNG file to write; replaced if it exists.
    energy_index : bin; -1 is the beam energy.
    size : pixels per side of each projection, odd.

    Raises
    ------
    MasterPatternError
        If the size is not odd and at least 3.

    Notes
    -----
    y points up.  One row of pictures per hemisphere, and one row only where both are equal.
    """
    from PIL import Image

    mp = master_pattern
    axis = np.linspace(-1, 1, size)
    disc = axis[:, None] ** 2 + axis[None, :] ** 2 <= 1
    hemispheres = ["north"] if np.array_equal(mp.north, mp.south) else ["north", "south"]
    rows = []
    for hemisphere in hemispheres:
        ball = mp.stereographic(energy_index, size, hemisphere)  # type: ignore[arg-type]
        square = mp.total(hemisphere)[energy_index]  # type: ignore[arg-type]
        map_ = Image.fromarray(grey(square)[::-1]).resize((size, size), Image.Resampling.BILINEAR)
        gap = np.full((size, 8), 255, dtype=np.uint8)
        rows.append(np.hstack((grey(ball, disc)[::-1], gap, np.asarray(map_))))
    with new_file(path) as temporary:
        Image.fromarray(np.vstack(rows)).save(temporary, format="PNG")

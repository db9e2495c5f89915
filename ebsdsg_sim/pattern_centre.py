"""The pattern centre in the conventions of the vendors, of EMsoft and of kikuchipy.

The pattern centre is the foot of the perpendicular from the illuminated point to the screen; the
third number says how far away that point is.  Images are seen from the detector towards the sample,
width W and height H in pixels of the pattern.

=============== ============================ ============================ ======================
convention      first                        second                       third
=============== ============================ ============================ ======================
``bruker``      from the left, of W          from the top, of H           distance, of H
``edax``        from the left, of W          from the bottom, of H        distance, of min(W, H)
``oxford``      from the left, of W          from the bottom, of W        distance, of W
``emsoft5``     from the middle to the left  from the middle to the top   distance [um]
``emsoft4``     from the middle to the right from the middle to the top   distance [um]
=============== ============================ ============================ ======================

EMsoft's first two are in pixels of the camera, before binning.  ``tsl`` and ``amatek`` are other
names of ``edax``, ``aztec`` of ``oxford``, ``kikuchipy`` of ``bruker``, ``emsoft`` of ``emsoft5``.

References: T. B. Britton et al., *Mater. Charact.* 117 (2016) 113; M. A. Jackson, E. Pascal and
M. De Graef, *Integr. Mater. Manuf. Innov.* 8 (2019) 226; the documentation of kikuchipy's
``EBSDDetector``, which has the same definitions.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

CONVENTIONS = ("bruker", "edax", "oxford", "emsoft5", "emsoft4")
ALIASES = {
    "kikuchipy": "bruker",
    "tsl": "edax",
    "amatek": "edax",
    "aztec": "oxford",
    "emsoft": "emsoft5",
}


class PatternCentreError(ValueError):
    """A pattern centre cannot be converted; the message says what is wrong or missing."""


def convert_pattern_centre(
    centre: ArrayLike,
    source: str,
    target: str,
    shape: tuple[int, int],
    *,
    pixel_size: float | None = None,
    binning: int = 1,
) -> np.ndarray:
    """Pattern centres of one convention in another.

    Parameters
    ----------
    centre : (..., 3) pattern centres as ``source`` gives them.
    source, target : conventions, see the table of this module.
    shape : (rows, columns) of the pattern.
    pixel_size : edge of a pixel of the pattern [um]; needed from or to EMsoft.
    binning : camera pixels along the edge of a pattern pixel; EMsoft counts in the former.

    Returns
    -------
    (..., 3) float64.

    Raises
    ------
    PatternCentreError
        If a convention is unknown, the numbers are not finite, the distance is not positive, or the
        pixel size is missing.
    """
    pc = np.asarray(centre, dtype=np.float64)
    if pc.ndim == 0 or pc.shape[-1] != 3 or not np.isfinite(pc).all():
        raise PatternCentreError(f"pattern centre {centre!r}: must be three finite numbers")
    if (pc[..., 2] <= 0).any():
        raise PatternCentreError(f"pattern centre {centre!r}: the distance must be positive")
    start, end = _named(source), _named(target)
    scale, sign, origin = _frame(start, shape, pixel_size, binning)
    to_scale, to_sign, to_origin = _frame(end, shape, pixel_size, binning)
    # Everything goes through pixels of the pattern, from the upper left corner.
    pixels = origin + sign * scale * pc
    return (pixels - to_origin) / (to_sign * to_scale)


def _named(convention: str) -> str:
    name = convention.lower() if isinstance(convention, str) else convention
    name = ALIASES.get(name, name)
    if name not in CONVENTIONS:
        known = ", ".join((*CONVENTIONS, *ALIASES))
        raise PatternCentreError(
            f"pattern-centre convention {convention!r}: must be one of {known}"
        )
    return name


def _frame(
    convention: str, shape: tuple[int, int], pixel_size: float | None, binning: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of the pattern per unit, signs, and origin [pixels from the upper left corner].

    Pixels of the pattern from the corner, and pixels of distance, are origin + sign * scale * pc.
    """
    rows, columns = (int(n) for n in shape)
    if rows < 1 or columns < 1:
        raise PatternCentreError(f"shape = {shape}: must be (rows, columns), both at least 1")
    if convention == "bruker":
        return np.array([columns, rows, rows]), np.array([1, 1, 1]), np.zeros(3)
    if convention in ("edax", "oxford"):
        fraction = (
            (columns, rows, min(rows, columns))
            if convention == "edax"
            else (columns, columns, columns)
        )
        return np.array(fraction), np.array([1, -1, 1]), np.array([0, rows, 0])
    if binning < 1 or binning != int(binning):
        raise PatternCentreError(f"binning = {binning}: must be a whole number of at least 1")
    if pixel_size is None or not (math.isfinite(pixel_size) and pixel_size > 0):
        raise PatternCentreError(
            f"pixel_size = {pixel_size}: EMsoft's distance is in um, so the size of a pixel is "
            "needed [um]"
        )
    side = -1 if convention == "emsoft5" else 1
    return (
        np.array([1 / binning, 1 / binning, 1 / pixel_size]),
        np.array([side, -1, 1]),
        np.array([columns / 2, rows / 2, 0]),
    )

"""Choosing the best patterns by image quality, as the paper chose what it adapted to."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ebsdsg_ml.experimental.scan import PatternFileError


def best_by_quality(quality: ArrayLike, n: int, groups: ArrayLike | None = None) -> np.ndarray:
    """Rows of the patterns of the highest quality.

    Parameters
    ----------
    quality : (m,) image quality; patterns whose quality is NaN are never chosen.
    n : how many, of each group if there are groups; fewer where there are fewer.
    groups : (m,) of any hashable type, such as phases; None chooses from the whole pool.

    Returns
    -------
    Rows, ascending.  Of equals the first is taken, so the choice does not depend on chance.

    Raises
    ------
    PatternFileError
        If lengths differ, n is below 1, or no pattern has a quality.
    """
    values = np.asarray(quality, dtype=np.float64)
    kind = np.zeros(len(values), dtype=np.int64) if groups is None else np.asarray(groups)
    if values.ndim != 1 or kind.shape != values.shape:
        raise PatternFileError(f"{values.shape} qualities for {kind.shape} groups")
    if n < 1:
        raise PatternFileError(f"n = {n}: at least one pattern must be chosen")
    order = np.argsort(-values, kind="stable")
    order = order[~np.isnan(values[order])]
    if not order.size:
        raise PatternFileError("no pattern has an image quality: all are blank")
    chosen = [order[kind[order] == one][:n] for one in np.unique(kind)]
    return np.sort(np.concatenate(chosen))

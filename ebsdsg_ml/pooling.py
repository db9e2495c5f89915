"""Several patterns of one grain made one answer.

If the patterns were independent looks at the phase, their probabilities would be multiplied.  They
are not: a network that misreads one pattern of a grain misreads its neighbours.  n patterns whose
log-probabilities err with a correlation r are worth n / (1 + (n - 1) r) independent ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ebsdsg_ml.temperature import CalibrationError, soft_max


def effective_number(n: int, dependence: float) -> float:
    """Number of independent patterns that n dependent ones are worth.

    Parameters
    ----------
    n : patterns.
    dependence : correlation r of their errors, 0 (independent) to 1 (all say the same).

    Notes
    -----
    Kish's design effect (L. Kish, *Survey Sampling*, 1965): n / (1 + (n - 1) r).

    Raises
    ------
    CalibrationError
        If there is no pattern or r is not between 0 and 1.
    """
    if n < 1 or not 0 <= dependence <= 1:
        raise CalibrationError(f"n = {n}, dependence = {dependence}: n >= 1, 0 to 1")
    return n / (1 + (n - 1) * dependence)


def pooled(log_probabilities: ArrayLike, dependence: float = 1.0) -> np.ndarray:
    """Probabilities of the one phase that several patterns show.

    Parameters
    ----------
    log_probabilities : (n, classes) of the patterns of one grain; all classes are taken as equally
        likely beforehand, as in the training.
    dependence : correlation of the patterns' errors.  1, the default, is the geometric mean: the
        answer is steadier than one pattern's but no surer.  0 is the product, which is right only
        for independent errors.

    Returns
    -------
    (classes,) float64; they sum to one.

    Raises
    ------
    CalibrationError
        If the answers are no (n, classes) finite numbers, or the dependence is out of range.
    """
    array = np.asarray(log_probabilities, dtype=float)
    if array.ndim != 2 or 0 in array.shape or not np.isfinite(array).all():
        raise CalibrationError(f"answers of a grain: shape {array.shape}, finite numbers expected")
    return soft_max(effective_number(len(array), dependence) * array.mean(axis=0))

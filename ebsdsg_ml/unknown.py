"""Scores of patterns that may show a phase of none of the model's groups.

A network must answer with one of its classes, whatever it is shown.  How strongly it answers tells
something of whether it should; how much is measured on phases of a group that was left out.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ebsdsg_ml.temperature import CalibrationError, soft_max

UnknownScore = Literal["energy", "max_logit", "max_probability"]


def unknown_score(logits: ArrayLike, score: UnknownScore = "energy") -> np.ndarray:
    """How little the outputs speak for any class; the larger, the stranger the pattern.

    Parameters
    ----------
    logits : (n, classes), not divided by a temperature.
    score : ``"energy"``: -log sum exp of the outputs (W. Liu et al., NeurIPS 2020,
        arXiv:2010.03759); ``"max_logit"``: minus the largest output (D. Hendrycks et al., ICML
        2022, arXiv:1911.11132); ``"max_probability"``: minus the largest probability (D. Hendrycks,
        K. Gimpel, ICLR 2017, arXiv:1610.02136).

    Returns
    -------
    (n,) float64.

    Raises
    ------
    CalibrationError
        If there is no such score.
    """
    array = np.asarray(logits, dtype=float)
    largest = array.max(axis=1)
    if score == "energy":
        return -(largest + np.log(np.exp(array - largest[:, None]).sum(axis=1)))
    if score == "max_logit":
        return -largest
    if score == "max_probability":
        return -soft_max(array).max(axis=1)
    raise CalibrationError(f"no score {score!r}: energy, max_logit or max_probability")


def auroc(known: ArrayLike, strange: ArrayLike) -> float:
    """Probability that a strange pattern scores higher than a known one; a tie counts half.

    Parameters
    ----------
    known, strange : (n,) and (m,) scores.

    Raises
    ------
    CalibrationError
        If one of them is empty.

    Notes
    -----
    The area under the ROC curve, by the ranks (H. B. Mann, D. R. Whitney, 1947).
    """
    from scipy.stats import rankdata

    a, b = np.asarray(known, dtype=float), np.asarray(strange, dtype=float)
    if not a.size or not b.size:
        raise CalibrationError("the area under the ROC curve needs known and strange patterns")
    ranks = rankdata(np.concatenate([a, b]))[len(a) :]
    return float((ranks.sum() - b.size * (b.size + 1) / 2) / (a.size * b.size))

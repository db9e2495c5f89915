"""Sets of groups that hold the true one as often as they say, for phases never seen.

Patterns of one phase are alike: a network that fails on a phase fails on all its patterns.  What is
exchangeable is the *phase*, so thresholds come from a weighted quantile in which every calibration
phase counts the same and the phase to come counts as one more, with the worst score there is
(hierarchical conformal prediction).  With K calibration phases a set of level 1 - a then holds the
true class with probability at least 1 - a, and at most 1 - a + 2/(K + 1) if no scores are equal:
over the draw of the calibration phases *and* of one pattern of a new phase of the same kind.  It is
no promise for a given phase (some are always missed, others never), for experimental patterns of
another detector, or for structures that the calibration phases do not stand for.

Y. Lee, R. F. Barber, R. Willett, *Distribution-free inference with hierarchical data*,
arXiv:2306.06342 (2023).
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ebsdsg_ml.temperature import CalibrationError, checked, phase_weights

Score = Literal["lac", "aps"]

WORST = 1.0
"""The largest value of either score; a set with this threshold holds every class."""

ROUNDING = 1e-12
"""By how much a sum of weights may miss a level: rounding must not cost a whole phase."""


def scores(probabilities: ArrayLike, score: Score = "lac") -> np.ndarray:
    """How badly each class fits each pattern.

    Parameters
    ----------
    probabilities : (n, classes).
    score : ``"lac"``: 1 - p, the sets are smallest on average and may be empty (M. Sadinle, J. Lei,
        L. Wasserman, *J. Am. Stat. Assoc.* 114 (2019) 223); ``"aps"``: sum of the probabilities
        down to and with the class's own, sets are larger where the network is unsure (Y. Romano,
        M. Sesia, E. Candès, NeurIPS 2020, arXiv:2006.02544; here without their randomisation).

    Returns
    -------
    (n, classes), 0 to 1, the smaller the better.

    Raises
    ------
    CalibrationError
        If there is no such score.
    """
    p = np.asarray(probabilities, dtype=float)
    if score == "lac":
        return 1 - p
    if score != "aps":
        raise CalibrationError(f"no conformal score {score!r}: lac or aps")
    order = np.argsort(-p, axis=1, kind="stable")
    summed = np.minimum(np.cumsum(np.take_along_axis(p, order, axis=1), axis=1), WORST)
    out = np.empty_like(p)
    np.put_along_axis(out, order, summed, axis=1)
    return out


def hierarchical_quantile(
    values: ArrayLike, phase: ArrayLike, level: float, worst: float = np.inf
) -> float:
    """Value that one pattern of a new phase stays below or at with a probability of `level`.

    Parameters
    ----------
    values : (n,) scores of calibration patterns.
    phase : (n,) their phases; K different ones.
    level : between 0 and 1.
    worst : returned where the phases are too few for the level, see :func:`phases_needed`.

    Notes
    -----
    The smallest value v for which the weights of all scores up to v reach `level`; a score has the
    weight 1 / ((K + 1) n_k), n_k patterns in its phase, and 1 / (K + 1) is left for the phase to
    come.  With one pattern per phase this is the usual ceil((K + 1) level)-th smallest score.

    Raises
    ------
    CalibrationError
        If there is no score, one is not a number, or the level is not between 0 and 1.
    """
    array, groups = np.asarray(values, dtype=float), np.asarray(phase)
    if array.ndim != 1 or not array.size or groups.shape != array.shape or np.isnan(array).any():
        raise CalibrationError("a quantile needs scores, all numbers, and a phase for each")
    if not 0 < level < 1:
        raise CalibrationError(f"level = {level}: between 0 and 1")
    k = len(np.unique(groups))
    order = np.argsort(array, kind="stable")
    reached = np.cumsum(phase_weights(groups)[order]) * k / (k + 1)
    first = int(np.searchsorted(reached, level - ROUNDING))
    return float(array[order][first]) if first < len(array) else worst


def phases_needed(level: float) -> int:
    """Smallest number of calibration phases from which a quantile of a level can be taken.

    Parameters
    ----------
    level : between 0 and 1: the coverage of sets, or 1 - risk.

    Notes
    -----
    K phases reach a weight of K/(K + 1), so level / (1 - level) of them are needed, which is
    1 / risk - 1: 9 for sets of 90 %, 19 for a risk of 5 %.

    Raises
    ------
    CalibrationError
        If the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise CalibrationError(f"level = {level}: between 0 and 1")
    return math.ceil((level - ROUNDING) / (1 - level + ROUNDING))


def threshold(
    probabilities: ArrayLike,
    truth: ArrayLike,
    phase: ArrayLike,
    coverage: float = 0.9,
    score: Score = "lac",
) -> float:
    """Score up to which a class belongs to the set.

    Parameters
    ----------
    probabilities : (n, classes) for patterns of phases that the network never saw.
    truth : (n,) class indices.
    phase : (n,) phase of every pattern.
    coverage : probability with which the sets shall hold the true class.
    score : see :func:`scores`.

    Raises
    ------
    CalibrationError
        If the arrays do not fit together or the coverage is not between 0 and 1.
    """
    array, labels, groups = checked(probabilities, truth, phase)
    own = scores(array, score)[np.arange(len(labels)), labels]
    return hierarchical_quantile(own, groups, coverage, WORST)


def prediction_sets(probabilities: ArrayLike, limit: float, score: Score = "lac") -> np.ndarray:
    """Which classes belong to the set of each pattern.

    Parameters
    ----------
    probabilities : (n, classes).
    limit : of :func:`threshold`.
    score : the same as there.

    Returns
    -------
    (n, classes) bool.
    """
    return scores(probabilities, score) <= limit


def coverage(sets: ArrayLike, truth: ArrayLike, phase: ArrayLike) -> dict[str, float]:
    """How often sets hold the true class, and how large they are; phases count alike.

    Parameters
    ----------
    sets : (n, classes) bool.
    truth : (n,) class indices.
    phase : (n,) phase of every pattern.

    Returns
    -------
    ``coverage``; ``standard_error`` of it over phases; ``per_pattern`` (patterns count alike);
    ``size`` (mean number of classes); ``single``, ``empty`` (shares of such sets);
    ``phases_below_half`` (share of phases of which less than half of the patterns are covered).

    Raises
    ------
    CalibrationError
        If the arrays do not fit together.
    """
    inside, labels, groups = checked(np.asarray(sets, dtype=float), truth, phase)
    hit = inside[np.arange(len(labels)), labels] > 0
    weight, size = phase_weights(groups), inside.sum(axis=1)
    _, where, counts = np.unique(groups, return_inverse=True, return_counts=True)
    by_phase = np.bincount(where, hit) / counts
    n = len(by_phase)
    return {
        "coverage": float(weight @ hit),
        "standard_error": float(by_phase.std(ddof=1) / n**0.5) if n > 1 else float("nan"),
        "per_pattern": float(hit.mean()),
        "size": float(weight @ size),
        "single": float(weight @ (size == 1)),
        "empty": float(weight @ (size == 0)),
        "phases_below_half": float((by_phase < 0.5).mean()),
    }


def set_sizes(sets: ArrayLike, truth: ArrayLike) -> list[dict[str, int]]:
    """How many sets there are of each size, and how many of them hold the true class.

    Parameters
    ----------
    sets : (n, classes) bool.
    truth : (n,) class indices.

    Returns
    -------
    One row per size from 0 to the number of classes: ``size``, ``n``, ``covered``; patterns count
    alike.

    Raises
    ------
    CalibrationError
        If the arrays do not fit together.
    """
    inside, labels, _ = checked(np.asarray(sets, dtype=float), truth)
    size, hit = inside.sum(axis=1), inside[np.arange(len(labels)), labels] > 0
    return [
        {"size": k, "n": int((size == k).sum()), "covered": int(hit[size == k].sum())}
        for k in range(inside.shape[1] + 1)
    ]


def answer_threshold(
    probabilities: ArrayLike, truth: ArrayLike, phase: ArrayLike, risk: float = 0.05
) -> float:
    """Certainty above which answers may be given so that few patterns get a wrong one.

    Parameters
    ----------
    probabilities : (n, classes) for patterns of phases that the network never saw.
    truth : (n,) class indices.
    phase : (n,) phase of every pattern.
    risk : largest probability that a pattern of a new phase is answered *and* the answer is wrong.

    Returns
    -------
    Probability of the most probable class that an answer must exceed; 1 (none is given) if the
    phases are too few for the risk (:func:`phases_needed` of 1 - risk).

    Notes
    -----
    The hierarchical quantile of the certainty of wrong answers (0 where the answer is right): the
    promise is that of the module, and of conformal risk control for this loss (A. N. Angelopoulos
    et al., ICLR 2024, arXiv:2208.02814).  The risk is of all patterns, not of those answered.

    Raises
    ------
    CalibrationError
        If the arrays do not fit together, or the risk is not between 0 and 1.
    """
    array, labels, groups = checked(probabilities, truth, phase)
    wrong = array.argmax(axis=1) != labels
    return hierarchical_quantile(array.max(axis=1) * wrong, groups, 1 - risk, 1.0)

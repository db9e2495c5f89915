"""How a calibration does on phases that it was not fitted on, and folds that judge each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ebsdsg_ml.calibration import Calibration, calibrate
from ebsdsg_ml.conformal import coverage
from ebsdsg_ml.temperature import CalibrationError, checked, log_loss, phase_weights, soft_max
from ebsdsg_ml.temperature import summary as reliability_summary


def judge(
    calibration: Calibration, logits: ArrayLike, truth: ArrayLike, phase: ArrayLike
) -> dict[str, Any]:
    """How a calibration does on phases that it was not fitted on.

    Parameters
    ----------
    calibration : fitted on other phases.
    logits : (n, classes).
    truth : (n,) class indices.
    phase : (n,) phase of every pattern.

    Returns
    -------
    Plain tables: ``before`` and ``after`` (each ``log_loss``, ``calibration_error``,
    ``reliability``, ``bins``), ``sets`` (see :func:`ebsdsg_ml.conformal.coverage`), ``answered``
    (share), ``answered_and_wrong`` (share), ``wrong_among_answered`` (share, patterns count alike;
    None if nothing is answered), ``wrong`` (share if all were answered), ``called_strange``
    (share).
    """
    array, labels, groups = checked(logits, truth, phase)
    return judgement(
        array,
        labels,
        groups,
        temperature=np.full(len(labels), calibration.temperature),
        sets=calibration.sets(calibration.probabilities(array)),
        given=~calibration.abstains(calibration.probabilities(array)),
        strange=calibration.is_strange(array),
    )


def judgement(
    logits: np.ndarray,
    truth: np.ndarray,
    phase: np.ndarray,
    *,
    temperature: np.ndarray,
    sets: np.ndarray,
    given: np.ndarray,
    strange: np.ndarray,
) -> dict[str, Any]:
    """Tables of :func:`judge` where each pattern may have a calibration of its own.

    Parameters
    ----------
    logits, truth, phase : as there.
    temperature : (n,) of each pattern.
    sets : (n, classes) bool.
    given, strange : (n,) bool: whether the pattern is answered, and called strange.
    """
    scaled = logits / temperature[:, None]
    p, wrong = soft_max(scaled), logits.argmax(axis=1) != truth
    return {
        "before": {
            "log_loss": log_loss(logits, truth, phase),
            **reliability_summary(soft_max(logits), truth),
        },
        "after": {"log_loss": log_loss(scaled, truth, phase), **reliability_summary(p, truth)},
        "sets": coverage(sets, truth, phase),
        "answered": float(phase_weights(phase) @ given),
        "answered_and_wrong": float(phase_weights(phase) @ (wrong & given)),
        "wrong_among_answered": float(wrong[given].mean()) if given.any() else None,
        "wrong": float(phase_weights(phase) @ wrong),
        "called_strange": float(phase_weights(phase) @ strange),
    }


def cross_calibrated(
    logits: ArrayLike,
    truth: ArrayLike,
    phase: ArrayLike,
    fold: ArrayLike,
    **settings: Any,
) -> tuple[dict[int, Calibration], dict[str, Any]]:
    """Calibrate every fold of a cross-validation by the other folds, and judge it.

    Parameters
    ----------
    logits : (n, classes), every pattern answered by the model that never saw its fold.
    truth : (n,) class indices.
    phase : (n,) phase of every pattern; no phase is in two folds.
    fold : (n,) fold of every pattern.
    settings : of :func:`ebsdsg_ml.calibration.calibrate`.

    Returns
    -------
    Calibrations by fold, and the tables of :func:`judge` over all patterns together.

    Raises
    ------
    CalibrationError
        If there are fewer than two folds, or a phase is in two of them.

    Notes
    -----
    No threshold sees an answer for the fold that it is used on.  The answers that it is fitted on
    are those of the *other* folds' models, which were trained on that fold, so phases are not
    strictly exchangeable (cross-conformal prediction, V. Vovk, *Ann. Math. Artif. Intell.* 74
    (2015) 9): the bound of one split becomes an approximation, which the coverage measured here
    tests.
    """
    array, labels, groups = checked(logits, truth, phase)
    folds = np.asarray(fold)
    if folds.shape != labels.shape or len(np.unique(folds)) < 2:
        raise CalibrationError("cross-calibration needs a fold for each pattern, two at least")
    for g in np.unique(groups):
        if len(np.unique(folds[groups == g])) > 1:
            raise CalibrationError(f"phase {g} is in two folds")
    found: dict[int, Calibration] = {}
    temperature = np.empty(len(labels))
    sets = np.empty(array.shape, dtype=bool)
    given, strange = np.empty(len(labels), dtype=bool), np.empty(len(labels), dtype=bool)
    for f in np.unique(folds):
        here, rest = folds == f, folds != f
        others = ", ".join(str(o) for o in np.unique(folds) if o != f)
        own = calibrate(
            array[rest],
            labels[rest],
            groups[rest],
            **{"fitted_on": f"held-out answers of folds {others}", **settings},
        )
        p = own.probabilities(array[here])
        found[int(f)] = own
        temperature[here], sets[here] = own.temperature, own.sets(p)
        given[here], strange[here] = ~own.abstains(p), own.is_strange(array[here])
    return found, judgement(
        array, labels, groups, temperature=temperature, sets=sets, given=given, strange=strange
    )

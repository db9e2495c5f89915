"""What a model knows of its own certainty: temperature, set threshold, limit of the strange.

All of it is fitted on phases that the model never saw, and stays with the model in its file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ebsdsg_ml.conformal import Score, answer_threshold, coverage, prediction_sets, threshold
from ebsdsg_ml.conformal import hierarchical_quantile as quantile
from ebsdsg_ml.temperature import (
    CalibrationError,
    checked,
    fit_temperature,
    log_loss,
    phase_weights,
    soft_max,
)
from ebsdsg_ml.temperature import summary as reliability_summary
from ebsdsg_ml.unknown import UnknownScore, unknown_score


@dataclass(frozen=True)
class Calibration:
    """Calibration of a model or an ensemble.

    Parameters
    ----------
    temperature : that outputs are divided by.
    coverage : probability with which a set holds the true class (see
        :mod:`ebsdsg_ml.conformal`); None in files that know no sets.
    set_threshold : score up to which a class is in the set.
    score : of the sets.
    risk : largest probability that a pattern is answered and the answer wrong.
    answer_threshold : probability that an answer must exceed to keep that risk; None for no limit.
    unknown_threshold : score above which a pattern is called strange; about `false_alarms` of the
        patterns of known groups are.
    unknown_score : which score.
    false_alarms : see there.
    n_phases, n_patterns : that it was fitted on.
    fitted_on : which phases those were, in words.
    """

    temperature: float = 1.0
    coverage: float | None = None
    set_threshold: float = 1.0
    score: Score = "lac"
    risk: float = 0.05
    answer_threshold: float | None = None
    unknown_threshold: float | None = None
    unknown_score: UnknownScore = "energy"
    false_alarms: float = 0.05
    n_phases: int = 0
    n_patterns: int = 0
    fitted_on: str = ""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise CalibrationError(f"temperature = {self.temperature}: above 0")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Inverse of :meth:`to_dict`; raises TypeError for an unknown entry."""
        return cls(**values)

    def probabilities(self, logits: ArrayLike) -> np.ndarray:
        """(n, classes) calibrated probabilities of (n, classes) outputs."""
        return soft_max(logits, self.temperature)

    def sets(self, probabilities: ArrayLike) -> np.ndarray:
        """(n, classes) bool: the classes in the set of each pattern.

        Raises
        ------
        CalibrationError
            If no set threshold was ever fitted.
        """
        if self.coverage is None:
            raise CalibrationError("this model has no conformal threshold: calibrate it again")
        return prediction_sets(probabilities, self.set_threshold, self.score)

    def is_strange(self, logits: ArrayLike) -> np.ndarray:
        """(n,) bool: whether each pattern looks like none of the model's groups."""
        if self.unknown_threshold is None:
            return np.zeros(len(np.asarray(logits)), dtype=bool)
        return unknown_score(logits, self.unknown_score) > self.unknown_threshold

    def abstains(self, probabilities: ArrayLike) -> np.ndarray:
        """(n,) bool: whether no single group can be answered.

        An answer is given if the set holds exactly one group and its probability exceeds
        `answer_threshold` where there is one.
        """
        p = np.asarray(probabilities, dtype=float)
        unsure = self.sets(p).sum(axis=1) != 1
        if self.answer_threshold is not None:
            unsure |= p.max(axis=1) <= self.answer_threshold
        return unsure


def calibrate(
    logits: ArrayLike,
    truth: ArrayLike,
    phase: ArrayLike,
    *,
    coverage: float = 0.9,
    score: Score = "lac",
    risk: float = 0.05,
    false_alarms: float = 0.05,
    fitted_on: str = "",
) -> Calibration:
    """Fit a calibration on patterns of phases that the model never saw.

    Parameters
    ----------
    logits : (n, classes).
    truth : (n,) class indices.
    phase : (n,) phase of every pattern.
    coverage, score, risk, false_alarms, fitted_on : see :class:`Calibration`.

    Raises
    ------
    CalibrationError
        If the arrays do not fit together or a level is not between 0 and 1.

    Notes
    -----
    The set threshold is taken at the fitted temperature, from the same patterns.  One number fitted
    on thousands of patterns moves no threshold visibly, but strictly the promise of
    :mod:`ebsdsg_ml.conformal` is for a temperature from elsewhere; coverage on other phases is
    therefore measured (``docs/validation/calibration.md``).
    """
    array, labels, groups = checked(logits, truth, phase)
    temperature = fit_temperature(array, labels, groups)
    p = soft_max(array, temperature)
    return Calibration(
        temperature=temperature,
        coverage=coverage,
        set_threshold=threshold(p, labels, groups, coverage, score),
        score=score,
        risk=risk,
        answer_threshold=answer_threshold(p, labels, groups, risk),
        # with too few phases for the level no finite limit keeps the share of false alarms
        unknown_threshold=_finite(quantile(unknown_score(array), groups, 1 - false_alarms)),
        false_alarms=false_alarms,
        n_phases=len(np.unique(groups)),
        n_patterns=len(labels),
        fitted_on=fitted_on,
    )


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


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


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
    settings : of :func:`calibrate`.

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

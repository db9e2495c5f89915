"""What a model knows of its own certainty: temperature, set threshold, limit of the strange.

All of it is fitted on phases that the model never saw, and stays with the model in its file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ebsdsg_ml.conformal import (
    WORST,
    Score,
    answer_threshold,
    phases_needed,
    prediction_sets,
    threshold,
)
from ebsdsg_ml.conformal import hierarchical_quantile as quantile
from ebsdsg_ml.temperature import CalibrationError, checked, fit_temperature, soft_max
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

    def limits(self) -> list[str]:
        """What this calibration can never say of a pattern, and why, one sentence each.

        Empty where sets, answers and strangers are all told, and for files that know no sets.
        """
        if self.coverage is None:
            return []
        limit = self.answer_threshold
        found = []
        for never, level, promise, consequence in (
            (
                self.set_threshold >= WORST,
                self.coverage,
                f"sets of {percent(self.coverage)}",
                "every set holds all groups",
            ),
            (
                limit is not None and limit >= 1,
                1 - self.risk,
                f"a risk of {percent(self.risk)}",
                "every pattern abstains",
            ),
            (
                self.unknown_threshold is None,
                1 - self.false_alarms,
                f"{percent(self.false_alarms)} of false alarms",
                "no pattern is called unknown",
            ),
        ):
            needed = phases_needed(level)
            if never and 0 < self.n_phases < needed:
                found.append(
                    f"{self.n_phases} phases are too few for {promise} ({needed} are needed): "
                    f"{consequence}"
                )
            elif never:
                found.append(f"no threshold keeps {promise}: {consequence}")
        return found


def check_levels(*, coverage: float = 0.9, risk: float = 0.05, false_alarms: float = 0.05) -> None:
    """Refuse levels that no calibration has, before anything is computed for it.

    Parameters
    ----------
    coverage, risk, false_alarms : see :class:`Calibration`.

    Raises
    ------
    CalibrationError
        If one is not between 0 and 1.
    """
    levels = {"coverage": coverage, "risk": risk, "false_alarms": false_alarms}
    for name, value in levels.items():
        if not 0 < value < 1:
            raise CalibrationError(f"{name} = {value}: a probability between 0 and 1 is needed")


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
    With too few phases for a level (:func:`ebsdsg_ml.conformal.phases_needed`) the calibration is
    fitted all the same, and :meth:`Calibration.limits` says what it cannot promise.

    The set threshold is taken at the fitted temperature, from the same patterns.  One number fitted
    on thousands of patterns moves no threshold visibly, but strictly the promise of
    :mod:`ebsdsg_ml.conformal` is for a temperature from elsewhere; coverage on other phases is
    therefore measured (``docs/validation/calibration.md``).
    """
    check_levels(coverage=coverage, risk=risk, false_alarms=false_alarms)
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


def percent(share: float) -> str:
    """A promise in percent as it was asked for: 99.5% is not rounded up to a certainty."""
    return f"{100 * share:g}%"


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None

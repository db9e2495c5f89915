"""How good a classifier's answers are: counts, not opinions.

Pure NumPy, from true and predicted classes to tables.  Intervals of one phase are Wilson's, which
stay inside 0 to 1 and are honest for few patterns and for accuracies near one; those of several
phases are over phases, because patterns of one phase are right or wrong together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


class MetricError(ValueError):
    """Answers and truth do not fit together; the message says how."""


@dataclass(frozen=True)
class Accuracy:
    """A share of right answers with its 95 % interval.

    Parameters
    ----------
    right, total : counts.
    low, high : limits of Wilson's 95 % interval.
    """

    right: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share; NaN when there was nothing to answer."""
        return self.right / self.total if self.total else math.nan

    def __str__(self) -> str:
        """Percent with interval, for tables."""
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%}, n = {self.total})"

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain JSON types; an undefined share is None."""
        return {
            "value": self.value if self.total else None,
            "low": self.low,
            "high": self.high,
            "right": self.right,
            "total": self.total,
        }


def accuracy(right: int, total: int, z: float = Z_95) -> Accuracy:
    """Share of right answers with Wilson's interval.

    Parameters
    ----------
    right, total : counts, 0 <= right <= total.
    z : quantile of the normal distribution.

    Raises
    ------
    MetricError
        If the counts are impossible.

    Notes
    -----
    E. B. Wilson, *J. Am. Stat. Assoc.* 22 (1927) 209.  The answers are taken as independent;
    patterns of one phase are not, so over few phases the true uncertainty is larger.
    """
    if not 0 <= right <= total:
        raise MetricError(f"{right} right answers of {total}")
    if total == 0:
        return Accuracy(0, 0, 0.0, 1.0)
    share, w = right / total, z * z / total
    centre = (share + w / 2) / (1 + w)
    half = z / (1 + w) * math.sqrt(share * (1 - share) / total + w / (4 * total))
    low = 0.0 if right == 0 else centre - half
    high = 1.0 if right == total else centre + half
    return Accuracy(int(right), int(total), max(0.0, low), min(1.0, high))


def confusion_matrix(truth: ArrayLike, predicted: ArrayLike, n_classes: int) -> np.ndarray:
    """Count answers by true and predicted class.

    Parameters
    ----------
    truth, predicted : (n,) class indices in 0 ... `n_classes` - 1.
    n_classes : number of classes.

    Returns
    -------
    (n_classes, n_classes) int64; rows are true classes, columns predicted ones.

    Raises
    ------
    MetricError
        If lengths differ or an index is out of range.
    """
    t, p = _indices(truth, n_classes, "truth"), _indices(predicted, n_classes, "predicted")
    if t.shape != p.shape:
        raise MetricError(f"{t.size} true and {p.size} predicted classes")
    return np.bincount(t * n_classes + p, minlength=n_classes**2).reshape(n_classes, n_classes)


def overall_accuracy(matrix: ArrayLike) -> Accuracy:
    """Accuracy over all answers of a confusion matrix."""
    counts = np.asarray(matrix)
    return accuracy(int(np.trace(counts)), int(counts.sum()))


def class_accuracies(matrix: ArrayLike, classes: Sequence[int]) -> list[dict[str, Any]]:
    """Accuracy of every true class, with the class it is most often taken for.

    Parameters
    ----------
    matrix : (n, n) counts of :func:`confusion_matrix`.
    classes : (n,) names of the classes (space-group numbers).

    Returns
    -------
    One row per class: class, accuracy (right, total, value, low, high), most_frequent, its share.
    """
    counts = np.asarray(matrix)
    if counts.shape != (len(classes), len(classes)):
        raise MetricError(f"confusion matrix {counts.shape} for {len(classes)} classes")
    rows = []
    for i, name in enumerate(classes):
        total = int(counts[i].sum())
        most = int(counts[i].argmax())
        rows.append(
            {
                "class": int(name),
                **accuracy(int(counts[i, i]), total).to_dict(),
                "most_frequent": int(classes[most]) if total else None,
                "most_frequent_share": float(counts[i, most] / total) if total else None,
            }
        )
    return rows


def phase_accuracies(
    phase: ArrayLike,
    truth: ArrayLike,
    predicted: ArrayLike,
    names: Sequence[str],
    classes: Sequence[int],
) -> list[dict[str, Any]]:
    """Accuracy of every phase, with its most frequent prediction.

    Parameters
    ----------
    phase : (n,) index of every pattern's phase in `names`.
    truth, predicted : (n,) class indices.
    names : names of the phases.
    classes : space-group numbers of the classes.

    Returns
    -------
    One row per phase that occurs: phase, class, accuracy (right, total, value, low, high),
    most_frequent, most_frequent_share.

    Raises
    ------
    MetricError
        If lengths differ, an index is out of range, or a phase has two true classes.
    """
    f = _indices(phase, len(names), "phase")
    t = _indices(truth, len(classes), "truth")
    p = _indices(predicted, len(classes), "predicted")
    if not f.shape == t.shape == p.shape:
        raise MetricError(f"{f.size} phases, {t.size} true and {p.size} predicted classes")
    rows = []
    for index in np.unique(f):
        here = f == index
        true = np.unique(t[here])
        if true.size != 1:
            raise MetricError(f"phase {names[index]} has {true.size} true classes")
        answers = np.bincount(p[here], minlength=len(classes))
        most = int(answers.argmax())
        rows.append(
            {
                "phase": names[index],
                "class": int(classes[true[0]]),
                **accuracy(int(answers[true[0]]), int(answers.sum())).to_dict(),
                "most_frequent": int(classes[most]),
                "most_frequent_share": float(answers[most] / answers.sum()),
            }
        )
    return rows


def phase_interval(rows: Iterable[Mapping[str, Any]]) -> tuple[float, float] | None:
    """95 % interval of the accuracy over all patterns, as other phases might have given it.

    Parameters
    ----------
    rows : of :func:`phase_accuracies`; class, right and total are used.

    Returns
    -------
    Lower and upper limit, see :func:`phase_bootstrap`; None where a class has one phase or none,
    because nothing is known then of how much its phases differ.
    """
    known = [row for row in rows if row["total"]]
    classes = [row["class"] for row in known]
    if not known or min(np.unique(classes, return_counts=True)[1]) < 2:
        return None
    return phase_bootstrap(
        [row["right"] for row in known], [row["total"] for row in known], classes
    )


def phase_bootstrap(
    right: ArrayLike,
    total: ArrayLike,
    classes: ArrayLike,
    *,
    balanced: bool = False,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % interval of an accuracy, the phases of every class drawn anew.

    Parameters
    ----------
    right, total : (n,) right answers and all answers for each phase; total > 0.
    classes : (n,) class of each phase.
    balanced : every class counts alike; else every pattern does.
    draws, seed : of the bootstrap.

    Returns
    -------
    Lower and upper limit.  A class with a single phase adds nothing to their distance.

    Raises
    ------
    MetricError
        If there is no phase, lengths differ, or counts are impossible.

    Notes
    -----
    Patterns of one phase succeed or fail together, so phases are what is drawn, not patterns: a
    cluster bootstrap, stratified by class, with percentile limits (B. Efron, R. Tibshirani, *An
    Introduction to the Bootstrap*, 1993).  With few phases its intervals are somewhat narrow: n
    phases of a class differ by a factor sqrt((n - 1) / n) less than those they were drawn from.
    """
    r, t, c = (np.asarray(values) for values in (right, total, classes))
    if not r.size or not r.shape == t.shape == c.shape or r.ndim != 1:
        raise MetricError(f"{r.size} right, {t.size} total and {c.size} classes of phases")
    if (t <= 0).any() or (r < 0).any() or (r > t).any():
        raise MetricError("a phase has no answers, or more right ones than answers")
    rng = np.random.default_rng(seed)
    found = np.zeros(draws)
    names = np.unique(c)
    for name in names:
        mine = np.flatnonzero(c == name)
        drawn = mine[rng.integers(mine.size, size=(draws, mine.size))]
        weight = 1 / names.size if balanced else t[mine].sum() / t.sum()
        found += weight * r[drawn].sum(axis=1) / t[drawn].sum(axis=1)
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def _indices(values: ArrayLike, n: int, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise MetricError(f"{name}: expected a list of integers, got {array.dtype} {array.shape}")
    if array.size and (array.min() < 0 or array.max() >= n):
        raise MetricError(f"{name}: indices {array.min()} to {array.max()}, allowed 0 to {n - 1}")
    return array.astype(np.int64)

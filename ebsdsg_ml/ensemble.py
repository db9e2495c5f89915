"""Several runs of one protocol, and what they say together.

The paper trains thirty networks that differ in nothing but the seed, reports the mean accuracy with
a 95 % interval, and lets them vote.  Some of its runs collapsed: they hardly ever answer with some
of the classes.  Such runs are found here by what they answer, without a label.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


class EnsembleError(ValueError):
    """The answers of several runs do not fit together; the message says how."""


@dataclass(frozen=True)
class Interval:
    """A mean over runs with its confidence interval.

    Parameters
    ----------
    mean : of the runs.
    half_width : half the interval's width; None for a single run, which says nothing of the spread.
    n : number of runs.
    level : of confidence.
    """

    mean: float
    half_width: float | None
    n: int
    level: float = 0.95

    @property
    def low(self) -> float | None:
        """Lower limit."""
        return None if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float | None:
        """Upper limit."""
        return None if self.half_width is None else self.mean + self.half_width

    def __str__(self) -> str:
        """As the paper writes it: ``0.71 ± 0.01``."""
        spread = "?" if self.half_width is None else f"{self.half_width:.2f}"
        return f"{self.mean:.2f} ± {spread}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**asdict(self), "low": self.low, "high": self.high}


def t_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean over runs with Student's interval.

    Parameters
    ----------
    values : (n,) one number per run, taken as independent.
    level : of confidence.

    Raises
    ------
    EnsembleError
        If there is no run, or a value is not a finite number.

    Notes
    -----
    Student, *Biometrika* 6 (1908) 1: half width t(n - 1) s / sqrt(n), with the standard deviation
    s of n - 1 degrees of freedom.
    """
    from scipy.stats import t

    numbers = np.asarray(values, dtype=float)
    if numbers.ndim != 1 or not numbers.size or not np.isfinite(numbers).all():
        raise EnsembleError(f"an interval needs finite numbers, one per run; got {values!r}")
    n, mean = numbers.size, float(numbers.mean())
    if n == 1:
        return Interval(mean, None, 1, level)
    quantile = float(t.ppf((1 + level) / 2, n - 1))
    return Interval(mean, quantile * float(numbers.std(ddof=1)) / n**0.5, n, level)


def averaged(probabilities: ArrayLike) -> np.ndarray:
    """Mean of the runs' probabilities.

    Parameters
    ----------
    probabilities : (runs, n, classes).

    Returns
    -------
    (n, classes); rows sum to one.
    """
    return _checked(probabilities).mean(axis=0)


def votes(probabilities: ArrayLike) -> np.ndarray:
    """Number of runs that answer with each class.

    Parameters
    ----------
    probabilities : (runs, n, classes).

    Returns
    -------
    (n, classes) counts; rows sum to the number of runs.
    """
    array = _checked(probabilities)
    return np.eye(array.shape[2], dtype=np.int64)[array.argmax(axis=2)].sum(axis=0)


def majority(probabilities: ArrayLike) -> np.ndarray:
    """Class with most votes; among equals the one of higher mean probability.

    Parameters
    ----------
    probabilities : (runs, n, classes).

    Returns
    -------
    (n,) class index.

    Notes
    -----
    The paper does not say how it breaks ties.
    """
    counts = votes(probabilities)
    return (counts + 0.5 * averaged(probabilities)).argmax(axis=1)


@dataclass(frozen=True)
class RunCheck:
    """How one run's answers are spread over the classes.

    Parameters
    ----------
    run : its position.
    histogram : (classes,) share of its answers by class.
    distance : total variation between this histogram and the pool's, 0 to 1.
    missing : classes of the pool that the run hardly ever answers with.
    collapsed : whether the run is to be left out.
    """

    run: int
    histogram: tuple[float, ...]
    distance: float
    missing: tuple[int, ...]
    collapsed: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            **asdict(self),
            "histogram": list(self.histogram),
            "missing": list(self.missing),
        }


def check_runs(
    probabilities: ArrayLike,
    *,
    pool: ArrayLike | None = None,
    farthest: float = 0.25,
    rare: float = 0.1,
    least_patterns: float = 10,
    least_share: float = 0.05,
) -> list[RunCheck]:
    """Find collapsed runs by the histogram of their answers.

    Parameters
    ----------
    probabilities : (runs, n, classes) answers for one pool.
    pool : (classes,) shares of the classes in the pool, where they are known or estimated
        otherwise; None takes the median over the runs, which holds while most of them are sound,
        or their mean where no class is answered by half of the runs.
    farthest : total variation from the pool above which a run has collapsed.
    rare : a class is missing if its share of the answers is below this share of its share in the
        pool; a run with a missing class has collapsed.
    least_patterns : a class of fewer patterns in the pool is not missed: chance can leave it out.
    least_share : nor is one of a smaller share where the shares are the runs' own: they may be
        nothing but errors, which a good run does not make.  Of many classes, half an even share is
        enough.

    Returns
    -------
    One row per run, in order.

    Raises
    ------
    EnsembleError
        If the shares do not fit the classes.

    Notes
    -----
    No label is looked at: patterns of a missing class cannot have been answered rightly.
    """
    array = _checked(probabilities)
    runs, n, classes = array.shape
    histograms = np.stack(
        [np.bincount(answers, minlength=classes) / n for answers in array.argmax(axis=2)]
    )
    shares = np.median(histograms, axis=0) if pool is None else np.asarray(pool, dtype=float)
    if pool is None and not shares.any():
        shares = histograms.mean(axis=0)
    if shares.shape != (classes,) or (shares < 0).any() or not shares.sum() > 0:
        raise EnsembleError(f"pool: expected {classes} shares that are not negative, got {pool!r}")
    shares = shares / shares.sum()
    counts = shares * n >= least_patterns
    if pool is None:
        counts &= shares >= min(least_share, 0.5 / classes)
    rows = []
    for run in range(runs):
        distance = float(np.abs(histograms[run] - shares).sum() / 2)
        missing = np.flatnonzero((histograms[run] < rare * shares) & counts)
        rows.append(
            RunCheck(
                run=run,
                histogram=tuple(float(share) for share in histograms[run]),
                distance=distance,
                missing=tuple(int(c) for c in missing),
                collapsed=distance > farthest or missing.size > 0,
            )
        )
    return rows


def summary(
    probabilities: ArrayLike, truth: ArrayLike | None = None, *, pool: ArrayLike | None = None
) -> dict[str, Any]:
    """What an ensemble is and, where the truth is known, how good.

    Parameters
    ----------
    probabilities : (runs, n, classes).
    truth : (n,) class indices, or None.
    pool : as in :func:`check_runs`.

    Returns
    -------
    ``runs``, ``checks``, ``collapsed`` (positions), ``kept`` (positions of the others; all if none
    is sound); with the truth also ``accuracies`` (one per run) and, for ``all`` runs and for the
    ``sound`` ones: ``interval``, ``majority`` and ``averaged`` (accuracies).
    """
    array = _checked(probabilities)
    checks = check_runs(array, pool=pool)
    collapsed = [check.run for check in checks if check.collapsed]
    sound = [check.run for check in checks if not check.collapsed]
    kept = sound or list(range(len(array)))
    out: dict[str, Any] = {
        "runs": len(array),
        "checks": [check.to_dict() for check in checks],
        "collapsed": collapsed,
        "kept": kept,
    }
    if truth is None:
        return out
    labels = np.asarray(truth)
    if labels.shape != array.shape[1:2]:
        raise EnsembleError(f"{array.shape[1]} answers per run, {labels.shape} true classes")
    accuracies = (array.argmax(axis=2) == labels).mean(axis=1)
    out["accuracies"] = [float(value) for value in accuracies]
    for name, chosen in (("all", list(range(len(array)))), ("sound", kept)):
        out[name] = {
            "interval": t_interval(accuracies[chosen]).to_dict(),
            "majority": float((majority(array[chosen]) == labels).mean()),
            "averaged": float((averaged(array[chosen]).argmax(axis=1) == labels).mean()),
        }
    return out


def _checked(probabilities: ArrayLike) -> np.ndarray:
    array = np.asarray(probabilities, dtype=float)
    if array.ndim != 3 or 0 in array.shape:
        raise EnsembleError(f"answers have shape {array.shape}, expected (runs, n, classes)")
    if not np.allclose(array.sum(axis=2), 1, atol=1e-4):
        raise EnsembleError("the probabilities of a pattern do not sum to one")
    return array

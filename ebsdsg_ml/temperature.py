"""Temperature scaling and what it is judged by: calibration error and reliability diagram.

A network's soft-max says 0.99 where it is right nine times of ten.  Dividing its outputs by one
number, fitted on phases that it never saw, mends most of that and changes no answer.  Phases, not
patterns, are what such a fit has many of: every phase counts the same here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

LOWEST, HIGHEST = 0.05, 20.0
"""Temperatures that are considered."""


class CalibrationError(ValueError):
    """Answers cannot be calibrated or judged; the message says why."""


def soft_max(logits: ArrayLike, temperature: float = 1.0) -> np.ndarray:
    """Probabilities of outputs divided by a temperature.

    Parameters
    ----------
    logits : (n, classes).
    temperature : above 1 makes answers less certain.

    Returns
    -------
    (n, classes) float64; rows sum to one.
    """
    scaled = np.asarray(logits, dtype=float) / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    powers = np.exp(scaled)
    return powers / powers.sum(axis=-1, keepdims=True)


def phase_weights(phase: ArrayLike) -> np.ndarray:
    """Weights with which every phase counts the same.

    Parameters
    ----------
    phase : (n,) phase of every pattern, any integers.

    Returns
    -------
    (n,) 1 / (phases x patterns of the phase); they sum to one.
    """
    _, where, counts = np.unique(np.asarray(phase), return_inverse=True, return_counts=True)
    return 1.0 / (len(counts) * counts[where])


def log_loss(
    logits: ArrayLike, truth: ArrayLike, phase: ArrayLike, temperature: float = 1.0
) -> float:
    """Mean over phases of the negative logarithm of the true class's probability [nat].

    Parameters
    ----------
    logits : (n, classes).
    truth : (n,) class indices.
    phase : (n,) phase of every pattern.
    temperature : that the outputs are divided by.
    """
    array, labels, groups = checked(logits, truth, phase)
    scaled = array / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    losses = np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(labels)), labels]
    return float(phase_weights(groups) @ losses)


def fit_temperature(logits: ArrayLike, truth: ArrayLike, phase: ArrayLike) -> float:
    """Temperature of least log loss on patterns of phases that the network never saw.

    Parameters
    ----------
    logits : (n, classes).
    truth : (n,) class indices.
    phase : (n,) phase of every pattern.

    Returns
    -------
    Temperature, between 0.05 and 20 (reached where all answers are right, or none is).

    Raises
    ------
    CalibrationError
        If the arrays do not fit together, or there is one phase only.

    Notes
    -----
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, *On Calibration of Modern Neural Networks*, ICML
    2017, arXiv:1706.04599; here with phases weighted alike.  The loss is convex in 1 / T.
    """
    from scipy.optimize import minimize_scalar

    array, labels, groups = checked(logits, truth, phase)
    if len(np.unique(groups)) < 2:
        raise CalibrationError("calibration needs patterns of at least two phases")
    found = minimize_scalar(
        lambda x: log_loss(array, labels, groups, float(np.exp(x))),
        bounds=(np.log(LOWEST), np.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.exp(found.x))


def reliability(
    probabilities: ArrayLike, truth: ArrayLike, bins: int = 15
) -> list[dict[str, float | int]]:
    """How often answers of a certainty are right: the data of a reliability diagram.

    Parameters
    ----------
    probabilities : (n, classes).
    truth : (n,) class indices.
    bins : of equal width between 0 and 1, closed above; patterns count alike.

    Returns
    -------
    One row per bin that is not empty: ``low``, ``high``, ``n``, ``confidence`` (mean probability of
    the answer) and ``accuracy``.

    Raises
    ------
    CalibrationError
        If the arrays do not fit together, or there is no bin.
    """
    array, labels, _ = checked(probabilities, truth)
    if bins < 1:
        raise CalibrationError(f"bins = {bins}: at least one")
    sure, right = array.max(axis=1), array.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, sure, side="left") - 1, 0, bins - 1)
    rows: list[dict[str, float | int]] = []
    for b in np.unique(place):
        here = place == b
        rows.append(
            {
                "low": float(edges[b]),
                "high": float(edges[b + 1]),
                "n": int(here.sum()),
                "confidence": float(sure[here].mean()),
                "accuracy": float(right[here].mean()),
            }
        )
    return rows


def calibration_error(probabilities: ArrayLike, truth: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error: mean gap between certainty and accuracy.

    Parameters
    ----------
    probabilities : (n, classes).
    truth : (n,) class indices.
    bins : of equal width; the value depends on their number, so state it.

    Notes
    -----
    M. P. Naeini, G. F. Cooper, M. Hauskrecht, AAAI 2015: sum over bins of
    ``n_b / n |accuracy_b - confidence_b|``, of the most probable class.
    """
    rows = reliability(probabilities, truth, bins)
    n = sum(row["n"] for row in rows)
    return float(sum(r["n"] * abs(r["accuracy"] - r["confidence"]) for r in rows) / n)


def checked(
    values: ArrayLike, truth: ArrayLike, phase: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrays of answers, true classes and phases, or a reason why they are none.

    Raises
    ------
    CalibrationError
        If there is no pattern, lengths differ, a class is out of range or an answer not finite.
    """
    array, labels = np.asarray(values, dtype=float), np.asarray(truth)
    groups = np.zeros(len(labels), int) if phase is None else np.asarray(phase)
    if array.ndim != 2 or 0 in array.shape:
        raise CalibrationError(f"answers of shape {array.shape}, expected (patterns, classes)")
    if labels.shape != array.shape[:1] or groups.shape != labels.shape:
        raise CalibrationError(
            f"{len(array)} answers, {labels.shape} true classes, {groups.shape} phases"
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= array.shape[1]:
        raise CalibrationError(f"true classes must be whole numbers 0 to {array.shape[1] - 1}")
    if not np.isfinite(array).all():
        raise CalibrationError("an answer is not a finite number")
    return array, labels, groups


def summary(probabilities: ArrayLike, truth: ArrayLike, bins: int = 15) -> dict[str, Any]:
    """Calibration error and reliability diagram as plain JSON types."""
    return {
        "bins": bins,
        "calibration_error": calibration_error(probabilities, truth, bins),
        "reliability": reliability(probabilities, truth, bins),
    }

"""Choosing a model or an epoch for unlabelled patterns, without their labels.

Each criterion is a number computed from what the network says of the target pool (or of held-out
*source* patterns).  None needs a target label; how much that costs against the oracle who knows
them is what :func:`regret_table` tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

HIGHER_IS_BETTER: Mapping[str, bool] = {
    "source_validation": True,
    "entropy": False,
    "mutual_information": True,
    "bnm": True,
    "agreement": True,
    "neighbourhood_density": True,
}
"""The criteria, and whether the larger value is the better one."""

LARGEST_POOL = 4000
"""Patterns above which :func:`neighbourhood_density` looks at an even selection of the pool."""


class SelectionError(ValueError):
    """A criterion cannot be computed or compared; the message says which and why."""


def entropy(probabilities: np.ndarray) -> float:
    """Mean entropy of the answers [nat]; low when the network is sure.

    Parameters
    ----------
    probabilities : (n, classes).

    Notes
    -----
    P. Morerio et al., *Minimal-Entropy Correlation Alignment*, ICLR 2018, arXiv:1711.10288.  A
    network that calls everything one class has entropy 0: the criterion rewards collapse.
    """
    p = np.clip(probabilities, 1e-12, 1)
    return float(-(p * np.log(p)).sum(axis=1).mean())


def mutual_information(probabilities: np.ndarray) -> float:
    """Entropy of the mean answer less the mean entropy of the answers [nat].

    Parameters
    ----------
    probabilities : (n, classes).

    Notes
    -----
    J. Bridle et al., NIPS 1991.  High when each answer is sure and all classes occur.
    """
    return entropy(probabilities.mean(axis=0, keepdims=True)) - entropy(probabilities)


def bnm(probabilities: np.ndarray) -> float:
    """Nuclear norm of the matrix of answers, as a share of its largest possible value.

    Parameters
    ----------
    probabilities : (n, classes).

    Notes
    -----
    S. Cui et al., *Batch Nuclear-norm Maximization*, CVPR 2020, arXiv:2003.12237: it measures
    certainty and diversity at once.  The bound is sqrt(n min(n, classes)).
    """
    n, classes = probabilities.shape
    return float(np.linalg.norm(probabilities, "nuc") / np.sqrt(n * min(n, classes)))


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Share of the patterns to which two opinions give the same class.

    Parameters
    ----------
    first, second : (n, classes) probabilities: of two heads, or of a pattern and its mirror image.
    """
    return float((first.argmax(axis=1) == second.argmax(axis=1)).mean())


def neighbourhood_density(probabilities: np.ndarray, temperature: float = 0.05) -> float:
    """Soft neighbourhood density: high when answers lie close together in groups [nat].

    Parameters
    ----------
    probabilities : (n, classes).
    temperature : of the similarities.

    Notes
    -----
    K. Saito et al., *Tune it the Right Way*, ICCV 2021, arXiv:2108.10860: entropy of the softmax of
    each answer's cosine similarities to all others, averaged.  Above :data:`LARGEST_POOL` patterns
    every k-th is taken.
    """
    p = probabilities[:: -(-len(probabilities) // LARGEST_POOL)]
    p = p / np.linalg.norm(p, axis=1, keepdims=True)
    similarity = p @ p.T / temperature
    np.fill_diagonal(similarity, -np.inf)
    similarity -= similarity.max(axis=1, keepdims=True)
    weight = np.exp(similarity)
    weight /= weight.sum(axis=1, keepdims=True)
    return float(-(weight * np.log(np.clip(weight, 1e-300, 1))).sum(axis=1).mean())


def unsupervised_criteria(
    probabilities: np.ndarray, opinions: tuple[np.ndarray, np.ndarray]
) -> dict[str, float]:
    """All criteria that need the target pool only.

    Parameters
    ----------
    probabilities : (n, classes) answers.
    opinions : the two whose agreement counts.
    """
    return {
        "entropy": entropy(probabilities),
        "mutual_information": mutual_information(probabilities),
        "bnm": bnm(probabilities),
        "agreement": agreement(*opinions),
        "neighbourhood_density": neighbourhood_density(probabilities),
    }


def is_better(criterion: str, value: float, than: float) -> bool:
    """Whether one value of a criterion is better than another."""
    return value > than if HIGHER_IS_BETTER[criterion] else value < than


def choose(candidates: Sequence[Mapping[str, Any]], criterion: str) -> int:
    """Position of the candidate that a criterion prefers; the first of equals.

    Parameters
    ----------
    candidates : rows with the criterion's value (epochs of a run, or finished runs).
    criterion : a key of :data:`HIGHER_IS_BETTER`, or ``"last"``.

    Raises
    ------
    SelectionError
        If there is no candidate, the criterion is unknown, or a candidate lacks it.
    """
    if not candidates:
        raise SelectionError("no candidate to choose from")
    if criterion == "last":
        return len(candidates) - 1
    if criterion not in HIGHER_IS_BETTER:
        known = ", ".join(("last", *HIGHER_IS_BETTER))
        raise SelectionError(f"no criterion {criterion!r}; there are {known}")
    lacking = [i for i, row in enumerate(candidates) if row.get(criterion) is None]
    if lacking:
        raise SelectionError(f"candidate {lacking[0]} has no value of {criterion}")
    best = 0
    for i, row in enumerate(candidates):
        if is_better(criterion, row[criterion], candidates[best][criterion]):
            best = i
    return best


def regret_table(
    choices: Sequence[Sequence[Mapping[str, Any]]], oracle: str
) -> list[dict[str, Any]]:
    """What choosing without labels costs against choosing with them.

    Parameters
    ----------
    choices : one entry per choice to be made; each is the list of candidates to choose from, rows
        with the criteria and the true accuracy.
    oracle : key of the true accuracy, which only this table looks at.

    Returns
    -------
    One row per criterion (and ``"last"``): ``criterion``; ``accuracy``, mean true accuracy of what
    it chose; ``regret``, mean loss against the best candidate; ``worst``, its largest loss;
    ``rank_correlation``, mean Spearman correlation with the true accuracy (None where undefined);
    ``n`` choices.  A criterion that a candidate lacks is left out.

    Raises
    ------
    SelectionError
        If there is no choice, or a candidate has no true accuracy.
    """
    if not choices:
        raise SelectionError("no choice to compare")
    table = []
    for criterion in ("last", *HIGHER_IS_BETTER):
        try:
            chosen = [rows[choose(rows, criterion)] for rows in choices]
        except SelectionError:
            if criterion == "last":
                raise
            continue
        losses = [
            max(_truth(r, oracle) for r in rows) - _truth(row, oracle)
            for rows, row in zip(choices, chosen, strict=True)
        ]
        table.append(
            {
                "criterion": criterion,
                "accuracy": float(np.mean([_truth(row, oracle) for row in chosen])),
                "regret": float(np.mean(losses)),
                "worst": float(np.max(losses)),
                "rank_correlation": _rank_correlation(choices, criterion, oracle),
                "n": len(choices),
            }
        )
    return table


def _truth(row: Mapping[str, Any], oracle: str) -> float:
    if row.get(oracle) is None:
        raise SelectionError(f"a candidate has no {oracle}: the table needs the true accuracy")
    return float(row[oracle])


def _rank_correlation(
    choices: Sequence[Sequence[Mapping[str, Any]]], criterion: str, oracle: str
) -> float | None:
    """Mean Spearman correlation of a criterion (better is higher) with the true accuracy."""
    from scipy.stats import rankdata

    if criterion == "last":
        return None
    sign = 1 if HIGHER_IS_BETTER[criterion] else -1
    found = []
    for rows in choices:
        ranks = [
            rankdata([sign * row[criterion] for row in rows]),
            rankdata([_truth(row, oracle) for row in rows]),
        ]
        if all(np.ptp(rank) > 0 for rank in ranks):
            found.append(float(np.corrcoef(*ranks)[0, 1]))
    return float(np.mean(found)) if found else None

"""How frequent the classes are in an unlabelled pool, and answers corrected for it.

Under label shift the patterns of a class look alike in source and target, but the classes' shares
differ.  The shares of the target that make the answers most likely are found by expectation
maximisation: M. Saerens, P. Latinne, C. Decaestecker, *Neural Computation* 14 (2002) 21.
"""

from __future__ import annotations

import numpy as np


def estimate_prior(
    probabilities: np.ndarray,
    source: np.ndarray,
    *,
    strength: float = 1.0,
    steps: int = 1000,
    tolerance: float = 1e-8,
) -> np.ndarray:
    """Most likely shares of the classes in a pool.

    Parameters
    ----------
    probabilities : (n, classes) answers of a classifier trained with the shares `source`.
    source : (classes,) shares of the classes in the training.
    strength : patterns of each class, added as if seen: keeps a share from becoming zero.
    steps, tolerance : of the iteration.

    Returns
    -------
    (classes,) shares, positive, summing to one.
    """
    n, classes = probabilities.shape
    prior = np.array(source, dtype=float)
    for _ in range(steps):
        weighted = probabilities * (prior / source)
        posterior = weighted / weighted.sum(axis=1, keepdims=True)
        new = (posterior.sum(axis=0) + strength) / (n + strength * classes)
        if np.abs(new - prior).max() < tolerance:
            return new
        prior = new
    return prior


def corrected(probabilities: np.ndarray, source: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Answers for a pool with other shares of the classes than the training had.

    Parameters
    ----------
    probabilities : (n, classes).
    source, prior : (classes,) shares in training and in the pool.

    Returns
    -------
    (n, classes); rows sum to one (Bayes' theorem).
    """
    weighted = probabilities * (prior / source)
    return weighted / weighted.sum(axis=1, keepdims=True)

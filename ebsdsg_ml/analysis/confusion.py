"""Confusion matrices of documents as tables, by counts or by shares of the true class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


class AnalysisError(ValueError):
    """Documents do not hold what a table needs; the message says what is missing."""


def joined_confusion(matrices: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum of confusion matrices, as of the folds of a cross-validation.

    Parameters
    ----------
    matrices : each with ``classes`` and ``counts`` (rows are true classes).

    Raises
    ------
    AnalysisError
        If there is none, or two are of different classes.
    """
    given = list(matrices)
    if not given:
        raise AnalysisError("no confusion matrix was given")
    classes = list(given[0]["classes"])
    for matrix in given:
        if list(matrix["classes"]) != classes:
            raise AnalysisError(f"confusion matrices of {classes} and of {matrix['classes']}")
    counts = np.sum([matrix["counts"] for matrix in given], axis=0)
    return {"classes": classes, "counts": counts.tolist()}


def confusion_table(matrix: Mapping[str, Any], *, normalised: bool = False) -> list[dict[str, Any]]:
    """Rows of a confusion matrix.

    Parameters
    ----------
    matrix : ``classes`` and ``counts``.
    normalised : shares of the true class instead of counts; None where it has no pattern.

    Returns
    -------
    One row per true class: ``true``, ``total``, and one column per answer, named by its number.
    """
    rows = []
    for true, counts in zip(matrix["classes"], matrix["counts"], strict=True):
        total = int(sum(counts))
        cells: list[Any] = [int(c) for c in counts]
        if normalised:
            cells = [c / total if total else None for c in cells]
        named = zip(map(str, matrix["classes"]), cells, strict=True)
        rows.append({"true": int(true), "total": total, **dict(named)})
    return rows

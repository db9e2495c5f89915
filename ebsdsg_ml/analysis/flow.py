"""Where wrong answers go: along the graph of subgroups, or elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ebsdsg_ml.analysis.confusion import AnalysisError
from ebsdsg_sim.subgroups import subgroup_graph


def confusion_flow(matrix: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every pair of true group and answer, with the step of the subgroup graph between them.

    Parameters
    ----------
    matrix : ``classes`` and ``counts`` (rows are true classes).

    Returns
    -------
    One row per pair: ``true``, ``predicted``, ``n``, ``share`` (of all wrong answers; 0 where the
    answer is right) and ``index``, the smallest of the steps by which one of the two is a maximal
    klassengleiche subgroup of the other, in either direction (None where there is no such step).

    Raises
    ------
    AnalysisError
        If the counts are not those of the classes.
    """
    classes, counts = list(matrix["classes"]), matrix["counts"]
    if len(counts) != len(classes) or any(len(line) != len(classes) for line in counts):
        raise AnalysisError(f"the counts are not those of the classes {classes}")
    index: dict[frozenset[int], int] = {}
    for step in subgroup_graph(tuple(classes)):
        pair = frozenset((step.supergroup, step.subgroup))
        index[pair] = min(step.index, index.get(pair, step.index))
    wrong = sum(n for i, line in enumerate(counts) for j, n in enumerate(line) if i != j)
    return [
        {
            "true": int(true),
            "predicted": int(predicted),
            "n": int(n),
            "share": n / wrong if wrong and true != predicted else 0.0,
            "index": index.get(frozenset((true, predicted))) if true != predicted else None,
        }
        for true, line in zip(classes, counts, strict=True)
        for predicted, n in zip(classes, line, strict=True)
    ]

"""What it costs to choose a run without labels, against choosing it by the truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ebsdsg_ml.selection import (
    bnm,
    entropy,
    mutual_information,
    neighbourhood_density,
    regret_table,
)

from .comparison import cell_name
from .numbers_said import percent

CRITERIA = {
    "entropy": entropy,
    "mutual_information": mutual_information,
    "bnm": bnm,
    "neighbourhood_density": neighbourhood_density,
}
"""Criteria that the answers alone give, for every method alike."""


def summary(
    cells: Iterable[Mapping[str, Any]], answers: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Choose one method for every severity and seed, by each criterion.

    Parameters
    ----------
    cells : of the comparison, imperfect start.
    answers : name of a cell -> (n, classes) probabilities.

    Returns
    -------
    ``rows`` of :func:`ebsdsg_ml.selection.regret_table`, ``oracle`` and ``random``: mean accuracy
    of the best candidate and of any.
    """
    choices: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for cell in cells:
        given = answers[cell_name(cell)].astype(float)
        values = {name: criterion(given) for name, criterion in CRITERIA.items()}
        row = {**values, "method": cell["method"], "accuracy": cell["per_phase"]}
        choices.setdefault((cell["severity"], cell["seed"]), []).append(row)
    tables = list(choices.values())
    accuracies = [[row["accuracy"] for row in rows] for rows in tables]
    return {
        "rows": [r for r in regret_table(tables, "accuracy") if r["criterion"] != "last"],
        "oracle": float(np.mean([max(values) for values in accuracies])),
        "random": float(np.mean([np.mean(values) for values in accuracies])),
        "candidates": sorted({len(values) for values in accuracies}),
        "n": len(tables),
    }


def part(found: Mapping[str, Any] | None) -> list[str]:
    """Section of the page."""
    if found is None:
        return []
    candidates = " or ".join(map(str, found["candidates"]))
    rows: Sequence[Mapping[str, Any]] = found["rows"]
    return [
        "### Choosing without labels",
        "",
        f"For every severity and seed one of the {candidates} methods (imperfect start) is chosen "
        f"by a criterion that sees the target's answers and no label: {found['n']} choices. "
        f"Choosing by the truth would give {percent(found['oracle'])} %, choosing blindly "
        f"{percent(found['random'])} %.",
        "",
        "| criterion | accuracy of its choice [%] | lost against the best [points] "
        "| worst loss [points] | rank correlation with the truth |",
        "|---|---|---|---|---|",
        *(
            f"| {r['criterion'].replace('_', ' ')} | {percent(r['accuracy'])} "
            f"| {percent(r['regret'])} | {percent(r['worst'])} "
            f"| {'–' if r['rank_correlation'] is None else format(r['rank_correlation'], '.2f')} |"
            for r in rows
        ),
        "",
    ]

"""Accuracy of every phase, and what the badly told ones are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ebsdsg_ml.analysis.confusion import AnalysisError
from ebsdsg_ml.composition import elements
from ebsdsg_sim.elements import atomic_number

LIGHT = 10
"""Atomic number below which the paper calls an element light."""


def phase_table(runs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every phase of some training runs, worst first (the paper's SI Fig. 8).

    Parameters
    ----------
    runs : training-run documents with ``per_phase``: folds of a cross-validation, or runs that
        differ in their seed (the accuracy is then over all their answers).

    Returns
    -------
    One row per phase with patterns: ``material_id``, ``formula``, ``label``, ``n``, ``accuracy``,
    and ``most_frequent``, of the runs' most frequent answers the one with most patterns.

    Raises
    ------
    AnalysisError
        If no run has phases, or two give a phase different labels.
    """
    found: dict[str, dict[str, Any]] = {}
    answers: dict[str, Counter[int]] = {}
    for run in runs:
        for phase in run.get("per_phase", ()):
            if not phase["n"]:
                continue
            key = phase["material_id"]
            row = found.setdefault(
                key,
                {
                    "material_id": key,
                    "formula": phase["formula"],
                    "label": phase["label"],
                    "n": 0,
                    "right": 0.0,
                },
            )
            if row["label"] != phase["label"]:
                raise AnalysisError(f"{key} has the labels {row['label']} and {phase['label']}")
            row["n"] += phase["n"]
            row["right"] += phase["n"] * phase["accuracy"]
            if phase["most_frequent"] is not None:
                answers.setdefault(key, Counter())[phase["most_frequent"]] += phase["n"]
    if not found:
        raise AnalysisError("no run has accuracies of phases: evaluate it first")
    table = []
    for key, row in found.items():
        right = row.pop("right")
        most = answers.get(key)
        table.append(
            {
                **row,
                "accuracy": right / row["n"],
                "most_frequent": most.most_common(1)[0][0] if most else None,
            }
        )
    return sorted(table, key=lambda row: (row["accuracy"], row["formula"], row["material_id"]))


def light_elements(formula: str, lighter_than: int = LIGHT) -> list[str]:
    """Elements of a formula below an atomic number, lightest first."""
    numbers = {symbol: atomic_number(symbol) for symbol in elements(formula)}
    return sorted((s for s, z in numbers.items() if z < lighter_than), key=numbers.__getitem__)


def weak_phases(
    phases: Iterable[Mapping[str, Any]], *, below: float = 0.5, lighter_than: int = LIGHT
) -> list[dict[str, Any]]:
    """Phases told badly, with their light elements.

    Parameters
    ----------
    phases : rows of :func:`phase_table`.
    below : accuracy under which a phase is listed.
    lighter_than : atomic number under which an element is light.

    Returns
    -------
    The rows, in their order, with ``light`` (symbols, lightest first) added.
    """
    return [
        {**row, "light": light_elements(row["formula"], lighter_than)}
        for row in phases
        if row["accuracy"] < below
    ]


def light_element_statistics(
    phases: Iterable[Mapping[str, Any]], *, below: float = 0.5, lighter_than: int = LIGHT
) -> list[dict[str, Any]]:
    """Whether light elements are what makes phases hard (the paper: 80 of 95 weak ones have one).

    Parameters
    ----------
    phases, below, lighter_than : as in :func:`weak_phases`.

    Returns
    -------
    Two rows, ``light`` true and false: ``phases``, ``weak``, ``weak_share`` (None of no phase) and
    ``accuracy`` (mean over phases); then one row per light element (``element``).
    """
    rows = [(row, light_elements(row["formula"], lighter_than)) for row in phases]
    table = [
        {"element": None, "light": light, **_share([r for r, s in rows if bool(s) == light], below)}
        for light in (True, False)
    ]
    present = sorted({symbol for _, s in rows for symbol in s}, key=atomic_number)
    for symbol in present:
        chosen = [row for row, symbols in rows if symbol in symbols]
        table.append({"element": symbol, "light": True, **_share(chosen, below)})
    return table


def _share(rows: list[Mapping[str, Any]], below: float) -> dict[str, Any]:
    weak = sum(row["accuracy"] < below for row in rows)
    return {
        "phases": len(rows),
        "weak": weak,
        "weak_share": weak / len(rows) if rows else None,
        "accuracy": sum(row["accuracy"] for row in rows) / len(rows) if rows else None,
    }

"""Accuracy by prototype: ΔZ and mean Z of two-element types, and the share of one type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ebsdsg_ml.analysis.confusion import AnalysisError
from ebsdsg_ml.exclusion import prototype_label
from ebsdsg_sim.elements import atomic_number


def of_prototype(
    phases: Iterable[Mapping[str, Any]],
    structures: Iterable[Mapping[str, Any]],
    prototype: str,
) -> list[dict[str, Any]]:
    """Phases of one prototype, each with its structure's document under ``structure``.

    Parameters
    ----------
    phases : rows of :func:`ebsdsg_ml.analysis.phases.phase_table`.
    structures : documents with ``material_id``, ``prototype`` and ``composition``.
    prototype : label, or a common name such as ``"rock salt"``
        (:data:`ebsdsg_ml.exclusion.PROTOTYPES`).

    Raises
    ------
    AnalysisError
        If a phase has no structure document.
    ebsdsg_ml.exclusion.ExclusionError
        If there is no such prototype.
    """
    label = prototype_label(prototype)
    known = {structure["material_id"]: structure for structure in structures}
    chosen = []
    for row in phases:
        if row["material_id"] not in known:
            raise AnalysisError(f"no structure document of {row['material_id']}")
        structure = known[row["material_id"]]
        if structure["prototype"] == label:
            chosen.append({**row, "structure": structure})
    return chosen


def element_differences(
    phases: Iterable[Mapping[str, Any]],
    structures: Iterable[Mapping[str, Any]],
    prototype: str,
) -> list[dict[str, Any]]:
    """ΔZ and mean Z of the phases of a two-element type (the paper's Fig. 2b, c).

    Parameters
    ----------
    phases, structures, prototype : as in :func:`of_prototype`; the paper takes
        ``"caesium chloride"`` and ``"rock salt"``.

    Returns
    -------
    One row per phase: ``material_id``, ``formula``, ``difference`` (ΔZ of its two elements),
    ``mean`` (Z, mean over the atoms), ``label``, ``accuracy``, ``error`` (1 - accuracy),
    ``most_frequent``; smallest ΔZ first.

    Raises
    ------
    AnalysisError
        If a phase has no structure document, or not two elements.
    """
    table = []
    for row in of_prototype(phases, structures, prototype):
        amounts = row["structure"]["composition"]
        numbers = {symbol: atomic_number(symbol) for symbol in amounts}
        if len(numbers) != 2:
            raise AnalysisError(f"{row['formula']} has {len(numbers)} elements, ΔZ needs two")
        total = sum(amounts.values())
        table.append(
            {
                "material_id": row["material_id"],
                "formula": row["formula"],
                "difference": max(numbers.values()) - min(numbers.values()),
                "mean": sum(numbers[s] * n for s, n in amounts.items()) / total,
                "label": row["label"],
                "accuracy": row["accuracy"],
                "error": 1 - row["accuracy"],
                "most_frequent": row["most_frequent"],
            }
        )
    return sorted(table, key=lambda row: (row["difference"], row["mean"], row["material_id"]))


def prototype_share(
    phases: Iterable[Mapping[str, Any]],
    structures: Iterable[Mapping[str, Any]],
    prototype: str = "fluorite",
    *,
    below: float = 0.5,
) -> dict[str, Any]:
    """How many phases, and how many of the badly told ones, are of a type.

    Parameters
    ----------
    phases, structures, prototype : as in :func:`of_prototype`.
    below : accuracy under which a phase is told badly.

    Returns
    -------
    ``prototype``, ``phases``, ``share`` of all phases, ``accuracy`` (over its patterns; None of no
    phase), ``others`` (the same of all other phases), ``weak``, ``share_of_weak`` (None if no phase
    is told badly).
    """
    rows, documents = list(phases), list(structures)
    inside = of_prototype(rows, documents, prototype)
    keys = {row["material_id"] for row in inside}
    weak = [row for row in rows if row["accuracy"] < below]
    weak_inside = [row for row in weak if row["material_id"] in keys]
    return {
        "prototype": prototype_label(prototype),
        "phases": len(inside),
        "share": len(inside) / len(rows) if rows else None,
        "accuracy": _accuracy(inside),
        "others": _accuracy([row for row in rows if row["material_id"] not in keys]),
        "weak": len(weak_inside),
        "share_of_weak": len(weak_inside) / len(weak) if weak else None,
    }


def _accuracy(rows: Iterable[Mapping[str, Any]]) -> float | None:
    given = list(rows)
    n = sum(row["n"] for row in given)
    return sum(row["n"] * row["accuracy"] for row in given) / n if n else None

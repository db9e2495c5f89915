"""Figures of what an evaluation counted: confusion, flow of wrong answers, phases, elements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.figures.named import NamedFigure

if TYPE_CHECKING:
    from stores.collections import Stores

WORST = 40
"""Phases that a figure of all phases shows, the worst; more do not fit one picture."""

TYPES = ("caesium chloride", "rock salt")
"""Two-element types whose errors are drawn over their elements, as in the paper."""


def matrix_figures(matrix: Mapping[str, Any]) -> list[NamedFigure]:
    """Confusion matrix, and its wrong answers over the graph of subgroups.

    Parameters
    ----------
    matrix : ``classes`` and ``counts``; rows are true classes.
    """
    from ebsdsg_ml.analysis.confusion import confusion_table
    from ebsdsg_ml.analysis.flow import confusion_flow
    from ebsdsg_ml.figures import confusion_figure, subgroup_figure

    flow = confusion_flow(matrix)
    along = sum(row["share"] for row in flow if row["index"] is not None)
    return [
        NamedFigure(
            "confusion",
            "Confusion matrix",
            "Rows are the groups of the phases, columns the answers for patterns of phases that "
            "were not in the training.",
            confusion_figure(matrix["counts"], matrix["classes"]),
            confusion_table(matrix),
        ),
        NamedFigure(
            "subgroups",
            "Where wrong answers go",
            f"Of the wrong answers, {100 * along:.0f} % go from a group to one of its maximal "
            "klassengleiche subgroups or back; arrows are as wide as their share.",
            subgroup_figure(flow),
            [row for row in flow if row["true"] != row["predicted"] and row["n"]],
        ),
    ]


def phase_figures(
    stores: Stores, runs: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> list[NamedFigure]:
    """Accuracy of every phase, and of two-element types over their elements.

    Parameters
    ----------
    stores : open database.
    runs : documents of the runs that answered.
    rows : of an evaluation's ``by_phase``.
    """
    from ebsdsg_ml.analysis.phases import phase_table
    from ebsdsg_ml.analysis.prototypes import element_differences
    from ebsdsg_ml.figures import element_figure, phase_accuracy_figure

    worst = sorted(rows, key=lambda row: (row["value"], str(row["phase"])))[:WORST]
    which = "every phase" if len(worst) == len(rows) else f"the {WORST} worst of {len(rows)} phases"
    figures = [
        NamedFigure(
            "phases",
            f"Accuracy of {which}",
            "With Wilson's interval for independent patterns; beside wrong ones, what they are "
            "mostly taken for.",
            phase_accuracy_figure(worst),
            [
                {"phase": r["phase"], "formula": r.get("formula"), "group": r["class"],
                 "right": r["right"], "of": r["total"], "mostly": r["most_frequent"]}
                for r in worst
            ],
        )
    ]  # fmt: skip
    evaluated = [run for run in runs if run["per_phase"]]
    if not evaluated:
        return figures
    table = phase_table(evaluated)
    keys = [row["material_id"] for row in table]
    fields = {"_id": False, "material_id": True, "prototype": True, "composition": True}
    structures = list(stores.structures.find({"material_id": {"$in": keys}}, fields))
    known = {structure["material_id"] for structure in structures}
    for kind in TYPES:
        differences = element_differences(
            [row for row in table if row["material_id"] in known], structures, kind
        )
        if differences:
            figures.append(
                NamedFigure(
                    f"elements_{kind.replace(' ', '_')}",
                    f"Errors of the {kind} type by their elements",
                    "The less the atomic numbers differ, the more the pattern is that of the "
                    "disordered structure.",
                    element_figure(differences),
                    differences,
                )
            )
    return figures


def phase_rows(per_phase: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Phases of a run's document with Wilson's interval, as an evaluation gives them."""
    from ebsdsg_ml.metrics import accuracy

    return [
        {
            "phase": row["material_id"],
            "formula": row["formula"],
            "class": row["label"],
            "most_frequent": row["most_frequent"],
            **accuracy(round(row["n"] * row["accuracy"]), row["n"]).to_dict(),
        }
        for row in per_phase
    ]

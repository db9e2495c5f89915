"""Figures of training runs: their curves, and runs and methods side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ebsdsg_flows.figures.named import NamedFigure


def run_name(run: Mapping[str, Any]) -> str:
    """Short name of a run: labels, fold, method and the beginning of its key."""
    fold = "all folds" if run["fold"] is None else f"fold {run['fold']}"
    method = f", {run['adaptation']['method']}" if run.get("adaptation") else ""
    return f"{run['labels']}, {fold}{method} ({run['key'][:6]})"


def training_figures(runs: Sequence[Mapping[str, Any]]) -> list[NamedFigure]:
    """Training curves, and what of the runs can be put side by side.

    Parameters
    ----------
    runs : documents, in the order in which they are shown.
    """
    from ebsdsg_ml.analysis.runs import run_table
    from ebsdsg_ml.figures import method_figure, run_table_figure, training_figure
    from ebsdsg_ml.figures.training import any_held_out

    figures = []
    histories = {run_name(run): run["epochs"] for run in runs if run["epochs"]}
    if histories:
        text = "Loss and accuracy after every epoch, of the training"
        text += (
            " and of what was held out." if any_held_out(histories) else "; nothing was held out."
        )
        figures.append(NamedFigure("training", "Training", text, training_figure(histories)))
    same = _of_the_same_phases(runs)
    if len(same) > 1:
        table = run_table(same)
        text = f"{len(same)} runs that answered for the same phases; mean with its 95 % interval."
        figures.append(
            NamedFigure("runs", "Runs side by side", text, run_table_figure(table), tuple(table))
        )
    methods = _methods(runs)
    if methods:
        text = "Accuracy on the target of every method; its labels were used for nothing else."
        figures.append(
            NamedFigure(
                "methods",
                "Methods of adaptation",
                text,
                method_figure(methods, quantity="accuracy on the target [%]"),
            )
        )
    return figures


def _of_the_same_phases(runs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The most runs that share labels and phases."""
    sets: dict[Any, list[Mapping[str, Any]]] = {}
    for run in runs:
        if run["per_phase"]:
            phases = frozenset(row["material_id"] for row in run["per_phase"])
            sets.setdefault((run["labels"], phases), []).append(run)
    return max(sets.values(), key=len, default=[])


def _methods(runs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Accuracies of the adaptations on targets whose labels are known, by method and target."""
    from ebsdsg_ml.ensemble import t_interval

    values: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        adaptation = run.get("adaptation") or {}
        if adaptation.get("target_accuracy") is not None:
            place = adaptation["method"], f"target {adaptation['target'][:6]}"
            values.setdefault(place, []).append(adaptation["target_accuracy"])
    rows = []
    for (method, target), found in values.items():
        interval = t_interval(found)
        rows.append(
            {
                "method": method,
                "severity": target,
                "values": found,
                "interval": {"mean": interval.mean, "half_width": interval.half_width},
            }
        )
    return rows

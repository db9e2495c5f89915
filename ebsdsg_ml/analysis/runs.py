"""Runs side by side, as the paper's SI Fig. 10, and accuracy against image quality (Fig. 4b)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ebsdsg_ml.analysis.confusion import AnalysisError
from ebsdsg_ml.composition import CompositionError, proportions
from ebsdsg_ml.ensemble import t_interval
from ebsdsg_ml.metrics import accuracy


def run_table(
    runs: Iterable[Mapping[str, Any]], without: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Accuracy of every run on every phase, then the mean over runs with its 95 % interval.

    Parameters
    ----------
    runs : training-run documents with ``key`` and ``per_phase``, all of the same phases.
    without : formulas left out of the column ``accuracy`` (the paper: NiAl and Al), in any
        spelling: ``NiAl`` is ``AlNi``.

    Returns
    -------
    One row per run: ``run``, ``accuracy`` (phases count by their patterns), ``mean_of_phases``, and
    a column per phase, named by its formula (and identifier where two share it); then the rows
    ``mean`` and ``half_width`` (None for one run).

    Raises
    ------
    AnalysisError
        If there is no run, two are of different phases, no phase is one that is to be left out, or
        all are.
    """
    given = list(runs)
    if not given:
        raise AnalysisError("no run was given")
    phases = {p["material_id"]: p["formula"] for p in given[0].get("per_phase", ())}
    twice = {f for f in phases.values() if list(phases.values()).count(f) > 1}
    names = {key: f"{f} ({key})" if f in twice else f for key, f in phases.items()}
    atoms = {key: _atoms(formula) for key, formula in phases.items()}
    if absent := [name for name in without if _atoms(name) not in atoms.values()]:
        raise AnalysisError(
            f"to be left out: {', '.join(absent)}: no phase of the runs is this; they are of "
            + ", ".join(sorted(set(phases.values())))
        )
    left_out = [_atoms(name) for name in without]
    counted = {key for key in phases if atoms[key] not in left_out}
    if not counted:
        raise AnalysisError("no phase is left to take the accuracy of")
    rows: list[dict[str, Any]] = []
    for run in given:
        own = {p["material_id"]: p for p in run.get("per_phase", ())}
        if set(own) != set(phases):
            raise AnalysisError(f"run {run['key']} is of other phases than {given[0]['key']}")
        n = np.array([own[key]["n"] for key in counted])
        values = np.array([own[key]["accuracy"] for key in counted])
        rows.append(
            {
                "run": run["key"],
                "accuracy": float(values @ n / n.sum()),
                "mean_of_phases": float(values.mean()),
                **{names[key]: own[key]["accuracy"] for key in phases},
            }
        )
    columns = [name for name in rows[0] if name != "run"]
    intervals = {name: t_interval([row[name] for row in rows]) for name in columns}
    mean = {"run": "mean", **{name: i.mean for name, i in intervals.items()}}
    half = {"run": "half_width", **{name: i.half_width for name, i in intervals.items()}}
    return [*rows, mean, half]


def _atoms(formula: str) -> object:
    """What is the same for all spellings of a formula; a name that is none is only itself."""
    try:
        return proportions(formula)
    except CompositionError:
        return formula


def accuracy_by_quality(
    answers: Iterable[Mapping[str, Any]], bins: int = 5
) -> list[dict[str, Any]]:
    """Accuracy in classes of image quality with equally many patterns each.

    Parameters
    ----------
    answers : with ``image_quality``, ``space_group`` (answer) and ``truth``; one definition of the
        quality for all.
    bins : number of classes; fewer where qualities are equal.

    Returns
    -------
    One row per class, worst quality first: ``low``, ``high`` (qualities in it), ``right``,
    ``total``, ``accuracy`` and Wilson's 95 % limits ``accuracy_low``, ``accuracy_high``.

    Raises
    ------
    AnalysisError
        If there is no answer, no class, or a quality is not a number.
    """
    rows = list(answers)
    quality = np.array([row["image_quality"] for row in rows], dtype=float)
    if not rows or bins < 1 or not np.isfinite(quality).all():
        raise AnalysisError(f"{len(rows)} answers in {bins} classes; qualities must be numbers")
    right = np.array([row["space_group"] == row["truth"] for row in rows])
    edges = np.unique(np.quantile(quality, np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, quality, side="left") - 1, 0, max(len(edges) - 2, 0))
    table = []
    for b in np.unique(place):
        here = place == b
        share = accuracy(int(right[here].sum()), int(here.sum()))
        table.append(
            {
                "low": float(quality[here].min()),
                "high": float(quality[here].max()),
                "right": share.right,
                "total": share.total,
                "accuracy": share.value,
                "accuracy_low": share.low,
                "accuracy_high": share.high,
            }
        )
    return table

"""Figures for the pages: plotly's JSON, drawn by the browser in the colours of the page.

The figures come with the light template; the page holds the dark one too, and figures.js puts in
the one that the reader's system asks for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from ebsdsg_flows.report import EPOCH_COLUMNS

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from stores.collections import Stores

PROTOTYPES = {"caesium chloride": "CsCl type", "rock salt": "NaCl type"}
"""Types of two elements whose errors are shown against their elements, as the paper does."""


def as_json(figure: Figure) -> Markup:
    """A figure as JSON that can stand in a ``script`` element."""
    return _safe(str(figure.to_json()))


def templates() -> Markup:
    """Both templates, ``light`` and ``dark``, as JSON that can stand in a ``script`` element."""
    from ebsdsg_ml.figures import template

    return _safe(json.dumps({"light": template(), "dark": template(dark=True)}))


def curves(runs: list[dict[str, Any]]) -> Markup | None:
    """Training curves of runs.

    Parameters
    ----------
    runs : documents of training runs.

    Returns
    -------
    ``None`` if none of them has finished an epoch.
    """
    from ebsdsg_ml.figures import training_figure

    histories = {
        run_name(run): [{name: row.get(name) for name in EPOCH_COLUMNS} for row in run["epochs"]]
        for run in runs
        if run["epochs"]
    }
    return as_json(training_figure(histories)) if histories else None


def workflow(stages: list[dict[str, Any]]) -> Markup:
    """The stages of a campaign.

    Parameters
    ----------
    stages : of :func:`ebsdsg_flows.stages.campaign_stages`.
    """
    from ebsdsg_ml.figures import workflow_figure

    return as_json(workflow_figure(stages))


def flow(matrix: dict[str, Any]) -> Markup | None:
    """Wrong answers over the graph of subgroups.

    Parameters
    ----------
    matrix : ``classes`` and ``counts``.

    Returns
    -------
    ``None`` if nothing was told wrong.
    """
    from ebsdsg_ml.analysis.flow import confusion_flow
    from ebsdsg_ml.figures import subgroup_figure

    rows = confusion_flow(matrix)
    wrong = any(row["n"] for row in rows if row["true"] != row["predicted"])
    return as_json(subgroup_figure(rows)) if wrong else None


def reliability(path: Path, run: dict[str, Any]) -> Markup | None:
    """Whether the probabilities of a run keep what they promise, before and after calibration.

    Parameters
    ----------
    path : its answers for the fold that it did not see, as
        :func:`ebsdsg_flows.evaluation.evaluate_folds` wrote them.
    run : its document; ``calibration.evaluation`` was fitted on the other folds.

    Returns
    -------
    ``None`` if the run has no such calibration.
    """
    from ebsdsg_ml.calibration import Calibration, judge
    from ebsdsg_ml.figures import reliability_figure

    known = run.get("calibration", {}).get("evaluation")
    if known is None:
        return None
    with np.load(path, allow_pickle=False) as answers:
        given = (answers["logits"], answers["truth"], answers["phase"])
    tables = judge(Calibration.from_dict(known), *given)
    curves = {when: tables[when]["reliability"] for when in ("before", "after")}
    return as_json(reliability_figure(curves))


def elements(stores: Stores, run: dict[str, Any]) -> list[tuple[str, Markup]]:
    """Errors against the elements of the phases, for every type of which the run has phases.

    Parameters
    ----------
    stores : open database.
    run : document of a training run.
    """
    from ebsdsg_ml.analysis.prototypes import element_differences
    from ebsdsg_ml.figures import element_figure

    by_id = {phase["material_id"]: phase for phase in run["per_phase"]}
    structures = list(
        stores.structures.find(
            {"key": {"$in": list(by_id)}},
            {"_id": False, "material_id": True, "prototype": True, "composition": True},
        )
    )
    phases = [by_id[structure["material_id"]] for structure in structures]
    found = []
    for prototype, name in PROTOTYPES.items():
        if rows := element_differences(phases, structures, prototype):
            found.append((name, as_json(element_figure(rows))))
    return found


def run_name(run: dict[str, Any]) -> str:
    """Short name of a run: labels, fold, method and the beginning of its key."""
    fold = "all folds" if run["fold"] is None else f"fold {run['fold']}"
    method = f", {run['adaptation']['method']}" if run.get("adaptation") else ""
    return f"{run['labels']}, {fold}{method} ({run['key'][:6]})"


def _safe(text: str) -> Markup:
    # "<" would end the element, or begin a comment in it
    return Markup(text.replace("<", "\\u003c"))

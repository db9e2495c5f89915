"""Figures for the pages: plotly's JSON, drawn by the browser in the colours of the page."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from ebsdsg_flows.report import EPOCH_COLUMNS


def curves(runs: list[dict[str, Any]]) -> Markup | None:
    """Training curves of runs as JSON that can stand in a ``script`` element.

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
    if not histories:
        return None
    # "<" would end the element, or begin a comment in it
    return Markup(str(training_figure(histories).to_json()).replace("<", "\\u003c"))


def run_name(run: dict[str, Any]) -> str:
    """Short name of a run: labels, fold, method and the beginning of its key."""
    fold = "all folds" if run["fold"] is None else f"fold {run['fold']}"
    method = f", {run['adaptation']['method']}" if run.get("adaptation") else ""
    return f"{run['labels']}, {fold}{method} ({run['key'][:6]})"

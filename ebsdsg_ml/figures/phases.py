"""Accuracy of every phase, of every run, and against the quality of the patterns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ebsdsg_ml.figures.theme import (
    SHARES,
    FigureError,
    class_name,
    colour,
    mark,
    share_bar,
    template,
)

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PATTERNS = ("", "/", "x", "\\", ".", "-", "+", "|")
"""Hatchings of bars, so that classes differ in more than their colour."""


SHORT = 14
"""Letters of a run's name up to which it stands at its column."""


def phase_accuracy_figure(rows: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """Accuracy of every phase with its 95 % interval, by class (the paper's SI Fig. 8).

    Parameters
    ----------
    rows : of :func:`ebsdsg_ml.metrics.phase_accuracies`; ``formula`` is used when it is there.
    title : above the picture.

    Raises
    ------
    FigureError
        If there is no phase.
    """
    import plotly.graph_objects as go

    if not rows:
        raise FigureError("accuracies of phases: there is no phase")
    ordered = sorted(rows, key=lambda r: (r["class"], r["value"]))
    classes = sorted({row["class"] for row in ordered})
    names = [_phase_name(row) for row in ordered]
    figure = go.Figure()
    for number, group in enumerate(classes):
        mine = [(n, r) for n, r in zip(names, ordered, strict=True) if r["class"] == group]
        figure.add_trace(
            go.Bar(
                y=[n for n, _ in mine],
                x=[100 * r["value"] for _, r in mine],
                orientation="h",
                name=class_name(group),
                marker={
                    "color": colour(number),
                    "opacity": 0.75,
                    "pattern": {"shape": PATTERNS[number % len(PATTERNS)], "fillmode": "overlay"},
                },
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [100 * (r["high"] - r["value"]) for _, r in mine],
                    "arrayminus": [100 * (r["value"] - r["low"]) for _, r in mine],
                    "color": "#808080",
                    "thickness": 1.5,
                },
                customdata=[
                    [r["right"], r["total"], class_name(r["most_frequent"])] for _, r in mine
                ],
                hovertemplate="%{y}: %{x:.1f} %, %{customdata[0]} of %{customdata[1]}, mostly "
                "taken for %{customdata[2]}<extra></extra>",
            )
        )
        for name, row in mine:
            if row["most_frequent"] != group:
                figure.add_annotation(
                    x=102,
                    y=name,
                    text=f"mostly {row['most_frequent']}",
                    showarrow=False,
                    xanchor="left",
                    font={"size": 11},
                )
    figure.layout.template = template()
    figure.update_layout(
        title=title,
        xaxis={
            "title": "accuracy, 95 % interval [%]",
            "range": [0, 130],
            "tickvals": [0, 25, 50, 75, 100],
        },
        yaxis={
            "title": "phase, by space group",
            "categoryorder": "array",
            "categoryarray": names[::-1],
            "tickfont": {"size": 11},
            "dtick": 1,
        },
        height=200 + 22 * len(ordered),
        margin={"b": 120},
    )
    return figure


def quality_figure(
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
    title: str = "",
    quality: str = "image quality, Krieger Lassen [1]",
) -> Figure:
    """Accuracy against image quality (the paper's Fig. 4b).

    Parameters
    ----------
    curves : name -> rows of :func:`ebsdsg_ml.analysis.runs.accuracy_by_quality`.
    title : above the picture.
    quality : name of the horizontal axis, with its unit.

    Returns
    -------
    A point per class of quality: horizontally the qualities in it, vertically Wilson's interval.

    Raises
    ------
    FigureError
        If there is no curve, or one has no row.
    """
    import plotly.graph_objects as go

    if not curves or not all(curves.values()):
        raise FigureError("accuracy against quality needs curves with at least one class each")
    figure = go.Figure()
    for number, (name, rows) in enumerate(curves.items()):
        middle = [(row["low"] + row["high"]) / 2 for row in rows]
        figure.add_trace(
            go.Scatter(
                x=middle,
                y=[100 * row["accuracy"] for row in rows],
                mode="lines+markers",
                line={"color": colour(number), "dash": "dot"},
                marker={"symbol": mark(number), "size": 10},
                error_x={
                    "array": [row["high"] - m for row, m in zip(rows, middle, strict=True)],
                    "thickness": 1,
                    "width": 0,
                },
                error_y={
                    "symmetric": False,
                    "array": [100 * (row["accuracy_high"] - row["accuracy"]) for row in rows],
                    "arrayminus": [100 * (row["accuracy"] - row["accuracy_low"]) for row in rows],
                    "thickness": 1.5,
                },
                text=[f"{row['right']} of {row['total']}" for row in rows],
                hovertemplate="%{x:.3f}: %{y:.1f} %, %{text}<extra></extra>",
                name=name,
                showlegend=len(curves) > 1,
            )
        )
    figure.layout.template = template()
    figure.update_layout(
        title=title,
        xaxis={"title": quality},
        yaxis={"title": "accuracy, 95 % interval [%]", "range": [0, 102]},
        height=420,
        margin={"b": 60 + (30 if len(curves) > 1 else 0)},
    )
    return figure


def run_table_figure(table: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """Runs side by side (the paper's SI Fig. 10): phases down, runs across, mean at the end.

    Parameters
    ----------
    table : rows of :func:`ebsdsg_ml.analysis.runs.run_table`.
    title : above the picture.

    Raises
    ------
    FigureError
        If there is no run.
    """
    import plotly.graph_objects as go

    by_run = {row["run"]: row for row in table}
    runs = [name for name in by_run if name not in ("mean", "half_width")]
    if not runs:
        raise FigureError("a table of runs needs at least one run")
    own = ("run", "accuracy", "mean_of_phases")
    phases = [name for name in table[0] if name not in own]
    shown = {"all patterns": "accuracy", "mean of phases": "mean_of_phases"}
    shown |= {name: name for name in sorted(phases, key=lambda n: by_run["mean"][n])}
    # keys of the database are too long to stand above each other
    short = [run if len(run) <= SHORT else f"run {i}" for i, run in enumerate(runs, 1)]
    across = [*short, "mean<br>± 95 %"]
    z = [[100 * by_run[run][column] for run in (*runs, "mean")] for column in shown.values()]
    halves = [by_run["half_width"][column] for column in shown.values()]
    text = [
        [
            *(f"{value:.0f}" for value in row[:-1]),
            f"{row[-1]:.0f}" + ("" if half is None else f"±{100 * half:.0f}"),
        ]
        for row, half in zip(z, halves, strict=True)
    ]
    figure = go.Figure(
        go.Heatmap(
            z=z,
            x=across,
            y=list(shown),
            text=text,
            texttemplate="%{text}",
            textfont={"size": 10},
            customdata=[[*runs, "mean over runs"]] * len(shown),
            hovertemplate="%{y}, %{customdata}: %{text} %<extra></extra>",
            colorscale=SHARES,
            zmin=0,
            zmax=100,
            xgap=1,
            ygap=1,
            colorbar=share_bar("accuracy [%]"),
        )
    )
    figure.layout.template = template()
    figure.update_layout(
        title=title,
        xaxis={"title": "run", "showgrid": False},
        yaxis={
            "title": "phase",
            "autorange": "reversed",
            "showgrid": False,
            "dtick": 1,
            "tickfont": {"size": 11},
        },
        height=220 + 22 * len(shown),
        margin={"b": 140},
    )
    return figure


def _phase_name(row: Mapping[str, Any]) -> str:
    return f"{row['formula']} ({row['phase']})" if row.get("formula") else str(row["phase"])

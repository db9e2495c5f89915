"""Whether probabilities and sets of groups keep what they promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ebsdsg_ml.figures.theme import FigureError, colour, mark, template

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def reliability_figure(
    curves: Mapping[str, Sequence[Mapping[str, Any]]], title: str = ""
) -> Figure:
    """Reliability diagram: share of right answers against their probability.

    Parameters
    ----------
    curves : name (such as ``"before"`` and ``"after"``) to rows of
        :func:`ebsdsg_ml.temperature.reliability`; the area of a mark is its share of the answers.
    title : above the picture.

    Raises
    ------
    FigureError
        If there is no curve, or one has no row.
    """
    import plotly.graph_objects as go

    if not curves or not all(curves.values()):
        raise FigureError("a reliability diagram needs curves with at least one bin each")
    figure = go.Figure(
        go.Scatter(
            x=[0, 100],
            y=[0, 100],
            mode="lines",
            line={"color": "#808080", "dash": "dot"},
            name="as certain as right",
        )
    )
    for i, (name, rows) in enumerate(curves.items()):
        n = np.array([row["n"] for row in rows], dtype=float)
        figure.add_trace(
            go.Scatter(
                x=[100 * row["confidence"] for row in rows],
                y=[100 * row["accuracy"] for row in rows],
                mode="lines+markers",
                line={"color": colour(i)},
                marker={
                    "size": (6 + 34 * np.sqrt(n / n.sum())).tolist(),
                    "symbol": mark(i),
                    "opacity": 0.8,
                },
                text=[f"{int(k)} answers" for k in n],
                hovertemplate="%{x:.1f} % certain, %{y:.1f} % right, %{text}<extra></extra>",
                name=name,
            )
        )
    figure.layout.template = template()
    figure.update_layout(
        title=title,
        xaxis={"title": "probability of the answer [%]", "range": [0, 101]},
        yaxis={"title": "share of right answers [%]", "range": [0, 101]},
        height=520,
        margin={"b": 100},
    )
    return figure


def set_size_figure(tables: Mapping[str, Sequence[Mapping[str, Any]]], title: str = "") -> Figure:
    """How many groups the sets of a calibrated model hold, and how often the true one is in.

    Parameters
    ----------
    tables : name -> rows of :func:`ebsdsg_ml.conformal.set_sizes`.
    title : above the picture.

    Raises
    ------
    FigureError
        If there is no table, or one has no row.
    """
    import plotly.graph_objects as go

    if not tables or not all(tables.values()):
        raise FigureError("sizes of sets need tables with at least one size each")
    figure = go.Figure()
    for i, (name, rows) in enumerate(tables.items()):
        total = sum(row["n"] for row in rows)
        prefix = f"{name}: " if len(tables) > 1 else ""
        for held, shape, text in ((True, "", "true group in"), (False, "x", "true group not in")):
            counts = [row["covered"] if held else row["n"] - row["covered"] for row in rows]
            figure.add_trace(
                go.Bar(
                    x=[row["size"] for row in rows],
                    y=[100 * n / total for n in counts],
                    marker={
                        "color": colour(2 * i + (0 if held else 1)),
                        "pattern": {"shape": shape, "fillmode": "overlay"},
                    },
                    customdata=counts,
                    hovertemplate="%{x} groups: %{customdata} sets, %{y:.1f} %<extra></extra>",
                    name=f"{prefix}{text}",
                    offsetgroup=str(i),
                )
            )
    figure.layout.template = template()
    figure.update_layout(
        title=title,
        barmode="stack",
        xaxis={"title": "space groups in the set [1]", "dtick": 1},
        yaxis={"title": "share of patterns [%]", "rangemode": "tozero"},
        height=420,
        margin={"b": 80 + 22 * len(tables)},
    )
    return figure

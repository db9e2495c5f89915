"""Wrong answers drawn over the graph of subgroups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ebsdsg_ml.figures.theme import CLEAR, FigureError, class_name, short_name, template

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ALONG, ACROSS = "#D55E00", "#56B4E9"
"""Colours of wrong answers along a step of the graph, and of all others."""

WIDEST = 11.0
"""Width of the arrow of the most frequent mistake [pixel]."""

TOLD = 0.02
"""Share of the wrong answers from which an arrow carries its number."""


def subgroup_figure(rows: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """Space groups, the steps between them, and arrows as wide as the share of wrong answers.

    Parameters
    ----------
    rows : of :func:`ebsdsg_ml.analysis.flow.confusion_flow`.
    title : above the picture.

    Returns
    -------
    Groups on a circle with the share of their patterns told right; dashed lines join a group and
    its maximal klassengleiche subgroup; an arrow leads from the true group to the answer.

    Raises
    ------
    FigureError
        If there is no row.
    """
    import plotly.graph_objects as go

    if not rows:
        raise FigureError("a flow of answers needs at least one pair of groups")
    groups = sorted({row["true"] for row in rows} | {row["predicted"] for row in rows})
    angle = {g: math.pi / 2 - 2 * math.pi * i / len(groups) for i, g in enumerate(groups)}
    at = {g: (math.cos(a), math.sin(a)) for g, a in angle.items()}
    wrong = [row for row in rows if row["true"] != row["predicted"]]
    total = sum(row["n"] for row in wrong)
    figure = go.Figure()
    _steps(figure, wrong, at)
    largest = max((row["share"] for row in wrong), default=0) or 1
    drawn = sorted((row for row in wrong if row["n"]), key=lambda r: r["share"])
    for row in drawn:
        _arrow(figure, row, at, WIDEST * row["share"] / largest)
    for row in drawn:
        _number(figure, row, at)
    own = {row["true"]: row for row in rows if row["true"] == row["predicted"]}
    seen = {g: sum(r["n"] for r in rows if r["true"] == g) for g in groups}
    right = {
        g: f"<br>{100 * own[g]['n'] / seen[g]:.0f} %" if g in own and seen[g] else ""
        for g in groups
    }
    figure.add_trace(
        go.Scatter(
            x=[at[g][0] for g in groups],
            y=[at[g][1] for g in groups],
            mode="markers+text",
            marker={"size": 62, "color": "#0072B2", "opacity": 1},
            text=[short_name(g) + right[g] for g in groups],
            textfont={"color": "#ffffff", "size": 11},
            customdata=[[class_name(g), own[g]["n"] if g in own else 0, seen[g]] for g in groups],
            hovertemplate="%{customdata[0]}: %{customdata[1]} of %{customdata[2]} right"
            "<extra></extra>",
            showlegend=False,
        )
    )
    for name, paint, along in (
        ("wrong answers along a step", ALONG, True),
        ("other wrong answers", ACROSS, False),
    ):
        n = sum(r["n"] for r in wrong if (r["index"] is not None) == along)
        share = f", {100 * n / total:.0f} % of {total}" if total else ""
        figure.add_trace(
            go.Scatter(
                x=[None],
                y=[None],
                mode="lines",
                line={"color": paint, "width": 6},
                name=name + share,
            )
        )
    hidden = {"visible": False, "range": [-1.25, 1.25]}
    figure.layout.template = template()
    figure.update_layout(title=title, xaxis=hidden, yaxis=hidden, height=560, margin={"b": 90})
    return figure


def _steps(figure: Figure, wrong: Sequence[Mapping[str, Any]], at: Mapping[int, Any]) -> None:
    """Dashed lines between a group and its maximal subgroup, one trace."""
    import plotly.graph_objects as go

    pairs = sorted(
        {tuple(sorted((r["true"], r["predicted"]))) for r in wrong if r["index"] is not None}
    )
    x: list[float | None] = []
    y: list[float | None] = []
    for a, b in pairs:
        x += [at[a][0], at[b][0], None]
        y += [at[a][1], at[b][1], None]
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="lines",
            line={"color": "#808080", "dash": "dash", "width": 2},
            hoverinfo="skip",
            name="maximal klassengleiche subgroup",
        )
    )


def _arrow(figure: Figure, row: Mapping[str, Any], at: Mapping[int, Any], width: float) -> None:
    """From the true group to the answer, beside the line between them."""
    x0, y0, x1, y1, dx, dy = _beside(row, at)
    figure.add_annotation(
        x=x1 + dx,
        y=y1 + dy,
        ax=x0 + dx,
        ay=y0 + dy,
        axref="x",
        ayref="y",
        text="",
        bgcolor=CLEAR,
        showarrow=True,
        arrowhead=2,
        arrowsize=0.7 if width > 6 else 1 if width > 3 else 1.6,
        arrowwidth=max(width, 0.8),
        arrowcolor=ALONG if row["index"] is not None else ACROSS,
        opacity=0.9,
        standoff=34,
        startstandoff=32,
    )


def _number(figure: Figure, row: Mapping[str, Any], at: Mapping[int, Any]) -> None:
    """Share of an arrow, written near its beginning."""
    if row["share"] < TOLD:
        return
    x0, y0, x1, y1, dx, dy = _beside(row, at)
    figure.add_annotation(
        x=x0 + 0.34 * (x1 - x0) + 1.6 * dx,
        y=y0 + 0.34 * (y1 - y0) + 1.6 * dy,
        text=f"{100 * row['share']:.0f} %",
        showarrow=False,
        borderpad=0,
        font={"size": 11},
    )


def _beside(row: Mapping[str, Any], at: Mapping[int, Any]) -> tuple[float, ...]:
    """Both ends of an arrow, and how far it lies to the left of the line between them."""
    (x0, y0), (x1, y1) = at[row["true"]], at[row["predicted"]]
    away = 0.055 / math.hypot(x1 - x0, y1 - y0)
    return x0, y0, x1, y1, -(y1 - y0) * away, (x1 - x0) * away

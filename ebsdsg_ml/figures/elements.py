"""Errors against the elements of a phase (the paper's Fig. 2b and c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ebsdsg_ml.figures.theme import SHARES, FigureError, class_name, share_bar, template

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

NAMED = 40
"""Phases up to which each is named beside its mark."""


def element_figure(rows: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """Misclassification of two-element phases over ΔZ and mean Z.

    Parameters
    ----------
    rows : of :func:`ebsdsg_ml.analysis.prototypes.element_differences`, for CsCl or NaCl types.
    title : above the picture.

    Returns
    -------
    A mark per phase, larger and brighter the more of its patterns are told wrong; a cross where it
    is more than half of them.

    Raises
    ------
    FigureError
        If there is no phase.
    """
    import plotly.graph_objects as go

    if not rows:
        raise FigureError("errors over ΔZ and mean Z: there is no phase of this type")
    highest = max(row["mean"] for row in rows)
    wrong = [100 * row["error"] for row in rows]
    figure = go.Figure(
        go.Scatter(
            x=[row["difference"] for row in rows],
            y=[row["mean"] for row in rows],
            mode="markers+text" if len(rows) <= NAMED else "markers",
            text=[row["formula"] for row in rows],
            textposition="top center",
            textfont={"size": 11},
            marker={
                "color": wrong,
                "colorscale": SHARES,
                "cmin": 0,
                "cmax": 100,
                "size": [8 + 14 * row["error"] for row in rows],
                "symbol": ["x" if row["error"] > 0.5 else "circle" for row in rows],
                "line": {"color": "#808080", "width": 1},
                "colorbar": share_bar("told wrong [%], × over half"),
            },
            customdata=[
                [
                    100 * row["error"],
                    class_name(row["label"]),
                    "nothing" if row["most_frequent"] is None else class_name(row["most_frequent"]),
                ]
                for row in rows
            ],
            hovertemplate="%{text}, %{customdata[1]}: ΔZ %{x}, mean Z %{y:.1f}, "
            "%{customdata[0]:.1f} % wrong, mostly taken for %{customdata[2]}<extra></extra>",
            showlegend=False,
        )
    )
    figure.layout.template = template()
    figure.update_layout(
        title=title,
        xaxis={"title": "ΔZ of the two elements [1]", "rangemode": "tozero"},
        yaxis={"title": "mean atomic number Z [1]", "range": [0, 1.12 * highest]},
        height=520,
        margin={"b": 140},
    )
    return figure

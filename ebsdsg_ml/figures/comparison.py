"""Methods beside each other, with what chance may have done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ebsdsg_ml.figures.theme import FigureError, colour, mark, template

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def method_figure(
    rows: Sequence[Mapping[str, Any]],
    title: str = "",
    quantity: str = "mean accuracy per phase [%]",
    chance: float | None = None,
) -> Figure:
    """Accuracy of methods at several severities: mean and interval large, seeds small.

    Parameters
    ----------
    rows : with ``method``, ``severity``, ``values`` (one per seed, 0 to 1) and ``interval``
        (``mean`` and ``half_width``, None for one seed; see :func:`ebsdsg_ml.ensemble.t_interval`).
    title : above the picture.
    quantity : name of the horizontal axis, with its unit.
    chance : what guessing reaches (0 to 1), a dotted line.

    Raises
    ------
    FigureError
        If there is no row, or two are of one method and severity.
    """
    import plotly.graph_objects as go

    if not rows:
        raise FigureError("a comparison of methods needs at least one row")
    methods = list(dict.fromkeys(row["method"] for row in rows))
    severities = list(dict.fromkeys(row["severity"] for row in rows))
    places = {(row["method"], row["severity"]): row for row in rows}
    if len(places) != len(rows):
        raise FigureError("a comparison of methods has two rows of one method and severity")
    step = 0.8 / len(methods)
    figure = go.Figure()
    for number, method in enumerate(methods):
        mine = [(s, places[method, s]) for s in severities if (method, s) in places]
        at = [severities.index(s) + (number - (len(methods) - 1) / 2) * step for s, _ in mine]
        seeds = [(y, 100 * v) for y, (_, row) in zip(at, mine, strict=True) for v in row["values"]]
        figure.add_trace(
            go.Scatter(
                x=[v for _, v in seeds],
                y=[y for y, _ in seeds],
                mode="markers",
                marker={"color": colour(number), "symbol": mark(number) + "-open", "size": 5},
                hovertemplate=f"{method}, one seed: %{{x:.1f}} %<extra></extra>",
                legendgroup=method,
                showlegend=False,
            )
        )
        figure.add_trace(
            go.Scatter(
                x=[100 * row["interval"]["mean"] for _, row in mine],
                y=at,
                mode="markers",
                marker={"color": colour(number), "symbol": mark(number), "size": 11},
                error_x={
                    "array": [100 * (row["interval"]["half_width"] or 0) for _, row in mine],
                    "thickness": 2,
                    "width": 4,
                },
                text=[f"{severity}, {len(row['values'])} seeds" for severity, row in mine],
                hovertemplate=f"{method}, %{{text}}: %{{x:.1f}} %<extra></extra>",
                name=method,
                legendgroup=method,
            )
        )
    if chance is not None:
        figure.add_vline(
            x=100 * chance,
            line={"dash": "dot", "width": 1},
            annotation={"text": "guessing", "font": {"size": 11}},
        )
    figure.layout.template = template()
    figure.update_layout(
        title=title,
        xaxis={"title": quantity, "range": [0, 101]},
        yaxis={
            "title": "severity",
            "tickmode": "array",
            "tickvals": list(range(len(severities))),
            "ticktext": severities,
            "range": [len(severities) - 0.5, -0.5],
            "showgrid": False,
        },
        height=170 + 22 * len(methods) * len(severities),
        margin={"b": 80 + 12 * len(methods)},
    )
    for boundary in range(1, len(severities)):
        figure.add_hline(y=boundary - 0.5, line={"width": 1})
    return figure

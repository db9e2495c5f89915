"""Confusion matrices (the paper's Fig. 2a)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ebsdsg_ml.figures.theme import SHARES, FigureError, class_name, share_bar, short_name, template

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def confusion_figure(matrix: ArrayLike, classes: Sequence[int], title: str = "") -> Figure:
    """Confusion matrix: colour is the share of the true class, text the share and the count.

    Parameters
    ----------
    matrix : (n, n) counts; rows are true classes.
    classes : (n,) space-group numbers.
    title : above the picture.

    Raises
    ------
    FigureError
        If the matrix is not one of these classes.
    """
    import plotly.graph_objects as go

    counts = np.asarray(matrix)
    if counts.shape != (len(classes), len(classes)):
        raise FigureError(f"confusion matrix {counts.shape} for {len(classes)} classes")
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(100 * counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    names = [class_name(c) for c in classes]
    text = [
        [f"{s:.0f} %<br>{n}" for s, n in zip(*row, strict=True)]
        for row in zip(share, counts, strict=True)
    ]
    figure = go.Figure(
        go.Heatmap(
            z=share.tolist(),
            x=names,
            y=names,
            text=text,
            texttemplate="%{text}",
            colorscale=SHARES,
            zmin=0,
            zmax=100,
            xgap=1,
            ygap=1,
            colorbar=share_bar("share of true class [%]"),
            hovertemplate="true %{y}<br>predicted %{x}<br>%{text}<extra></extra>",
        )
    )
    ticks = {"tickmode": "array", "tickvals": names, "ticktext": [short_name(c) for c in classes]}
    figure.layout.template = template()
    figure.update_layout(
        title=title,
        xaxis={"title": "predicted space group", "showgrid": False, **ticks},
        yaxis={
            "title": "space group of the phase",
            "autorange": "reversed",
            "showgrid": False,
            **ticks,
        },
        height=200 + 62 * len(classes),
        margin={"b": 130},
    )
    return figure

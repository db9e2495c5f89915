"""Pictures of results: tables in, plotly figures (and one Pillow image) out.

Colours are Okabe and Ito's and plotly's Cividis, which readers with any colour vision tell apart.
Nothing is written or shown here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from PIL import Image
    from plotly.graph_objects import Figure

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
"""M. Okabe and K. Ito, *Color Universal Design* (2008)."""

SYMBOLS = {221: "Pm-3m", 223: "Pm-3n", 225: "Fm-3m", 227: "Fd-3m", 229: "Im-3m", 230: "Ia-3d"}
"""Hermann-Mauguin symbols of the paper's groups."""


class FigureError(ValueError):
    """A table cannot be drawn; the message says why."""


def class_name(number: int) -> str:
    """Symbol and number of a space group, the number alone when it is not one of the paper's."""
    return f"{SYMBOLS[number]} ({number})" if number in SYMBOLS else str(number)


def confusion_figure(matrix: ArrayLike, classes: Sequence[int], title: str = "") -> Figure:
    """Confusion matrix: colour is the share of the true class, text the share and the count.

    Parameters
    ----------
    matrix : (n, n) counts; rows are true classes.
    classes : (n,) space-group numbers.
    title : above the picture.
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
            colorscale="Cividis",
            zmin=0,
            zmax=100,
            colorbar={"title": {"text": "share of true class [%]"}},
            hovertemplate="true %{y}<br>predicted %{x}<br>%{text}<extra></extra>",
        )
    )
    figure.update_layout(
        title=title,
        template="plotly_white",
        xaxis={"title": "predicted space group", "constrain": "domain"},
        yaxis={"title": "space group of the phase", "autorange": "reversed", "scaleanchor": "x"},
        height=140 + 75 * len(classes),
    )
    return figure


def training_figure(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], title: str = ""
) -> Figure:
    """Training curves: loss and accuracy against epoch, one colour per run.

    Parameters
    ----------
    histories : name of a run -> its rows (see :data:`ebsdsg_ml.training_result.OnEpoch`).
    title : above the picture.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.12)
    for number, (name, rows) in enumerate(histories.items()):
        colour = OKABE_ITO[number % len(OKABE_ITO)]
        epochs = [row["epoch"] for row in rows]
        for column, quantity, factor in ((1, "loss", 1), (2, "accuracy", 100)):
            for part, dash in (("train", "dot"), ("validation", "solid")):
                values = [row[f"{part}_{quantity}"] for row in rows]
                if all(value is None for value in values):
                    continue
                figure.add_trace(
                    go.Scatter(
                        x=epochs,
                        y=[None if v is None else factor * v for v in values],
                        mode="lines+markers",
                        line={"color": colour, "dash": dash},
                        name=f"{name}, {part}",
                        legendgroup=f"{name} {part}",
                        showlegend=column == 1,
                    ),
                    row=1,
                    col=column,
                )
    figure.update_xaxes(title="epoch", dtick=1 if _longest(histories) <= 20 else None)
    figure.update_yaxes(title="cross entropy [nat]", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title="accuracy [%]", range=[0, 102], row=1, col=2)
    figure.update_layout(title=title, template="plotly_white", height=420)
    return figure


def phase_accuracy_figure(rows: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """Accuracy of every phase with its 95 % interval, by class.

    Parameters
    ----------
    rows : of :func:`ebsdsg_ml.metrics.phase_accuracies`; ``formula`` is used when it is there.
    title : above the picture.
    """
    import plotly.graph_objects as go

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
                marker={"color": OKABE_ITO[number % len(OKABE_ITO)]},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [100 * (r["high"] - r["value"]) for _, r in mine],
                    "arrayminus": [100 * (r["value"] - r["low"]) for _, r in mine],
                },
                text=[
                    f"mostly {class_name(r['most_frequent'])}"
                    if r["most_frequent"] != group
                    else ""
                    for _, r in mine
                ],
                textposition="inside",
                insidetextanchor="start",
                customdata=[[r["right"], r["total"]] for _, r in mine],
                hovertemplate="%{y}: %{x:.1f} %, %{customdata[0]} of %{customdata[1]}"
                "<extra></extra>",
            )
        )
    figure.update_layout(
        title=title,
        template="plotly_white",
        xaxis={"title": "accuracy, 95 % interval [%]", "range": [0, 102]},
        yaxis={"title": "phase", "categoryorder": "array", "categoryarray": names[::-1]},
        legend={"title": {"text": "space group of the phase"}},
        height=160 + 22 * len(ordered),
    )
    return figure


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
            x=[0, 1],
            y=[0, 1],
            mode="lines",
            line={"color": "grey", "dash": "dot"},
            name="as certain as right",
        )
    )
    for i, (name, rows) in enumerate(curves.items()):
        n = np.array([row["n"] for row in rows], dtype=float)
        colour = OKABE_ITO[i % len(OKABE_ITO)]
        figure.add_trace(
            go.Scatter(
                x=[row["confidence"] for row in rows],
                y=[row["accuracy"] for row in rows],
                mode="lines+markers",
                line={"color": colour},
                marker={"size": (6 + 34 * np.sqrt(n / n.sum())).tolist(), "color": colour},
                text=[f"{int(k)} answers" for k in n],
                name=name,
            )
        )
    figure.update_layout(
        title=title,
        template="plotly_white",
        xaxis={"title": "probability of the answer", "range": [0, 1], "constrain": "domain"},
        yaxis={"title": "share of right answers", "range": [0, 1], "scaleanchor": "x"},
        height=520,
    )
    return figure


def contact_sheet(
    patterns: ArrayLike,
    labels: Sequence[str],
    *,
    columns: int = 6,
    pixels: int = 128,
) -> Image.Image:
    """Patterns side by side with a line of text under each.

    Parameters
    ----------
    patterns : (n, H, W) uint8.
    labels : (n,) one line each.
    columns : patterns per row.
    pixels : width of a pattern in the picture.

    Raises
    ------
    FigureError
        If there is no pattern, or not one label for each.
    """
    from PIL import Image, ImageDraw, ImageFont

    stack = np.asarray(patterns)
    if stack.ndim != 3 or stack.dtype != np.uint8 or not len(stack):
        raise FigureError(f"patterns: {stack.dtype} {stack.shape}, expected (n, H, W) uint8")
    if len(labels) != len(stack):
        raise FigureError(f"{len(labels)} labels for {len(stack)} patterns")
    columns = min(columns, len(stack))
    rows = -(-len(stack) // columns)
    tall = round(pixels * stack.shape[1] / stack.shape[2])
    gap, text = 6, 16
    sheet = Image.new(
        "L", (columns * (pixels + gap) + gap, rows * (tall + text + gap) + gap), color=255
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for i, (pattern, label) in enumerate(zip(stack, labels, strict=True)):
        x = gap + (i % columns) * (pixels + gap)
        y = gap + (i // columns) * (tall + text + gap)
        # enlarged pixels stay visible as such; a smaller picture is smoothed
        method = Image.Resampling.NEAREST if pixels >= stack.shape[2] else Image.Resampling.LANCZOS
        sheet.paste(Image.fromarray(pattern).resize((pixels, tall), method), (x, y))
        while label and draw.textlength(label, font=font) > pixels:
            label = label[:-2].rstrip("…") + "…" if len(label) > 2 else ""
        draw.text((x, y + tall + 1), label, fill=0, font=font)
    return sheet


def _phase_name(row: Mapping[str, Any]) -> str:
    return f"{row['formula']} ({row['phase']})" if row.get("formula") else str(row["phase"])


def _longest(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> int:
    return max((len(rows) for rows in histories.values()), default=0)

"""Training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ebsdsg_ml.figures.theme import FigureError, colour, mark, template

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def any_held_out(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    """Whether a run says how it did on held-out phases; one on all phases held nothing out.

    Parameters
    ----------
    histories : see :func:`training_figure`.
    """
    return any(
        row.get("validation_accuracy") is not None for rows in histories.values() for row in rows
    )


def training_figure(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], title: str = ""
) -> Figure:
    """Loss above accuracy against the epoch; a colour and a mark per run, training dotted.

    Parameters
    ----------
    histories : name of a run -> its rows (see :data:`ebsdsg_ml.training_result.OnEpoch`).
    title : above the picture.

    Raises
    ------
    FigureError
        If no run has an epoch.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    longest = max((len(rows) for rows in histories.values()), default=0)
    if not longest:
        raise FigureError("training curves need a run with at least one epoch")
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    for number, (name, rows) in enumerate(histories.items()):
        epochs = [row["epoch"] for row in rows]
        first = True
        for place, quantity, factor in ((1, "loss", 1), (2, "accuracy", 100)):
            for part, dash in (("validation", "solid"), ("train", "dot")):
                values = [row.get(f"{part}_{quantity}") for row in rows]
                if all(value is None for value in values):
                    continue
                figure.add_trace(
                    go.Scatter(
                        x=epochs,
                        y=[None if v is None else factor * v for v in values],
                        mode="lines+markers",
                        line={"color": colour(number), "dash": dash},
                        marker={
                            "symbol": mark(number) + ("-open" if part == "train" else ""),
                            "size": 7,
                        },
                        name=name,
                        legendgroup=name,
                        showlegend=first and len(histories) > 1,
                        hovertemplate=f"{name}, {part}: epoch %{{x}}, %{{y:.4g}}<extra></extra>",
                    ),
                    row=place,
                    col=1,
                )
                first = False
    figure.update_xaxes(dtick=1 if longest <= 20 else None)
    figure.update_xaxes(title="epoch", row=2, col=1)
    figure.update_yaxes(title="cross entropy [nat]", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title="accuracy [%]", range=[0, 102], row=2, col=1)
    kinds = [("training", "dot", "circle-open"), ("held out", "solid", "circle")]
    if not any_held_out(histories):
        kinds = kinds[:1]
    for part, dash, symbol in kinds:
        figure.add_trace(
            go.Scatter(
                x=[None],
                y=[None],
                mode="lines+markers",
                line={"color": "#808080", "dash": dash},
                marker={"symbol": symbol, "size": 7},
                name=part,
            )
        )
    names = len(kinds) + (len(histories) if len(histories) > 1 else 0)
    figure.layout.template = template()
    figure.update_layout(title=title, height=520 + 20 * names, margin={"b": 70 + 20 * names})
    return figure

"""The way through a campaign, with what stands where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from ebsdsg_ml.figures.theme import CLEAR, OKABE_ITO, FigureError, template

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

STATES = {
    "completed": (OKABE_ITO[2], ""),
    "running": (OKABE_ITO[0], "/"),
    "waiting": ("#808080", "."),
    "failed": (OKABE_ITO[1], "x"),
    "timed_out": (OKABE_ITO[4], "\\"),
    "lost": (OKABE_ITO[3], "+"),
    "unusable": ("#b0b0b0", "-"),
    "group kept": (OKABE_ITO[5], ""),
    "group changed": (OKABE_ITO[0], "\\"),
}
"""Colour and hatching of each state."""


LINE_LENGTH = 38
"""Letters that fit beside each other on a phone."""


def workflow_figure(stages: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """The stages of a campaign one below the other, each a bar of the states of its work.

    Parameters
    ----------
    stages : in their order, each with ``stage``, ``unit`` (what is counted) and ``states`` (state
        -> number; one of :data:`STATES`).
    title : above the picture.

    Raises
    ------
    FigureError
        If there is no stage, or a state has no look.
    """
    import plotly.graph_objects as go

    if not stages:
        raise FigureError("a workflow needs at least one stage")
    strange = {state for row in stages for state in row["states"]} - set(STATES)
    if strange:
        raise FigureError(f"no colour for the states {', '.join(sorted(strange))}")
    totals = [sum(row["states"].values()) for row in stages]
    figure = go.Figure()
    for state, (paint, hatching) in STATES.items():
        places = [i for i, row in enumerate(stages) if row["states"].get(state)]
        if not places:
            continue
        counts = [stages[i]["states"][state] for i in places]
        figure.add_trace(
            go.Bar(
                x=[100 * n / totals[i] for i, n in zip(places, counts, strict=True)],
                y=places,
                orientation="h",
                width=0.34,
                marker={
                    "color": paint,
                    "pattern": {"shape": hatching, "fillmode": "overlay", "size": 6},
                },
                customdata=[[n, stages[i]["unit"]] for i, n in zip(places, counts, strict=True)],
                hovertemplate="%{customdata[0]} %{customdata[1]}, %{x:.1f} %<extra></extra>",
                name=state.replace("_", " "),
            )
        )
    for i, row in enumerate(stages):
        parts = [f"{n} {s.replace('_', ' ')}" for s, n in row["states"].items() if n]
        text = f"{row['unit']}: {', '.join(parts)}" if parts else f"{row['unit']}: none yet"
        figure.add_annotation(
            x=0,
            y=i - 0.18,
            text="<br>".join(wrap(text, LINE_LENGTH)),
            align="left",
            showarrow=False,
            xanchor="left",
            yanchor="bottom",
            font={"size": 12},
        )
        if i:
            figure.add_annotation(
                x=-3,
                y=i - 0.2,
                ax=-3,
                ay=i - 0.8,
                axref="x",
                ayref="y",
                text="",
                bgcolor=CLEAR,
                showarrow=True,
                arrowhead=2,
                arrowwidth=2,
            )
    figure.layout.template = template()
    figure.update_layout(
        title=title,
        barmode="stack",
        bargap=0.6,
        xaxis={
            "title": "share of the stage [%]",
            "range": [-6, 101],
            "tickvals": [0, 25, 50, 75, 100],
        },
        yaxis={
            "title": "stage",
            "automargin": True,
            "tickmode": "array",
            "tickvals": list(range(len(stages))),
            "ticktext": [row["stage"] for row in stages],
            "range": [len(stages) - 0.6, -0.6],
            "showgrid": False,
        },
        showlegend=True,
        height=170 + 76 * len(stages),
        margin={"b": 100},
    )
    return figure

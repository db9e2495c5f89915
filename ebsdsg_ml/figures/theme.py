"""Colours, fonts and names that all figures share, on light and on dark.

Series are coloured with Okabe and Ito's palette, without its yellow and its black, which vanish on
one of the two backgrounds; shares with Cividis.  Both are told apart with any colour vision, and
nothing is told by colour alone: series differ in their marks, cells hold their number.  What
differs between light and dark is plotly's template alone, so that a page can exchange it as its
reader's system does.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
"""M. Okabe and K. Ito, *Color Universal Design* (2008)."""

SERIES = (*OKABE_ITO[:6], "#808080")
"""Colours of series: those of Okabe and Ito that are seen on white and on black, and a grey."""

MARKS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "triangle-down", "x")
"""Marks of series, so that they differ in more than their colour."""

SHARES = "Cividis"
"""Of shares: J. R. Nuñez, C. R. Anderton, R. S. Renslow, *PLOS ONE* 13 (2018) e0199239."""

INK = {False: "#1d2430", True: "#e7ebf0"}
QUIET = {False: "#535e6c", True: "#a9b4c1"}
LINE = {False: "#d3d9e0", True: "#37414d"}
BACK = {False: "#ffffff", True: "#12171d"}
"""Colours of text, lesser text, grid lines and background, by whether it is dark."""

CLEAR = "rgba(0,0,0,0)"
"""No colour; without it an arrow shows the background of the text that it does not have."""

SYMBOLS = {221: "Pm-3m", 223: "Pm-3n", 225: "Fm-3m", 227: "Fd-3m", 229: "Im-3m", 230: "Ia-3d"}
"""Hermann-Mauguin symbols of the paper's groups."""


class FigureError(ValueError):
    """A table cannot be drawn; the message says why."""


def class_name(number: int) -> str:
    """Symbol and number of a space group, the number alone when it is not one of the paper's."""
    return f"{SYMBOLS[number]} ({number})" if number in SYMBOLS else str(number)


def short_name(number: int) -> str:
    """The same for the ticks of an axis: symbol above number."""
    return f"{SYMBOLS[number]}<br>{number}" if number in SYMBOLS else str(number)


def colour(number: int) -> str:
    """Colour of a series; they come again after the seventh."""
    return SERIES[number % len(SERIES)]


def mark(number: int) -> str:
    """Mark of a series; with the colour, 56 series are told apart."""
    return MARKS[number % len(MARKS)]


def share_bar(title: str) -> dict[str, Any]:
    """Bar of a colour scale, below the picture so that it costs no width on a phone.

    Parameters
    ----------
    title : what the colour says, with its unit.
    """
    return {
        "title": {"text": title, "side": "bottom"},
        "orientation": "h",
        "thickness": 10,
        "outlinewidth": 0,
        "yref": "container",
        "y": 0,
        "yanchor": "bottom",
    }


@cache
def template(dark: bool = False) -> dict[str, Any]:
    """Plotly's template of our figures.

    Parameters
    ----------
    dark : light text on a dark background.

    Returns
    -------
    Plain JSON types, as ``layout.template`` takes them.
    """
    axis = {
        "automargin": True,
        "gridcolor": LINE[dark],
        "linecolor": LINE[dark],
        "zerolinecolor": LINE[dark],
        "ticks": "",
        "zeroline": False,
        # without it the title lies on the names of an axis
        "title": {"standoff": 12},
    }
    return {
        "layout": {
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK[dark]},
            "title": {
                "font": {"size": 16},
                "x": 0.01,
                "xanchor": "left",
                "yref": "container",
                "y": 1,
                "yanchor": "top",
                "pad": {"t": 12},
            },
            "paper_bgcolor": BACK[dark],
            "plot_bgcolor": BACK[dark],
            "colorway": list(SERIES),
            "xaxis": axis,
            "yaxis": axis,
            "legend": {
                "orientation": "h",
                "yref": "container",
                "y": 0,
                "yanchor": "bottom",
                "x": 0,
                "bgcolor": CLEAR,
                "traceorder": "normal",
            },
            "margin": {"l": 60, "r": 20, "t": 50, "b": 60},
            "annotationdefaults": {
                "font": {"color": INK[dark]},
                "bgcolor": BACK[dark],
                "arrowcolor": QUIET[dark],
            },
            "shapedefaults": {"line": {"color": QUIET[dark]}},
            "hoverlabel": {"font": {"family": "system-ui, sans-serif"}},
        }
    }


def themed(figure: Figure, dark: bool = False) -> Figure:
    """The same figure on the other background.

    Parameters
    ----------
    figure : of this package; it is not changed.
    dark : light text on a dark background.
    """
    import plotly.graph_objects as go

    copy = go.Figure(figure)
    copy.layout.template = template(dark)
    return copy

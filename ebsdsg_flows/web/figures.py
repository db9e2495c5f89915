"""Figures for the pages: plotly's JSON, drawn by the browser in the colours of the page.

The figures come with the light template; the page holds the dark one too, and figures.js puts in
the one that the reader's system asks for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from ebsdsg_flows.figures.answers import certainty_figures
from ebsdsg_flows.figures.evaluation import matrix_figures, phase_figures, phase_rows
from ebsdsg_flows.figures.training import training_figures

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from ebsdsg_flows.figures.named import NamedFigure
    from stores.collections import Stores


@dataclass(frozen=True)
class Drawn:
    """A figure as a page holds it.

    Parameters
    ----------
    name : of its element.
    title : above it.
    text : what it shows, also for those who cannot see it.
    content : plotly's JSON, which can stand in a ``script`` element.
    """

    name: str
    title: str
    text: str
    content: Markup


def drawn(figure: NamedFigure) -> Drawn:
    """A figure for a page."""
    return Drawn(figure.name, figure.title, figure.text, as_json(figure.figure))


def as_json(figure: Figure) -> Markup:
    """A figure as JSON that can stand in a ``script`` element."""
    return _safe(str(figure.to_json()))


def templates() -> Markup:
    """Both templates, ``light`` and ``dark``, as JSON that can stand in a ``script`` element."""
    from ebsdsg_ml.figures import template

    return _safe(json.dumps({"light": template(), "dark": template(dark=True)}))


def workflow(stages: list[dict[str, Any]]) -> Markup:
    """The stages of a campaign.

    Parameters
    ----------
    stages : of :func:`ebsdsg_flows.stages.campaign_stages`.
    """
    from ebsdsg_ml.figures import workflow_figure

    return as_json(workflow_figure(stages))


def run_figures(
    stores: Stores, run: dict[str, Any], matrix: dict[str, Any] | None, answers: Path | None
) -> list[Drawn]:
    """Figures of one run, from documents and its answers only: its patterns are not read.

    Parameters
    ----------
    stores : open database.
    run : its document.
    matrix : ``classes`` and ``counts``, which the page itself shows as a table.
    answers : file with its answers for the fold that it did not see.
    """
    found = training_figures([run])
    if matrix is not None:
        found += matrix_figures(matrix)[1:]
    if answers is not None:
        with np.load(answers, allow_pickle=False) as given:
            found += certainty_figures([(run, given["logits"], given["truth"])])
    if run["per_phase"]:
        found += phase_figures(stores, [run], phase_rows(run["per_phase"]))
    return [drawn(figure) for figure in found]


def _safe(text: str) -> Markup:
    # "<" would end the element, or begin a comment in it
    return Markup(text.replace("<", "\\u003c"))

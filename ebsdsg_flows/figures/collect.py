"""All figures of a campaign or a training run, in the order of a report, and as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.figures.answers import answer_figures
from ebsdsg_flows.figures.evaluation import matrix_figures, phase_figures, phase_rows
from ebsdsg_flows.figures.named import NamedFigure
from ebsdsg_flows.figures.subject import find_subject
from ebsdsg_flows.figures.training import training_figures
from ebsdsg_flows.overview import overview
from ebsdsg_flows.results import dataset_title, stored_evaluations
from ebsdsg_flows.stages import campaign_stages

if TYPE_CHECKING:
    from stores.collections import Stores


def figures_of(stores: Stores, name: str) -> list[NamedFigure]:
    """Figures of a campaign or of a training run.

    Parameters
    ----------
    stores : open database.
    name : see :func:`ebsdsg_flows.figures.subject.find_subject`.

    Raises
    ------
    ebsdsg_flows.figures.subject.UnknownSubject
        If there is neither.
    ebsdsg_flows.datasets.MissingPattern
        If answers are not where the database says.
    """
    kind, document = find_subject(stores, name)
    make = campaign_figures if kind == "campaign" else run_figures
    return make(stores, document)


def campaign_figures(
    stores: Stores, campaign: dict[str, Any], found: Mapping[str, Any] | None = None
) -> list[NamedFigure]:
    """Figures of a campaign.

    Parameters
    ----------
    stores : open database.
    campaign : its document.
    found : its overview, if it was counted already.

    Returns
    -------
    The workflow; for each data set, true groups first, the confusion matrix, wrong answers
    over the graph of subgroups, phases, element differences, and what
    :func:`ebsdsg_flows.figures.answers.answer_figures` adds; training curves; runs and methods side
    by side where there are several of the same phases.
    """
    from ebsdsg_ml.figures import workflow_figure

    stages = campaign_stages(stores, campaign, found or overview(stores, campaign))
    figures = [
        NamedFigure(
            "workflow",
            "From structures to report",
            "Where the work of each stage stands.",
            workflow_figure(stages),
            tuple({"stage": s["stage"], "unit": s["unit"], **s["states"]} for s in stages),
        )
    ]
    runs = list(
        stores.training_runs.find({"key": {"$in": campaign["training_runs"]}}, {"_id": False})
    )
    by_key = {run["key"]: run for run in runs}
    for name, evaluation in stored_evaluations(campaign["progress"]).items():
        matrix = {"classes": evaluation["classes"], "counts": evaluation["confusion"]}
        mine = [by_key[key] for key in evaluation["runs"] if key in by_key]
        of_dataset = [
            *matrix_figures(matrix),
            *phase_figures(stores, mine, evaluation["by_phase"]),
            *answer_figures(stores, mine),
        ]
        said = dataset_title(name, evaluation["label"])
        figures += [figure.of_dataset(name, said) for figure in of_dataset]
    return figures + training_figures(sorted(runs, key=lambda run: run["created"]))


def run_figures(stores: Stores, run: dict[str, Any]) -> list[NamedFigure]:
    """Figures of one training run.

    Parameters
    ----------
    stores : open database.
    run : its document.
    """
    figures = []
    matrix = (run["confusion"] or {}).get("validation")
    answered = stores.predictions.find_one(
        {"training_run": run["key"], "patterns": run["dataset"]}, {"summary": True}
    )
    if answered is not None:
        summary = answered["summary"]
        classes = [row["class"] for row in summary["by_class"]]
        matrix = {"classes": classes, "counts": summary["confusion"]}
    if matrix:
        figures += matrix_figures(matrix)
    if run["per_phase"]:
        figures += phase_figures(stores, [run], phase_rows(run["per_phase"]))
    figures += answer_figures(stores, [run])
    return figures + training_figures([run])


def write_figures(
    stores: Stores, name: str, directory: Path, suffix: str, *, dark: bool = False
) -> list[Path]:
    """Write every figure of a campaign or a training run.

    Parameters
    ----------
    stores : open database.
    name : see :func:`ebsdsg_flows.figures.subject.find_subject`.
    directory : for one file per figure; made if missing.
    suffix : ``svg``, ``png``, ``html`` or ``json``.
    dark : light text on a dark background.

    Returns
    -------
    The files.

    Raises
    ------
    ebsdsg_flows.figures.subject.UnknownSubject
        If there is neither a campaign nor a run.
    ebsdsg_ml.figures.FigureError
        If the format is none of these, or it needs a browser and there is none.
    """
    from plotly.graph_objects import Figure

    from ebsdsg_ml.figures import save_figures

    named = figures_of(stores, name)
    titled: dict[str | Path, Figure] = {
        directory / f"{entry.name}.{suffix}": Figure(entry.figure).update_layout(title=entry.title)
        for entry in named
    }
    return save_figures(titled, dark=dark)

"""The static report of a campaign: one HTML file that opens anywhere, without a network."""

from __future__ import annotations

import base64
import io
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.results import CampaignResults, campaign_results
from ebsdsg_flows.settings import get_settings
from stores.version import code_version

if TYPE_CHECKING:
    from PIL.Image import Image
    from plotly.graph_objects import Figure

    from stores.collections import Stores

GALLERY_PIXELS = 181

QUERIES = (
    (
        "Simulations whose label changes from Pm-3m to Fm-3m",
        "simulations",
        '{"space_group": 221, "relabelled": 225}',
        "formula,material_id,state",
    ),
    (
        "Simulations that failed or timed out, with their energies done",
        "simulations",
        '{"state": {"$in": ["failed", "timed_out", "lost"]}}',
        "formula,state,energies_done",
    ),
    (
        "Training runs, with labels, fold and accuracy",
        "training_runs",
        '{"state": "completed"}',
        "key,labels,fold,accuracy",
    ),
)
"""Title, collection, criteria and fields of the example queries; they work when pasted."""


def query_commands() -> list[tuple[str, str]]:
    """Title and command line of every example query, for a shell in the folder of the data root."""
    program = "ebsdsg" if shutil.which("ebsdsg") else str(Path(sys.executable).with_name("ebsdsg"))
    return [
        (title, f"{program} query '{criteria}' -c {collection} -f {fields}")
        for title, collection, criteria, fields in QUERIES
    ]


def write_report(stores: Stores, campaign: str, directory: Path) -> Path:
    """Write the report of a campaign.

    Parameters
    ----------
    stores : open database.
    campaign : name.
    directory : folder for ``index.html``; made if missing.

    Returns
    -------
    Path of the report; an old one is replaced only by a complete one.

    Raises
    ------
    ebsdsg_flows.results.UnknownCampaign
        If there is no such campaign.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    from ebsdsg_sim.atomic_file import write_atomically

    results = campaign_results(stores, campaign)
    environment = Environment(
        loader=PackageLoader("ebsdsg_flows"), autoescape=True, undefined=StrictUndefined
    )
    html = environment.get_template("report.html.j2").render(
        campaign=results.campaign,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=code_version(),
        results=results,
        gallery=_gallery(results),
        samples=_samples(results),
        figures=[(title, _html(figure)) for title, figure in _figures(results)],
        queries=query_commands(),
        plotly=get_plotlyjs(),
    )
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "index.html"
    write_atomically(path, html.encode())
    return path.resolve()


def _html(figure: Figure) -> str:
    return figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False})


def _picture(image: Image) -> str:
    """An image as a data URI."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _gallery(results: CampaignResults) -> list[dict[str, Any]]:
    """A thumbnail of every master pattern, with its labels."""
    import numpy as np
    from PIL import Image

    from ebsdsg_sim.hdf5 import read_master_pattern
    from ebsdsg_sim.preview import grey

    root = get_settings().root
    axis = np.linspace(-1, 1, GALLERY_PIXELS)
    disc = axis[:, None] ** 2 + axis[None, :] ** 2 <= 1
    pictures = []
    for row in results.structures:
        if row["file"] is None:
            continue
        ball = read_master_pattern(root / row["file"]).stereographic(size=GALLERY_PIXELS)
        image = Image.fromarray(grey(ball, disc)[::-1])
        pictures.append({**row, "picture": _picture(image)})
    return pictures


def _samples(results: CampaignResults) -> list[dict[str, Any]]:
    """A contact sheet of every data set: a few patterns of each class."""
    from ebsdsg_ml.dataset_sheet import dataset_sheet

    root = get_settings().root
    sheets = []
    for label, document in results.datasets.items():
        sheet = dataset_sheet(root / document["file"]["path"])
        sheets.append({"label": label, "picture": _picture(sheet), "n": document["n_patterns"]})
    return sheets


EPOCH_COLUMNS = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
)


def _figures(results: CampaignResults) -> list[tuple[str, Figure]]:
    from ebsdsg_ml.figures import confusion_figure, phase_accuracy_figure, training_figure

    figures = []
    for label, evaluation in results.evaluations.items():
        figure = confusion_figure(evaluation["confusion"], evaluation["classes"])
        figures.append((f"Confusion matrix, {label} space groups", figure))
    for label, evaluation in results.evaluations.items():
        figure = phase_accuracy_figure(evaluation["by_phase"])
        figures.append((f"Accuracy of every phase, {label} space groups", figure))
    histories = {
        _run_name(run): [{name: row.get(name) for name in EPOCH_COLUMNS} for row in run["epochs"]]
        for run in results.trainings
        if run["epochs"]
    }
    if histories:
        figures.append(("Training", training_figure(histories)))
    return figures


def _run_name(run: dict[str, Any]) -> str:
    fold = "all folds" if run["fold"] is None else f"fold {run['fold']}"
    return f"{run['labels']}, {fold}"

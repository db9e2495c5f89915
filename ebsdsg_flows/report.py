"""The static report of a campaign or a training run: one small HTML file that opens anywhere.

It needs no network and no server.  Its figures are those of :mod:`ebsdsg_flows.figures`, drawn when
it is opened, in the light or dark colours of its reader, by the part of plotly.js that they need;
that part is compressed in the file (two thirds of a megabyte of it), and every figure's numbers
stand below it as a table.
"""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.figures.subject import find_subject
from ebsdsg_flows.settings import get_settings
from stores.version import code_version

if TYPE_CHECKING:
    from ebsdsg_flows.figures.named import NamedFigure
    from stores.collections import Stores

PARTS = {
    "workflow": "Workflow",
    "confusion": "Confusion",
    "subgroups": "Subgroups",
    "phases": "Phases",
    "elements": "Elements",
    "reliability": "Certainty",
    "set": "Certainty",
    "quality": "Patterns",
    "candidates": "Patterns",
    "training": "Training",
    "runs": "Training",
    "methods": "Training",
}
"""Chapter of a figure, by the first word of its name, in the order of the report."""

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


def write_report(stores: Stores, subject: str, directory: Path | None = None) -> Path:
    """Write the report of a campaign or of a training run.

    Parameters
    ----------
    stores : open database.
    subject : see :func:`ebsdsg_flows.figures.subject.find_subject`.
    directory : folder for ``index.html``, made if missing; default: below the data root.

    Returns
    -------
    Path of the report; an old one is replaced only by a complete one.

    Raises
    ------
    ebsdsg_flows.figures.subject.UnknownSubject
        If there is neither.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from ebsdsg_flows.figures.collect import campaign_figures, run_figures
    from ebsdsg_flows.overview import overview
    from ebsdsg_flows.report_tables import campaign_tables, cell, run_tables
    from ebsdsg_sim.atomic_file import write_atomically

    kind, document = find_subject(stores, subject)
    if kind == "campaign":
        found = overview(stores, document)
        tables = campaign_tables(stores, document, found)
        figures = campaign_figures(stores, document, found)
    else:
        tables, figures = run_tables(stores, document), run_figures(stores, document)
    environment = Environment(
        loader=PackageLoader("ebsdsg_flows"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["cell"] = cell
    html = environment.get_template("report.html.j2").render(
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        version=code_version(),
        parts=_parts(figures),
        drawn=_drawn(figures) if figures else None,
        plotly=_plotly() if figures else None,
        queries=query_commands() if kind == "campaign" else [],
        **tables,
    )
    directory = directory or get_settings().root / "reports" / document["key"]
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "index.html"
    write_atomically(path, html.encode())
    return path.resolve()


def _parts(figures: Sequence[NamedFigure]) -> list[dict[str, Any]]:
    """Chapters with their figures; kinds of labels stand side by side in one."""
    parts: dict[str, list[NamedFigure]] = {title: [] for title in PARTS.values()}
    for word, title in PARTS.items():
        parts[title] += [entry for entry in figures if entry.name.split("_")[0] == word]
    return [
        {"id": title.lower(), "title": title, "figures": entries}
        for title, entries in parts.items()
        if entries
    ]


def _drawn(figures: Iterable[NamedFigure]) -> str:
    """All figures without their template, and both templates: JSON, packed as the library is."""
    from ebsdsg_ml.figures import template

    plain = {}
    for entry in figures:
        figure = json.loads(str(entry.figure.to_json()))
        figure["layout"].pop("template", None)
        # the heading above it is the title
        figure["layout"].setdefault("margin", {}).setdefault("t", 20)
        plain[entry.name] = figure
    text = json.dumps(
        {"figures": plain, "templates": [template(False), template(True)]}, separators=(",", ":")
    )
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


@cache
def _plotly() -> str:
    """plotly.js for plane axes, packed by gzip, in letters."""
    packed = resources.files("ebsdsg_flows").joinpath("static", "plotly-cartesian.min.js.gz")
    return base64.b64encode(packed.read_bytes()).decode()

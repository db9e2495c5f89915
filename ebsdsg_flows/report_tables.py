"""What the report says in words and numbers: the question, counts, failures, provenance."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.figures.evaluation import phase_rows
from ebsdsg_flows.results import campaign_results, dataset_title
from ebsdsg_flows.settings import get_settings
from ebsdsg_flows.status import STATES

if TYPE_CHECKING:
    from PIL.Image import Image

    from stores.collections import Stores

SHOWN = 24
"""Master patterns in the gallery; more would not fit a mail."""

LISTED = 200
"""Rows of a list at most; the whole of it is in the database."""

PIXELS = 111
SAMPLE_PIXELS = 110
"""Widths of a master pattern and of a sample pattern [pixel]."""

PACKAGES = ("numpy", "torch", "torchvision", "lightning", "spglib", "pymatgen", "plotly")
"""Whose versions are told."""


def cell(value: Any) -> str:
    """A value as it stands in a table."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    return str(value)


def campaign_tables(
    stores: Stores, campaign: Mapping[str, Any], found: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything but the figures of a campaign's report.

    Parameters
    ----------
    stores : open database.
    campaign : its document.
    found : its overview.
    """
    results = campaign_results(stores, campaign["key"])
    query, parameters = campaign["query"], campaign["parameters"]
    simulation = parameters.get("simulation", {})
    states = [state for state in STATES if state in found["by_state"]]
    runs = results.trainings
    accuracies = [
        _accuracy(f"{dataset_title(name, entry['label'])}, all folds", entry)
        for name, entry in results.evaluations.items()
    ]
    datasets = {
        dataset_title(name, results.evaluations[name]["label"]): document
        for name, document in results.datasets.items()
    }
    return {
        "title": campaign["name"],
        "lead": query.get("description", "") or "A campaign without a description.",
        "asked": _pairs(
            {
                "structures from": query.get("source"),
                "space groups": _words(query.get("groups")) or "all of the source",
                "engine": simulation.get("engine"),
                "beam energy [keV]": simulation.get("parameters", {}).get("voltage"),
                "smallest spacing [nm]": simulation.get("parameters", {}).get("dmin"),
                "Debye-Waller factor [nm²]": simulation.get("debye_waller"),
                "data sets": "; ".join(
                    f"{label}: {recipe.get('patterns_per_class')} patterns per class of "
                    f"{recipe.get('size')} × {recipe.get('size')} pixels, "
                    f"{recipe.get('n_folds')} {recipe.get('split')}-disjoint folds"
                    for label, recipe in parameters.get("datasets", {}).items()
                ),
                "network": parameters.get("training", {}).get("model"),
                "epochs": parameters.get("training", {}).get("epochs"),
            }
        ),
        "tiles": [
            {"value": found["members"], "name": "structures asked for"},
            *({"value": found["by_state"][s], "name": s.replace("_", " ")} for s in states),
            {"value": len(runs), "name": "training runs"},
            {"value": f"{results.cpu_seconds:.0f} s", "name": "processor time of the simulations"},
        ],
        "accuracies": accuracies,
        "by_group": [
            {
                "true space group": _group(group),
                **{s.replace("_", " "): numbers.get(s, 0) for s in states},
            }
            for group, numbers in found["by_group"].items()
        ],
        "failures": [
            {"what": f["name"], "code": f["code"], "count": f["count"], "for example": f["message"]}
            for f in found["failures"]
        ]
        + _failed_runs(runs),
        "skipped": [
            {"structure": s["identifier"], "reason": s["reason"]}
            for s in campaign["skipped"][:LISTED]
        ],
        "gallery": _gallery(results.structures),
        "pixels": PIXELS,
        "shown_of": sum(row["file"] is not None for row in results.structures),
        "samples": _samples(datasets),
        "provenance": _pairs(
            {
                "campaign": campaign["name"],
                "created": campaign.get("created"),
                "settings (hash)": campaign["config_hash"],
                "code of the campaign": campaign["code_version"],
                "engines": _engines(stores, campaign["simulations"]),
                **_dataset_hashes(datasets),
                "models (sha256)": _words(
                    (run.get("computed_with") or {}).get("weights_sha256", "")[:16] for run in runs
                ),
                **_packages(),
            }
        ),
        "settings": json.dumps({"query": query, **parameters}, indent=1, default=str),
    }


def run_tables(stores: Stores, run: Mapping[str, Any]) -> dict[str, Any]:
    """Everything but the figures of a training run's report.

    Parameters
    ----------
    stores : open database.
    run : its document.
    """
    from ebsdsg_flows.figures.training import run_name

    config, adaptation = run["config"], run.get("adaptation") or {}
    dataset = stores.datasets.find_one({"key": run["dataset"]}, {"_id": False}) or {}
    titled = {dataset_title(run["labels"], run["labels"]): dataset}
    campaigns = stores.campaigns.find({"training_runs": run["key"]}, {"key": True})
    computed = run.get("computed_with") or {}
    answered = stores.predictions.find_one(
        {"training_run": run["key"], "patterns": run["dataset"]}, {"summary": True}
    )
    held_out = "all phases were trained on" if run["fold"] is None else f"fold {run['fold']}"
    return {
        "title": f"Training run {run_name(run)}",
        "lead": f"Of campaign {_words(c['key'] for c in campaigns) or 'none'}.",
        "asked": _pairs(
            {
                "labels": f"{run['labels']} space groups",
                "held out": held_out,
                "adaptation": adaptation.get("method"),
                "adapted to": adaptation.get("target"),
                "network": config.get("model"),
                "started from": run.get("weights"),
                "epochs": config.get("epochs"),
                "batch": config.get("batch_size"),
                "optimizer": f"{config.get('optimizer')}, rate {config.get('learning_rate')}",
                "patterns": dataset.get("n_patterns"),
            }
        ),
        "tiles": [
            {"value": run["state"].replace("_", " "), "name": ""},
            {"value": len(run["epochs"]), "name": "epochs"},
            {"value": cell(run.get("cpu_seconds")) + " s", "name": "processor time"},
        ],
        "accuracies": [
            _accuracy(
                "held-out fold",
                {**answered["summary"], "by_phase": phase_rows(run["per_phase"])},
            )
        ]
        if answered
        else [],
        "by_group": [],
        "failures": _failed_runs([run]),
        "skipped": [],
        "gallery": [],
        "pixels": PIXELS,
        "shown_of": 0,
        "samples": _samples(titled),
        "provenance": _pairs(
            {
                "training run": run["key"],
                "started": run.get("started"),
                "finished": run.get("finished"),
                "code of the run": run["code_version"],
                "seeds": _words(f"{name} {seed}" for name, seed in run["seeds"].items()),
                "device": computed.get("device"),
                "precision": computed.get("precision"),
                "best epoch": computed.get("best_epoch"),
                "model (sha256)": (run.get("checkpoint") or {}).get("sha256"),
                **_dataset_hashes(titled),
                **_packages(),
            }
        ),
        "settings": json.dumps(config, indent=1, default=str),
    }


def _group(name: str) -> str:
    from ebsdsg_ml.figures import class_name

    return class_name(int(name)) if name.isdigit() else name


def _pairs(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"what": k, "value": v} for k, v in values.items() if v not in (None, "")]


def _words(values: Iterable[Any] | None) -> str:
    return ", ".join(str(value) for value in values or () if value != "")


def _accuracy(what: str, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    from ebsdsg_ml.metrics import phase_interval

    found, phases = evaluation["accuracy"], evaluation["by_phase"]
    limits = phase_interval(phases)
    return {
        "answers": what,
        "accuracy": f"{100 * found['value']:.1f} %",
        "95 % interval": "not known"
        if limits is None
        else f"{100 * limits[0]:.1f} to {100 * limits[1]:.1f} %",
        "phases": len(phases),
        "right": found["right"],
        "of": found["total"],
    }


def _failed_runs(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "what": f"training run {run['key'][:6]}: {run['failure']['name']}",
            "code": run["failure"]["code"],
            "count": 1,
            "for example": run["failure"]["message"],
        }
        for run in runs
        if run.get("failure")
    ][:LISTED]


def _engines(stores: Stores, simulations: list[str]) -> str:
    kinds: dict[str, None] = {}
    for first in range(0, len(simulations), 1000):
        chosen = {"key": {"$in": simulations[first : first + 1000]}}
        for entry in stores.simulations.find(chosen, {"engine": True}):
            engine = entry["engine"]
            kinds[f"{engine['name']} {engine['version']} physics {engine['physics_version']}"] = (
                None
            )
    return _words(" ".join(kind.split()) for kind in kinds)


def _dataset_hashes(datasets: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {
        f"data set, {title}": f"recipe {document['key'][:16]}, file (sha256) "
        f"{document['file']['sha256'][:16]}"
        for title, document in datasets.items()
        if document
    }


def _packages() -> dict[str, str]:
    return {"written with": _words(f"{name} {version(name)}" for name in PACKAGES)}


def _picture(image: Image) -> str:
    """An image as a data URI; WebP takes a third of what PNG would."""
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", quality=60, method=6)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _gallery(structures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Small master patterns with their labels, spread over the rows, which are sorted by group."""
    import numpy as np
    from PIL import Image

    from ebsdsg_sim.hdf5 import read_master_pattern
    from ebsdsg_sim.preview import grey

    root = get_settings().root
    axis = np.linspace(-1, 1, PIXELS)
    disc = axis[:, None] ** 2 + axis[None, :] ** 2 <= 1
    drawn = [row for row in structures if row["file"] is not None]
    chosen = np.unique(np.linspace(0, len(drawn) - 1, min(len(drawn), SHOWN)).round().astype(int))
    pictures = []
    for row in (drawn[i] for i in chosen):
        ball = read_master_pattern(root / row["file"]).stereographic(size=PIXELS)
        levels = grey(ball, disc)[::-1]
        # no white corners on a dark page
        shown = Image.fromarray(np.dstack([levels, np.where(disc, 255, 0).astype(np.uint8)]), "LA")
        pictures.append({**row, "picture": _picture(shown.convert("RGBA"))})
    return pictures


def _samples(datasets: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A contact sheet of every data set: a few patterns of each class."""
    from ebsdsg_ml.dataset_sheet import dataset_sheet

    root = get_settings().root
    sheets = []
    for title, document in datasets.items():
        if not document:
            continue
        sheet = dataset_sheet(root / document["file"]["path"], per_class=4, pixels=SAMPLE_PIXELS)
        sheets.append(
            {
                "title": title,
                "picture": _picture(sheet),
                "size": sheet.size,
                "n": document["n_patterns"],
            }
        )
    return sheets

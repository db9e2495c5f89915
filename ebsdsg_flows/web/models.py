"""The models that may be asked: of training runs, ensembles, and files below the data root."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException

from ebsdsg_flows.web.accuracies import with_accuracies
from ebsdsg_flows.web.site import Site
from stores.states import State

if TYPE_CHECKING:
    from ebsdsg_ml.ensemble_model import AnyModel
    from ebsdsg_ml.pattern_model import ModelCard

OFFERED = 200
"""Models offered of each kind, the latest."""

FOLDER = "models"
"""Folder of the data root whose model files are offered."""


@dataclass(frozen=True)
class Asked:
    """What is known of a model that was asked, without its weights.

    Parameters
    ----------
    card : of its file.
    title : for a sentence.
    path : of its page, ``None`` if it has none.
    dataset : key of the data set that it learned from, ``None`` if that is not known.
    """

    card: ModelCard
    title: str
    path: str | None
    dataset: str | None


def offered(site: Site) -> list[tuple[str, list[tuple[str, str]]]]:
    """Models by kind: what a form sends, and what it shows.

    Parameters
    ----------
    site : that the pages belong to.
    """
    runs = [(f"run:{run['key']}", _run_title(run)) for run in _runs(site)]
    ensembles = [
        (f"ensemble:{entry['key']}", _ensemble_title(entry))
        for entry in site.stores.ensembles.find({}).sort("created", -1).limit(OFFERED)
    ]
    files = [(f"file:{path.name}", path.name) for path in _files(site)]
    kinds = (("Training runs", runs), ("Ensembles", ensembles), ("Model files", files))
    return [(kind, models) for kind, models in kinds if models]


def find(site: Site, name: str) -> tuple[AnyModel, Asked]:
    """A model by what a form sends, and what is known of it.

    Parameters
    ----------
    site : that the pages belong to.
    name : kind and key, as :func:`offered` gives them.

    Raises
    ------
    HTTPException
        404 if there is none, or its file cannot be read.
    """
    kind, _, key = name.partition(":")
    if kind == "run":
        run = _run(site, key)
        checkpoint = run["checkpoint"]
        model = _read(((site.file(checkpoint), checkpoint["sha256"]),))
        title, page = f"training run {key[:8]}", f"training/{key}"
        return model, Asked(model.card, title, page, run["dataset"])
    if kind == "ensemble":
        entry = site.stores.ensembles.find_one({"key": key}, {"_id": False})
        if entry is None:
            raise HTTPException(404, "there is no such ensemble")
        runs = [_run(site, member) for member in _sound(entry)]
        files = [(site.file(r["checkpoint"]), r["checkpoint"]["sha256"]) for r in runs]
        dataset = runs[0]["dataset"] if runs else None
        model = _read(tuple(files), together=True)
        return model, Asked(model.card, _ensemble_title(entry), None, dataset)
    for path in _files(site):
        if kind == "file" and path.name == key:
            model = _read(((path, str(path.stat().st_mtime_ns)),))
            return model, Asked(model.card, key, None, None)
    raise HTTPException(404, "there is no such model")


def _runs(site: Site) -> list[dict[str, Any]]:
    """Completed runs with a model, those trained on all folds first."""
    fields = dict.fromkeys(
        ("key", "labels", "fold", "accuracy", "dataset", "finished", "adaptation"), True
    )
    found = site.stores.training_runs.find(
        {"state": str(State.COMPLETED), "checkpoint": {"$ne": None}}, {"_id": False, **fields}
    )
    runs = with_accuracies(site.stores, list(found.sort("finished", -1).limit(OFFERED)))
    return sorted(runs, key=lambda run: run["fold"] is not None)


def _run(site: Site, key: str) -> dict[str, Any]:
    run = site.stores.training_runs.find_one({"key": key}, {"_id": False})
    if run is None or run["checkpoint"] is None:
        raise HTTPException(404, "there is no such training run with a model")
    return run


def _files(site: Site) -> list[Path]:
    """Model files of the data root's folder, as far as they lie in it."""
    folder = (site.root / FOLDER).resolve()
    found = sorted(folder.glob("*.pt")) if folder.is_relative_to(site.root.resolve()) else []
    return [path for path in found if path.is_file() and not path.is_symlink()][:OFFERED]


def _run_title(run: dict[str, Any]) -> str:
    fold = "all folds" if run["fold"] is None else f"without fold {run['fold']}"
    method = f", {run['adaptation']['method']}" if run.get("adaptation") else ""
    known = run["accuracy"]
    accuracy = "" if known is None else f", {100 * known:.0f} % on held-out phases"
    return f"{run['labels']} groups, {fold}{method}{accuracy} ({run['key'][:8]})"


def _ensemble_title(entry: dict[str, Any]) -> str:
    return f"{len(_sound(entry))} runs together, {entry['labels']} groups ({entry['key'][:8]})"


def _sound(entry: dict[str, Any]) -> list[str]:
    return [key for key in entry["members"] if key not in entry["collapsed"]]


@lru_cache(maxsize=2)
def _read(files: tuple[tuple[Path, str], ...], together: bool = False) -> AnyModel:
    """Models as one; the text beside each path reads it anew when the file has changed."""
    from ebsdsg_ml.ensemble import EnsembleError
    from ebsdsg_ml.ensemble_model import EnsembleModel, load_model
    from ebsdsg_ml.model_file import ModelFileError
    from ebsdsg_ml.pattern_model import PatternModel

    try:
        models = [load_model(path) for path, _ in files]
        if not together:
            return models[0]
        return EnsembleModel([model for model in models if isinstance(model, PatternModel)])
    except (ModelFileError, EnsembleError) as error:
        # the message names the path of the file, which is nobody's business here
        raise HTTPException(404, "the file of this model cannot be read") from error

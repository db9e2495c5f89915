"""Answers for experimental patterns at the terminal, and the models that give them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from ebsdsg_ml.ensemble_model import AnyModel
    from ebsdsg_ml.predict import Prediction, Predictions
    from stores.collections import Stores


class ModelNotFound(ValueError):
    """The model that is asked for is not there, or not finished."""


def find_model(name: str) -> AnyModel:
    """Model of a file, a campaign, a training run or an ensemble.

    Parameters
    ----------
    name : path of a model file; name of a campaign, whose final model is taken (all of them
        together where it has several); or key, or its first letters, of a training run or an
        ensemble in the database.

    Raises
    ------
    ModelNotFound
        If it is none of these, the beginning of several keys, or has no finished model, or all
        members of the ensemble have collapsed.
    ebsdsg_ml.model_file.ModelFileError
        If the file is damaged or of another kind.
    """
    from ebsdsg_ml.ensemble_model import EnsembleModel, load_model

    if Path(name).is_file():
        return load_model(name)
    if Path(name).suffix == ".pt" or "/" in name:
        raise ModelNotFound(f"no model file at {name}")
    from ebsdsg_flows.session import open_stores

    stores = open_stores()
    if stores.campaigns.count_documents({"key": name}):
        finals = _models(stores, _finals(stores, name))
        return finals[0] if len(finals) == 1 else EnsembleModel(finals)
    begins = {"key": {"$regex": f"^{re.escape(name)}"}}
    runs = list(stores.training_runs.find(begins, {"key": 1}).limit(2))
    ensembles = list(stores.ensembles.find(begins, {"key": 1}).limit(2))
    if len(runs) + len(ensembles) != 1:
        some = (
            "more than one training run or ensemble begins"
            if runs or ensembles
            else ("no file, campaign, training run or ensemble is called or begins")
        )
        raise ModelNotFound(
            f"{some} with {name!r}; list them: "
            "`ebsdsg query '{}' -c training_runs --fields key,labels,fold,accuracy`"
        )
    if runs:
        return load_model(_file_of_run(stores, runs[0]["key"]))
    found = stores.ensembles.find_one({"key": ensembles[0]["key"]}) or {}
    members = [key for key in found["members"] if key not in found["collapsed"]]
    if not members:
        raise ModelNotFound(
            f"all {len(found['members'])} members of the ensemble {found['key'][:12]} have "
            "collapsed (their answers leave out classes): none of them answers; train again, or "
            f"take one of them by its key: {', '.join(key[:8] for key in found['members'])}"
        )
    return EnsembleModel(_models(stores, members))


def _models(stores: Stores, keys: list[str]) -> list[Any]:
    from ebsdsg_ml.ensemble_model import load_model

    return [load_model(_file_of_run(stores, key)) for key in keys]


def _finals(stores: Stores, name: str) -> list[str]:
    """Keys of the final models of a campaign's last learning."""
    campaign = stores.campaigns.find_one({"key": name}) or {}
    mine = {"key": {"$in": campaign["training_runs"]}, "fold": None, "adaptation": None}
    runs = list(
        stores.training_runs.find({**mine, "state": "completed"}, {"key": True, "dataset": True})
        .sort("created", -1)
        .limit(campaign["parameters"].get("final_seeds", 1))
    )
    if not runs:
        raise ModelNotFound(
            f"campaign {name} has no finished final model: its file names one as `final_model`, "
            f"and `ebsdsg status {name}` says how far it is"
        )
    # a learning that is not through has fewer: those of the one before learned something else
    return [run["key"] for run in runs if run["dataset"] == runs[0]["dataset"]]


def _file_of_run(stores: Stores, key: str) -> Path:
    from ebsdsg_flows.settings import get_settings

    run = stores.training_runs.find_one({"key": key})
    checkpoint = (run or {}).get("checkpoint")
    path = get_settings().root / checkpoint["path"] if checkpoint else None
    if run is None or path is None or not path.is_file():
        state = run["state"] if run else "not in the database"
        raise ModelNotFound(f"training run {key} ({state}) has no model file")
    return path


def predict_files(
    paths: list[Path],
    model: str | None,
    *,
    grain: str | None = None,
    dependence: float = 1.0,
    group: str | None = None,
    correct: bool = False,
    outputs: tuple[Path, ...] = (),
    picture: Path | None = None,
) -> int:
    """Answer for the patterns of files, print a table and write what is asked for.

    Parameters
    ----------
    paths : files and folders.
    model : see :func:`find_model`.
    grain, dependence, group, correct : see :func:`ebsdsg_ml.predict.predict`.
    outputs : files to write the answers to, by suffix; none is touched without an answer.
    picture : PNG file to draw, likewise.

    Returns
    -------
    Exit code: 1 if a file could not be used, or there was nothing to answer.

    Raises
    ------
    ModelNotFound
        If no model is named, or there is none of that name.
    ebsdsg_ml.grains.PredictionError
        If a file to write has a suffix that is not known; before anything is computed.
    """
    import sys

    import torch
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    from ebsdsg_flows.settings import get_settings
    from ebsdsg_ml.answer_files import (
        answer_picture,
        check_picture_suffix,
        check_suffix,
        plain_card,
        write_answers,
        write_picture,
    )
    from ebsdsg_ml.predict import predict

    if model is None:
        raise ModelNotFound(
            "say which model: --model with a model file, a campaign, or the key of a training run "
            "or ensemble"
        )
    for path in outputs:
        check_suffix(path)
    if picture is not None:
        check_picture_suffix(picture)
    torch.set_num_threads(get_settings().threads)
    loaded = find_model(model)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def tell(done: int, total: int, name: str) -> None:
            bar.update(task, description=escape(name), completed=done, total=total)

        found = predict(
            loaded,
            paths,
            grain=grain,
            dependence=dependence,
            group=group,
            correct=correct,
            progress=tell,
        )
    _print_answers(loaded, found)
    if found.answers:
        about = {"model": model, "card": plain_card(loaded.card), "errors": found.errors}
        for path in outputs:
            print(f"wrote {write_answers(path, found.answers, about)}")
        if picture is not None:
            title = f"{loaded.card.label} space groups, {loaded.card.model}"
            print(f"wrote {write_picture(picture, answer_picture(found.answers, title))}")
    for error in found.errors:
        print(f"error: {' '.join(error.split())}", file=sys.stderr)
    if not found.answers:
        print("error: there was no pattern to answer, nothing was written", file=sys.stderr)
    return 1 if found.errors or not found.answers else 0


def _print_answers(model: AnyModel, found: Predictions) -> None:
    from rich.console import Console

    from ebsdsg_ml.calibration import percent

    if not found.answers:
        return
    known = model.card.calibration
    console = Console(markup=False)  # names of files may hold square brackets
    if console.width >= 66:
        # where not all probabilities have room, the files have them
        console.print(_table(model, found, wide=console.width >= 65 + 9 * len(model.classes)))
    else:  # a table would cut its columns
        for answer in found.answers:
            print(
                f"{answer.name}: {answer.space_group}, p {answer.probability:.2f}, "
                f"set {_set(answer)}, {answer.verdict}, IQ {answer.image_quality:.2f}"
            )
    if known is None or known.coverage is None:
        console.print("the model is not calibrated: probabilities are the network's own, no sets")
        return
    console.print(
        f"sets hold the right group of a pattern of a new phase with probability "
        f"{percent(known.coverage)} where patterns are like those of the calibration "
        f"({known.n_phases} phases, {known.fitted_on}); for other detectors or pooled patterns "
        "nothing is promised",
        highlight=False,
    )
    for limit in known.limits():
        console.print(limit, highlight=False)


def _set(answer: Prediction) -> str:
    return "?" if answer.in_set is None else " ".join(map(str, answer.in_set)) or "empty"


def _table(model: AnyModel, found: Predictions, *, wide: bool) -> Table:
    from rich.table import Table

    pooled = any(answer.patterns > 1 for answer in found.answers)
    table = Table(title=f"{model.card.label} space groups, {model.card.model}")
    table.add_column("pattern", overflow="fold", min_width=12)
    if pooled:
        table.add_column("n", justify="right")
    table.add_column("group", justify="right", no_wrap=True)
    for name in [f"p({number})" for number in model.classes] if wide else ["p"]:
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("set", "verdict", "IQ", "near"):
        table.add_column(name, no_wrap=name in ("verdict", "IQ"))
    for answer in found.answers:
        shares = answer.probabilities.values() if wide else [answer.probability]
        table.add_row(
            answer.name,
            *([str(answer.patterns)] if pooled else []),
            str(answer.space_group),
            *(f"{p:.2f}" for p in shares),
            _set(answer),
            answer.verdict,
            f"{answer.image_quality:.2f}",
            " ".join(map(str, answer.confusable)),
        )
    return table

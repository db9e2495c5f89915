"""Training runs: curves, confusion down to single patterns, and runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

from ebsdsg_flows.figures.training import training_figures
from ebsdsg_flows.web.accuracies import with_accuracies
from ebsdsg_flows.web.answers import answers_of, cell_patterns, cell_phases, pattern_png
from ebsdsg_flows.web.figures import Drawn, drawn, run_figures
from ebsdsg_flows.web.pictures import HashKey
from ebsdsg_flows.web.recent import Made
from ebsdsg_flows.web.site import PAGE, Site
from stores.documents import PredictionDocument

if TYPE_CHECKING:
    from ebsdsg_ml.evaluate import Evaluation

SIDE_BY_SIDE = 8
"""Runs in one picture: as many as there are colours."""

DRAWN = 100
"""Runs whose figures are kept; they take 50 kB each, and half a second to make."""

PHASES_SHOWN = 200
"""Phases in the table of a run, the worst."""

GALLERY = 24
"""Patterns of a cell of the confusion matrix shown at once."""

FOLDS_LINKED = 20

LISTED = ("key", "labels", "fold", "state", "accuracy", "dataset", "started", "finished",
          "adaptation.method", "failure.message", "progress")  # fmt: skip
Group = Annotated[int, Query(ge=1, le=230)]


def router(site: Site) -> APIRouter:
    """Pages of the training runs.

    Parameters
    ----------
    site : that they belong to.
    """
    pages = APIRouter()
    made: Made[list[Drawn]] = Made(DRAWN)

    @pages.get("/training")
    def runs(request: Request, page: Annotated[int, Query(ge=1, le=100_000)] = 1) -> Response:
        found = site.stores.training_runs.find({}, {"_id": False, **dict.fromkeys(LISTED, True)})
        rows = list(found.sort("started", -1).skip((page - 1) * PAGE).limit(PAGE + 1))
        shown = with_accuracies(site.stores, rows[:PAGE])
        return site.page(request, "training", runs=shown, more=len(rows) > PAGE, number=page)

    @pages.get("/training/compare")
    def compare(
        request: Request,
        run: Annotated[list[str] | None, Query()] = None,
    ) -> Response:
        if not run or len(run) > SIDE_BY_SIDE:
            raise HTTPException(422, f"Choose 1 to {SIDE_BY_SIDE} runs to put side by side.")
        documents = with_accuracies(site.stores, [_run(site, key) for key in run])
        return site.page(
            request,
            "training_compare",
            runs=documents,
            figures=[drawn(figure) for figure in training_figures(documents)],
            of=_percent,
        )

    @pages.get("/training/{key}")
    def run(request: Request, key: str) -> Response:
        document = _run(site, key)
        prediction = _prediction(site, document)
        matrix = _matrix(document, prediction)
        return site.page(
            request,
            "training_run",
            run=with_accuracies(site.stores, [document])[0],
            folds=_folds(site, document),
            confusion=None if matrix is None else _shares(matrix),
            clickable=prediction is not None,
            phases_shown=PHASES_SHOWN,
            of=_percent,
        )

    @pages.get("/training/{key}/figures")
    def figures(request: Request, key: str) -> Response:
        document = _run(site, key)
        prediction = _prediction(site, document)
        found = made.get(
            _version(document, prediction),
            lambda: run_figures(
                site.stores,
                document,
                _matrix(document, prediction),
                _answers_file(site, document, prediction),
            ),
        )
        return site.page(request, "training_figures", figures=found)

    @pages.get("/training/{key}/confusion")
    def cell(
        request: Request,
        key: str,
        true: Group,
        predicted: Group,
        phase: Annotated[str, Query(max_length=200)] = "",
        page: Annotated[int, Query(ge=1, le=100_000)] = 1,
    ) -> Response:
        document = _run(site, key)
        answers = _answers(site, document)
        if true not in answers.classes or predicted not in answers.classes:
            raise HTTPException(404, f"this run tells apart {answers.classes}")
        patterns = cell_patterns(answers, true, predicted, phase or None)
        first = (page - 1) * GALLERY
        return site.page(
            request,
            "training_cell",
            run=document,
            truth=true,
            predicted=predicted,
            phases=cell_phases(answers, true, predicted),
            phase=phase,
            patterns=patterns[first : first + GALLERY],
            total=len(patterns),
            more=len(patterns) > first + GALLERY,
            number=page,
        )

    @pages.get("/datasets/{key}/patterns/{row}.png")
    def pattern(request: Request, key: HashKey, row: int) -> Response:
        dataset = site.stores.datasets.find_one({"key": key}, {"file": True})
        if dataset is None:
            raise HTTPException(404, "there is no such data set")
        drawn = pattern_png(site.file(dataset["file"]), row)
        headers = {"Cache-Control": "private, max-age=3600"}
        return Response(drawn, media_type="image/png", headers=headers)

    return pages


def _percent(part: float | None) -> str:
    return "–" if part is None else f"{100 * part:.1f} %"


def _run(site: Site, key: str) -> dict[str, Any]:
    found = site.stores.training_runs.find_one({"key": key}, {"_id": False})
    if found is None:
        raise HTTPException(404, f"there is no training run {key!r}")
    return found


def _folds(site: Site, run: dict[str, Any]) -> list[dict[str, Any]]:
    """Runs of the same kind that held a fold of the data set out, for one that held out none."""
    if run["fold"] is not None:
        return []
    method = (run.get("adaptation") or {}).get("method")
    same = {"dataset": run["dataset"], "labels": run["labels"], "adaptation.method": method}
    found = site.stores.training_runs.find(
        {**same, "fold": {"$ne": None}}, {"_id": False, "key": True, "fold": True}
    )
    return list(found.sort("fold", 1).limit(FOLDS_LINKED))


def _prediction(site: Site, run: dict[str, Any]) -> dict[str, Any] | None:
    """Answers of a run for the fold that it did not see, if it was evaluated."""
    key = PredictionDocument.key_of(run["key"], run["dataset"])
    return site.stores.predictions.find_one({"key": key}, {"_id": False})


def _answers(site: Site, run: dict[str, Any]) -> Evaluation:
    prediction = _prediction(site, run)
    dataset = site.stores.datasets.find_one({"key": run["dataset"]}, {"file": True})
    if prediction is None or dataset is None:
        raise HTTPException(404, "this run has not been evaluated pattern by pattern")
    files = site.file(prediction["file"]), site.file(dataset["file"])
    return answers_of(*files, held_out=run["fold"] is not None)


def _matrix(run: dict[str, Any], prediction: dict[str, Any] | None) -> dict[str, Any] | None:
    """Confusion matrix: that of the evaluation where there is one, because its cells lead to
    patterns, else the last of the training.
    """
    if prediction is not None:
        summary = prediction["summary"]
        classes = [row["class"] for row in summary["by_class"]]
        return {"classes": classes, "counts": summary["confusion"]}
    return list(run["confusion"].values())[-1] if run["confusion"] else None


def _shares(matrix: dict[str, Any]) -> dict[str, Any]:
    """Confusion matrix with the share of the true class in every cell."""
    classes, rows = matrix["classes"], []
    for true, line in zip(classes, matrix["counts"], strict=True):
        total = sum(line)
        cells = [
            {"predicted": c, "n": n, "share": n / total if total else 0.0}
            for c, n in zip(classes, line, strict=True)
        ]
        rows.append({"true": true, "total": total, "cells": cells})
    return {"classes": classes, "rows": rows}


def _version(run: dict[str, Any], prediction: dict[str, Any] | None) -> tuple[object, ...]:
    """Changes when the figures of a run do."""
    entries = ("key", "last_updated", "state", "accuracy")
    lengths = (len(run["epochs"]), len(run["per_phase"]), len(run["calibration"]))
    evaluated = prediction and prediction["file"]["sha256"]
    return (*(run[entry] for entry in entries), *lengths, evaluated)


def _answers_file(
    site: Site, run: dict[str, Any], prediction: dict[str, Any] | None
) -> Path | None:
    """Answers of a run for the fold that it did not see; ``None`` if there are none."""
    if prediction is None or run["fold"] is None:
        return None
    try:
        return site.file(prediction["file"])
    except HTTPException:
        return None  # it is gone; the rest of the page does not need it

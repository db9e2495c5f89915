"""The answers of a run, pattern by pattern: from a cell of its confusion matrix to pictures."""

from __future__ import annotations

import io
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import HTTPException

from ebsdsg_flows.kept_answers import read_answers

if TYPE_CHECKING:
    from ebsdsg_ml.evaluate import Evaluation

PIXELS = 192
"""Pixels per side of a pattern's picture, about."""


@lru_cache(maxsize=8)
def answers_of(path: Path, dataset: Path, *, held_out: bool) -> Evaluation:
    """Answers of a run, for a page; see :func:`ebsdsg_flows.kept_answers.read_answers`.

    Raises
    ------
    HTTPException
        404 if a file cannot be read or they do not belong together.
    """
    from ebsdsg_ml.datasets import DatasetError

    try:
        return read_answers(path, dataset, held_out=held_out)
    except (DatasetError, OSError, ValueError, KeyError, IndexError) as error:
        raise HTTPException(404, "the answers of this run cannot be read") from error


def cell_phases(answers: Evaluation, true: int, predicted: int) -> list[dict[str, Any]]:
    """Phases of a class with patterns taken for another one, most patterns first.

    Parameters
    ----------
    answers : of a run.
    true, predicted : space-group numbers of the cell.
    """
    of_class = answers.truth == answers.classes.index(true)
    totals = Counter(answers.phase[of_class].tolist())
    in_cell = Counter(answers.phase[_cell(answers, true, predicted)].tolist())
    return [
        {**_names(answers, i), "n": n, "total": totals[i]}
        for i, n in sorted(in_cell.items(), key=lambda item: (-item[1], item[0]))
    ]


def cell_patterns(
    answers: Evaluation, true: int, predicted: int, phase: str | None
) -> list[dict[str, Any]]:
    """Patterns of a cell: row of the data set, material id and formula.

    Parameters
    ----------
    answers : of a run.
    true, predicted : space-group numbers of the cell.
    phase : only those of this material; ``None`` for all.
    """
    found = [
        {"row": int(answers.rows[i]), **_names(answers, answers.phase[i])}
        for i in np.flatnonzero(_cell(answers, true, predicted))
    ]
    return [entry for entry in found if phase in (None, entry["material_id"])]


def _names(answers: Evaluation, phase: int) -> dict[str, str]:
    return {"material_id": answers.phases[phase], "formula": answers.formulas[phase]}


def _cell(answers: Evaluation, true: int, predicted: int) -> np.ndarray:
    at = answers.classes.index
    return (answers.truth == at(true)) & (answers.predicted == at(predicted))


def pattern_png(dataset: Path, row: int) -> bytes:
    """Picture of one stored pattern, its pixels enlarged.

    Parameters
    ----------
    dataset : file of the data set.
    row : of the data set.

    Raises
    ------
    HTTPException
        404 if there is no such pattern, or the data set makes its patterns on the fly.
    """
    from PIL import Image

    from ebsdsg_ml.dataset_file import open_dataset
    from ebsdsg_ml.datasets import DatasetError

    try:
        with open_dataset(dataset) as opened:
            if opened.patterns is None:
                raise HTTPException(404, "this data set makes its patterns on the fly")
            if not 0 <= row < len(opened):
                raise HTTPException(404, f"this data set has {len(opened)} patterns")
            values = np.asarray(opened.patterns[row])
    except DatasetError as error:
        raise HTTPException(404, "the data set cannot be read") from error
    image = Image.fromarray(values)
    times = max(1, PIXELS // image.width)
    buffer = io.BytesIO()
    image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST).save(
        buffer, format="PNG"
    )
    return buffer.getvalue()

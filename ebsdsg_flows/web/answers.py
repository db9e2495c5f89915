"""The answers of a run, pattern by pattern: from a cell of its confusion matrix to pictures."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import HTTPException

PIXELS = 192
"""Pixels per side of a pattern's picture, about."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a run said of every pattern of a fold.

    Parameters
    ----------
    classes : space-group numbers.
    rows : (n,) rows of the data set.
    truth, predicted : (n,) positions in `classes`.
    phase : (n,) rows of `table`.
    table : the data set's phases: material id and formula.
    """

    classes: tuple[int, ...]
    rows: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    phase: np.ndarray
    table: tuple[tuple[str, str], ...]

    def phases(self, true: int, predicted: int) -> list[dict[str, Any]]:
        """Phases of a class with patterns taken for another one, most patterns first.

        Parameters
        ----------
        true, predicted : space-group numbers of the cell.
        """
        of_class = self.truth == self.classes.index(true)
        totals = Counter(self.phase[of_class].tolist())
        in_cell = Counter(self.phase[self._cell(true, predicted)].tolist())
        return [
            {"material_id": self.table[i][0], "formula": self.table[i][1], "n": n,
             "total": totals[i]}
            for i, n in sorted(in_cell.items(), key=lambda item: (-item[1], item[0]))
        ]  # fmt: skip

    def patterns(self, true: int, predicted: int, phase: str | None) -> list[dict[str, Any]]:
        """Patterns of a cell: row of the data set, material id and formula.

        Parameters
        ----------
        true, predicted : space-group numbers of the cell.
        phase : only those of this material; ``None`` for all.
        """
        chosen = np.flatnonzero(self._cell(true, predicted))
        found = [
            {"row": int(self.rows[i]), "material_id": self.table[self.phase[i]][0],
             "formula": self.table[self.phase[i]][1]}
            for i in chosen
        ]  # fmt: skip
        return [entry for entry in found if phase in (None, entry["material_id"])]

    def _cell(self, true: int, predicted: int) -> np.ndarray:
        at = self.classes.index
        return (self.truth == at(true)) & (self.predicted == at(predicted))


@lru_cache(maxsize=8)
def read_answers(path: Path, dataset: Path) -> Answers:
    """Read the answers of a run.

    Parameters
    ----------
    path : file that :func:`ebsdsg_flows.evaluation.evaluate_folds` wrote.
    dataset : file of the data set that they are about.

    Raises
    ------
    HTTPException
        404 if a file cannot be read or they do not belong together.
    """
    from ebsdsg_ml.dataset_file import open_dataset
    from ebsdsg_ml.datasets import DatasetError

    try:
        with np.load(path, allow_pickle=False) as answers:
            rows, truth, logits = answers["rows"], answers["truth"], answers["logits"]
        with open_dataset(dataset) as opened:
            phase = opened.phase[rows]
            table = tuple((str(row["id"]), str(row["formula"])) for row in opened.phases)
            classes = tuple(opened.recipe.class_numbers)
    except (DatasetError, OSError, ValueError, KeyError, IndexError) as error:
        raise HTTPException(404, "the answers of this run cannot be read") from error
    return Answers(classes, rows, truth, logits.argmax(axis=1), phase, table)


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

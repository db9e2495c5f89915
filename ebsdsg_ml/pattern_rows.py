"""Which patterns of a data set a reader gives: those of some folds and sets, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ebsdsg_ml.dataset_file import OpenDataset
from ebsdsg_ml.pattern_source import DatasetError
from ebsdsg_ml.splits import TEST


class PatternRows:
    """What a reader of stored patterns and a maker of fresh ones have in common.

    Parameters
    ----------
    opened : data set.
    folds : a fold, several, :data:`ebsdsg_ml.splits.TEST` for the test set, or None for all folds
        (never the test set).
    training : whether the patterns are to be trained on.  Sets of Debye-Waller factors other than
        the first are for training only, and left out otherwise.

    Attributes
    ----------
    path : of the data set.
    recipe, classes, content_sha256, phases : of the data set.
    folds : the folds, ascending.
    rows : (n,) rows of the data set, ascending.
    labels : (n,) position of every pattern's label in `classes`.
    phase_rows : (n,) row of every pattern in the table of phases.

    Raises
    ------
    DatasetError
        If a fold is not there, or there is no pattern in the folds.
    """

    def __init__(
        self, opened: OpenDataset, folds: int | Iterable[int] | None, training: bool
    ) -> None:
        self.path: Path = opened.path
        self.recipe = opened.recipe
        self.classes = opened.recipe.class_numbers
        self.content_sha256 = opened.content_sha256
        self.phases: list[dict[str, Any]] = opened.phases
        present = range(self.recipe.n_folds)
        if folds is None:
            self.folds = tuple(present)
        else:
            self.folds = (folds,) if isinstance(folds, int) else tuple(sorted(set(folds)))
        absent = sorted(set(self.folds) - {*present, *([TEST] if self.recipe.test else [])})
        if absent:
            raise DatasetError(
                f"fold(s) {absent} not in {self.path}: it has folds 0 to {self.recipe.n_folds - 1}"
                f" and {'the' if self.recipe.test else 'no'} test set ({TEST})"
            )
        chosen = np.isin(opened.fold, self.folds)
        if not training:
            tested = [row["set"] == self.recipe.sets[0] for row in self.phases]
            chosen &= np.array(tested)[opened.phase]
        self.rows = np.flatnonzero(chosen)
        if not self.rows.size:
            raise DatasetError(f"no patterns in fold(s) {list(self.folds)} of {self.path}")
        self.labels = opened.class_index[self.rows]
        self.phase_rows = opened.phase[self.rows]
        self.numbers = opened.number[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

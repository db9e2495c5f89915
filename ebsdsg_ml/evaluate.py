"""A trained model against patterns it has not seen: answers, then tables.

Cross-validation is :func:`evaluate` once per fold with that fold's model, then :func:`join`: every
pattern is answered exactly once, by a model that never saw its phase.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ebsdsg_ml.datasets import Progress
from ebsdsg_ml.ensemble_model import AnyModel
from ebsdsg_ml.metrics import (
    Accuracy,
    class_accuracies,
    confusion_matrix,
    overall_accuracy,
    phase_accuracies,
)
from ebsdsg_ml.pattern_dataset import open_patterns


class EvaluationError(ValueError):
    """Model and data set, or several evaluations, do not belong together."""


@dataclass(frozen=True)
class Evaluation:
    """Answers for the patterns of one data set.

    Parameters
    ----------
    classes : space-group numbers, (c,).
    label : kind of label.
    dataset_sha256 : digest of the data set's content.
    rows : (n,) rows of the data set.
    truth : (n,) class indices.
    logits : (n, c) outputs of the network, at no temperature.
    phase : (n,) index of the pattern's phase in `phases`.
    phases, formulas : ids and formulas of all phases of the data set.
    phase_folds : fold of each of them, -1 in a test set.
    held_out : True if no model was trained on a phase that it answered for.
    """

    classes: tuple[int, ...]
    label: str
    dataset_sha256: str
    rows: np.ndarray
    truth: np.ndarray
    logits: np.ndarray
    phase: np.ndarray
    phases: tuple[str, ...]
    formulas: tuple[str, ...]
    phase_folds: tuple[int, ...]
    held_out: bool

    @property
    def predicted(self) -> np.ndarray:
        """(n,) index of the most probable class."""
        return self.logits.argmax(axis=1)

    @property
    def fold(self) -> np.ndarray:
        """(n,) fold of every pattern."""
        return np.asarray(self.phase_folds)[self.phase]

    @property
    def confusion(self) -> np.ndarray:
        """(c, c) counts; rows are true classes."""
        return confusion_matrix(self.truth, self.predicted, len(self.classes))

    @property
    def accuracy(self) -> Accuracy:
        """Over all patterns."""
        return overall_accuracy(self.confusion)

    def by_class(self) -> list[dict[str, Any]]:
        """One row per class; see :func:`ebsdsg_ml.metrics.class_accuracies`."""
        return class_accuracies(self.confusion, self.classes)

    def by_phase(self) -> list[dict[str, Any]]:
        """One row per phase, with its formula; see :func:`ebsdsg_ml.metrics.phase_accuracies`."""
        formula = dict(zip(self.phases, self.formulas, strict=True))
        rows = phase_accuracies(self.phase, self.truth, self.predicted, self.phases, self.classes)
        return [{**row, "formula": formula[row["phase"]]} for row in rows]

    def to_dict(self) -> dict[str, Any]:
        """Tables as plain JSON types, for a document; no arrays."""
        return {
            "classes": list(self.classes),
            "label": self.label,
            "dataset_sha256": self.dataset_sha256,
            "held_out": self.held_out,
            "n_patterns": len(self.rows),
            "accuracy": self.accuracy.to_dict(),
            "confusion": self.confusion.tolist(),
            "by_class": self.by_class(),
            "by_phase": self.by_phase(),
        }


def evaluate(
    model: AnyModel,
    dataset_path: str | Path,
    folds: int | Iterable[int] | None = None,
    *,
    batch: int = 256,
    progress: Progress | None = None,
) -> Evaluation:
    """Let a model answer for the patterns of some folds.

    Parameters
    ----------
    model : the model.
    dataset_path : data set.
    folds : a fold, several, or None for all.
    batch : patterns read and computed at once.
    progress : told after every batch.

    Raises
    ------
    EvaluationError
        If the model tells other classes apart than the data set has, or another kind of label.
    DatasetError, TransformError
        If the data set is unusable, or its patterns have another size than the model's.
    """
    patterns = open_patterns(dataset_path, folds)
    card = model.card
    if card.classes != patterns.classes or card.label != patterns.recipe.label:
        raise EvaluationError(
            f"the model knows the {card.label} groups {card.classes}; {dataset_path} has the "
            f"{patterns.recipe.label} groups {patterns.classes}"
        )
    parts = []
    for start in range(0, len(patterns), batch):
        stop = min(start + batch, len(patterns))
        parts.append(model.logits(patterns.read(np.arange(start, stop))).numpy())
        if progress is not None:
            progress(stop, len(patterns), "patterns")
    answered = {row["id"] for row in patterns.phases if row["fold"] in patterns.folds}
    trained = card.training.get("phases")
    return Evaluation(
        classes=patterns.classes,
        label=patterns.recipe.label,
        dataset_sha256=patterns.content_sha256,
        rows=patterns.rows,
        truth=patterns.labels,
        logits=np.concatenate(parts),
        phase=patterns.phase_rows,
        phases=tuple(row["id"] for row in patterns.phases),
        formulas=tuple(row["formula"] for row in patterns.phases),
        phase_folds=tuple(row["fold"] for row in patterns.phases),
        held_out=trained is not None and answered.isdisjoint(trained),
    )


def join(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Join the folds of a cross-validation to one evaluation.

    Parameters
    ----------
    evaluations : of one data set, no pattern in two of them.

    Raises
    ------
    EvaluationError
        If there is none, they are of different data sets, or a pattern is answered twice.
    """
    if not evaluations:
        raise EvaluationError("no evaluation to join")
    first = evaluations[0]
    if any(e.dataset_sha256 != first.dataset_sha256 for e in evaluations):
        raise EvaluationError("evaluations of different data sets cannot be joined")
    rows = np.concatenate([e.rows for e in evaluations])
    if len(np.unique(rows)) != len(rows):
        raise EvaluationError("a pattern is answered in more than one evaluation")
    order = np.argsort(rows)
    return Evaluation(
        classes=first.classes,
        label=first.label,
        dataset_sha256=first.dataset_sha256,
        rows=rows[order],
        truth=np.concatenate([e.truth for e in evaluations])[order],
        logits=np.concatenate([e.logits for e in evaluations])[order],
        phase=np.concatenate([e.phase for e in evaluations])[order],
        phases=first.phases,
        formulas=first.formulas,
        phase_folds=first.phase_folds,
        held_out=all(e.held_out for e in evaluations),
    )

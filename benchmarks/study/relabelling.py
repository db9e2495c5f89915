"""Part A: the same patterns with true and with relabelled groups, cross-validated by phase.

One cell is one label and one fold: a ResNet18 learns from four folds and answers for the phases of
the fifth.  It is asked about patterns of its own orientations, the same for both labels, as many of
every phase.  A cell that is finished is a JSON file.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ebsdsg_ml.dataset_file import open_dataset
from ebsdsg_ml.datasets import build_dataset
from ebsdsg_ml.ensemble import t_interval
from ebsdsg_ml.orientations import pattern_orientations
from ebsdsg_ml.pattern_source import PatternSource
from ebsdsg_ml.protocol import TrainingConfig
from ebsdsg_ml.recipe import DatasetRecipe, LabelKind
from ebsdsg_sim.atomic_file import write_atomically
from ebsdsg_sim.subgroups import explains, maximal_k_subgroups

CLASSES = (221, 223, 225, 227, 229)
LABELS: tuple[LabelKind, ...] = ("true", "relabelled")


@dataclass(frozen=True)
class Protocol:
    """Sizes of the study.

    Parameters
    ----------
    size : pixels along one side.
    patterns_per_class : of every class over all folds; exact, as in the paper.
    n_folds : phase-disjoint folds.
    test_patterns : of every held-out phase, for the answers.
    seed : of folds, orientations and networks.
    training : settings of the networks.
    """

    size: int
    patterns_per_class: int
    n_folds: int
    test_patterns: int
    seed: int
    training: TrainingConfig

    def recipe(self, label: LabelKind) -> DatasetRecipe:
        """Recipe of the data set with a label."""
        return DatasetRecipe(
            label=label,
            classes=CLASSES,
            patterns_per_class=self.patterns_per_class,
            size=self.size,
            n_folds=self.n_folds,
            seed=self.seed,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**self.__dict__, "training": self.training.to_dict()}


def test_patterns(protocol: Protocol, sources: Sequence[PatternSource], path: Path) -> np.ndarray:
    """Patterns that the networks are asked about, kept in a file.

    Parameters
    ----------
    protocol, sources : of the study.
    path : .npy file.

    Returns
    -------
    (phases, test_patterns, size, size) uint8, in the order of the sources.
    """
    if path.exists():
        return np.load(path, allow_pickle=False)
    from ebsdsg_ml.simulated_patterns import detected, recipe_projector

    recipe = protocol.recipe("true")
    stack = []
    for source in sources:
        # orientations that no training pattern has
        turns = pattern_orientations(
            protocol.seed, f"{source.phase} asked", range(protocol.test_patterns)
        )
        projector = recipe_projector(recipe, source, source.phase)
        made = detected(projector, turns, None, protocol.seed, range(protocol.test_patterns))
        stack.append(made.numpy())
    patterns = np.stack(stack)
    buffer = io.BytesIO()
    np.save(buffer, patterns)
    write_atomically(path, buffer.getbuffer())
    return patterns


def run_cell(
    protocol: Protocol,
    label: LabelKind,
    fold: int,
    sources: Sequence[PatternSource],
    folder: Path,
) -> dict[str, Any]:
    """One network and its answers, or those of an earlier start.

    Parameters
    ----------
    protocol, label, fold, sources : what to do.
    folder : of the study.

    Returns
    -------
    ``answers`` (phase -> number of answers by class, in the order of :data:`CLASSES`) of the
    held-out phases, the training's accuracies and times.
    """
    cell = folder / f"{label}-{fold}.json"
    if cell.exists():
        return json.loads(cell.read_text())
    import torch

    from ebsdsg_ml.pattern_model import PatternModel
    from ebsdsg_ml.training import train

    torch.set_num_threads(1)
    dataset = folder / f"{label}.h5"
    started = time.process_time()
    if not dataset.exists():
        build_dataset(protocol.recipe(label), sources, dataset, compression=None)
    projected = time.process_time() - started
    asked = test_patterns(protocol, sources, folder / "asked.npy")
    with open_dataset(dataset) as opened:
        folds = {row["id"]: row["fold"] for row in opened.phases}
    started = time.process_time()
    config = replace(protocol.training, seed=protocol.seed + fold)
    result = train(
        config, dataset, folder / f"run-{label}-{fold}", validation_fold=fold, device="cpu"
    )
    trained = time.process_time() - started
    model = PatternModel.load(result.model_path)
    answers = {}
    for source, patterns in zip(sources, asked, strict=True):
        if folds[source.phase] == fold:
            given = model.logits(patterns).argmax(dim=1).numpy()
            answers[source.phase] = np.bincount(given, minlength=len(CLASSES)).tolist()
    values = {
        "label": label,
        "fold": fold,
        "answers": answers,
        "validation_accuracy": result.validation_accuracy,
        "last_accuracy": result.history[-1]["validation_accuracy"],
        "training_accuracy": result.history[-1]["train_accuracy"],
        "best_epoch": result.best_epoch,
        "n_training": result.n_training,
        "precision": result.precision,
        "projection_cpu_seconds": projected,
        "training_cpu_seconds": trained,
        "seconds": result.seconds,
    }
    write_atomically(cell, json.dumps(values, indent=1).encode())
    return values


# -- from answers to tables ------------------------------------------------------------------


def confusion(answers: Mapping[str, Sequence[int]], labels: Mapping[str, int]) -> np.ndarray:
    """Confusion matrix of the answers.

    Parameters
    ----------
    answers : phase -> number of answers by class.
    labels : phase -> space group.

    Returns
    -------
    (5, 5) counts; rows are true classes.
    """
    matrix = np.zeros((len(CLASSES), len(CLASSES)), dtype=int)
    for phase, counts in answers.items():
        matrix[CLASSES.index(labels[phase])] += np.asarray(counts, dtype=int)
    return matrix


def balanced(matrix: np.ndarray) -> float:
    """Mean of the classes' accuracies: every class counts alike, as in the paper's data sets."""
    return float(np.mean(np.diag(matrix) / matrix.sum(axis=1)))


def phase_bootstrap(
    answers: Mapping[str, Sequence[int]],
    labels: Mapping[str, int],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % interval of the balanced accuracy, the phases of every class drawn anew.

    Patterns of one phase succeed or fail together, so the phases are what is drawn, not the
    patterns (a cluster bootstrap; B. Efron, R. Tibshirani, *An Introduction to the Bootstrap*,
    1993, percentile interval).

    Returns
    -------
    Lower and upper limit.
    """
    rng = np.random.default_rng(seed)
    means = np.zeros(draws)
    for column, group in enumerate(CLASSES):
        share = np.array(
            [
                counts[column] / sum(counts)
                for phase, counts in answers.items()
                if labels[phase] == group
            ]
        )
        means += share[rng.integers(len(share), size=(draws, len(share)))].mean(axis=1)
    low, high = np.percentile(means / len(CLASSES), (2.5, 97.5))
    return float(low), float(high)


def joined_groups() -> set[frozenset[int]]:
    """Pairs of the five classes of which one is a maximal *klassen*-subgroup of the other."""
    return {
        frozenset((group, step.subgroup))
        for group in CLASSES
        for step in maximal_k_subgroups(group)
        if step.subgroup in CLASSES and step.subgroup != group
    }


def allowed_share(matrix: np.ndarray) -> dict[str, float | int]:
    """How many of the confusions the subgroup graph allows.

    Parameters
    ----------
    matrix : (5, 5) counts; rows are true classes.

    Returns
    -------
    ``confusions`` (number), ``joined`` (share between groups that one step of the graph joins,
    either way), ``joined_by_chance`` (the same if every wrong class were as likely), ``supergroup``
    (share whose answer is a supergroup of the truth by an index of at most 8) and
    ``supergroup_by_chance``.
    """
    joined = joined_groups()
    n = len(CLASSES)
    near = np.array([[frozenset((a, b)) in joined for b in CLASSES] for a in CLASSES])
    above = np.array([[a != b and explains(a, b) is not None for b in CLASSES] for a in CLASSES])
    wrong = matrix * (1 - np.eye(n, dtype=int))
    total = int(wrong.sum())
    rows = wrong.sum(axis=1)

    def share(mask: np.ndarray) -> float:
        return float(wrong[mask].sum() / total) if total else float("nan")

    def chance(mask: np.ndarray) -> float:
        return float((rows * mask.sum(axis=1) / (n - 1)).sum() / total) if total else float("nan")

    return {
        "confusions": total,
        "joined": share(near),
        "joined_by_chance": chance(near),
        "supergroup": share(above),
        "supergroup_by_chance": chance(above),
    }


def summary(
    cells: Iterable[Mapping[str, Any]], labels: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    """Tables of the study from its cells.

    Parameters
    ----------
    cells : of :func:`run_cell`; all folds of a label.
    labels : kind of label -> phase -> space group.

    Returns
    -------
    By kind of label: ``balanced`` and ``per_pattern`` accuracy, ``folds`` (balanced accuracy of
    each), ``interval`` (over folds, Student), ``bootstrap`` (over phases), ``confusion``,
    ``allowed``, ``by_class``, ``phases`` (accuracy of each), and the networks' own numbers.
    """
    cells = list(cells)
    out: dict[str, Any] = {}
    for label in LABELS:
        mine = sorted((c for c in cells if c["label"] == label), key=lambda c: c["fold"])
        if not mine:
            continue
        truth = labels[label]
        answers = {phase: counts for cell in mine for phase, counts in cell["answers"].items()}
        matrix = confusion(answers, truth)
        folds = [balanced(confusion(cell["answers"], truth)) for cell in mine]
        out[label] = {
            "balanced": balanced(matrix),
            "per_pattern": float(np.trace(matrix) / matrix.sum()),
            "folds": folds,
            "interval": t_interval(folds).to_dict(),
            "bootstrap": phase_bootstrap(answers, truth),
            "confusion": matrix.tolist(),
            "allowed": allowed_share(matrix),
            "by_class": [float(v) for v in np.diag(matrix) / matrix.sum(axis=1)],
            "phases": {
                phase: counts[CLASSES.index(truth[phase])] / sum(counts)
                for phase, counts in answers.items()
            },
            "n_phases": [sum(truth[p] == group for p in answers) for group in CLASSES],
            **{
                name: [cell[name] for cell in mine]
                for name in (
                    "validation_accuracy",
                    "last_accuracy",
                    "training_accuracy",
                    "best_epoch",
                    "n_training",
                    "training_cpu_seconds",
                    "projection_cpu_seconds",
                )
            },
        }
    return out

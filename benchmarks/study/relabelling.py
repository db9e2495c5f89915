"""Part A: the same patterns with true and with relabelled groups, cross-validated by phase.

One cell is one label and one fold: a ResNet18 learns from four folds and answers for the phases of
the fifth.  It is asked about patterns of its own orientations, the same for both labels, as many of
every phase.  A cell that is finished is a JSON file.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ebsdsg_ml.dataset_file import open_dataset
from ebsdsg_ml.datasets import build_dataset
from ebsdsg_ml.orientations import pattern_orientations
from ebsdsg_ml.pattern_source import PatternSource
from ebsdsg_ml.protocol import TrainingConfig
from ebsdsg_ml.recipe import DatasetRecipe, LabelKind
from ebsdsg_sim.atomic_file import write_atomically

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
    clock = folder / f"{label}.h5.seconds"
    if not dataset.exists():
        started = time.process_time()
        build_dataset(protocol.recipe(label), sources, dataset, compression=None)
        write_atomically(clock, f"{time.process_time() - started:.2f}".encode())
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
        "projection_cpu_seconds": float(clock.read_text()),
        "training_cpu_seconds": trained,
        "seconds": result.seconds,
    }
    write_atomically(cell, json.dumps(values, indent=1).encode())
    return values

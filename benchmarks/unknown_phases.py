"""Answers of networks that never saw one group, for patterns of that group and of the others.

    python benchmarks/unknown_phases.py --study FOLDER --group 223 --output answers.npz

takes the master patterns of the learning study (``benchmarks/learning_study.py``), leaves all
phases of one relabelled group out, trains a network on the other groups with the study's settings
but one fold, and lets it answer for the phases of that fold (known) and of the group (strange).
``benchmarks/calibration.py --unknown`` makes the table.  One network is about two CPU-minutes.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from learning_study import PROTOCOL
from study import bank

from ebsdsg_ml.datasets import build_dataset
from ebsdsg_ml.evaluate import evaluate
from ebsdsg_ml.orientations import pattern_orientations
from ebsdsg_ml.pattern_model import PatternModel
from ebsdsg_ml.pattern_source import PatternSource
from ebsdsg_ml.simulated_patterns import detected, recipe_projector
from ebsdsg_ml.training import train

PATTERNS = 20
"""Of every strange phase."""


def strange_patterns(sources: list[PatternSource], recipe: object) -> np.ndarray:
    """(phases * PATTERNS, size, size) uint8 patterns of phases that no network saw."""
    stack = []
    for source in sources:
        turns = pattern_orientations(PROTOCOL.seed, f"{source.phase} strange", range(PATTERNS))
        projector = recipe_projector(recipe, source, source.phase)  # type: ignore[arg-type]
        stack.append(detected(projector, turns, None, PROTOCOL.seed, range(PATTERNS)).numpy())
    return np.concatenate(stack)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", type=Path, required=True, help="folder with bank/")
    parser.add_argument("--group", type=int, required=True, help="relabelled group left out")
    parser.add_argument("--work", type=Path, required=True, help="folder for data set and run")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    folder = given.study / "bank"
    phases = bank.source_phases(folder, Path("unused"))
    made = [p for p in phases if (folder / "base" / f"{p.key}.h5").exists()]
    sources = bank.sources(folder, "base", made)
    known = [s for s in sources if s.labels["relabelled"] != given.group]
    strange = [s for s in sources if s.labels["relabelled"] == given.group]
    recipe = PROTOCOL.recipe("relabelled")
    recipe = replace(recipe, classes=tuple(c for c in recipe.class_numbers if c != given.group))
    given.work.mkdir(parents=True, exist_ok=True)
    dataset = given.work / f"without-{given.group}.h5"
    if not dataset.exists():
        build_dataset(recipe, known, dataset, compression=None)
    run = given.work / f"run-{given.group}"
    result = train(PROTOCOL.training, dataset, run, validation_fold=0, device="cpu")
    model = PatternModel.load(result.model_path)
    held_out = evaluate(model, dataset, 0)
    with given.output.open("wb") as file:
        np.savez_compressed(
            file,
            group=given.group,
            known=held_out.logits.astype(np.float32),
            truth=held_out.truth,
            phase=held_out.phase,
            strange=model.logits(strange_patterns(strange, recipe)).numpy(),
            strange_phases=len(strange),
            known_phases=len(np.unique(held_out.phase)),
            trained_phases=len(known) - len(np.unique(held_out.phase)),
            accuracy=result.validation_accuracy,
            cpu_seconds=time.process_time() - started,
        )
    print(f"wrote {given.output}: accuracy {result.validation_accuracy:.3f}")


if __name__ == "__main__":
    main()

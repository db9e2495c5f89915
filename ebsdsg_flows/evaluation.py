"""What the folds of a cross-validation say together; every answer is kept."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.datasets import MissingPattern, reference
from ebsdsg_flows.settings import get_settings
from stores.documents import DatasetDocument, PredictionDocument, TrainingRunDocument

if TYPE_CHECKING:
    from ebsdsg_ml.evaluate import Evaluation
    from stores.collections import Stores


def evaluate_folds(stores: Stores, dataset: DatasetDocument, runs: list[str]) -> dict[str, Any]:
    """Let every run answer for the fold that it did not see, and put the answers together.

    Parameters
    ----------
    stores : open database; gets one prediction document per run and the runs' phase accuracies.
    dataset : what was trained on.
    runs : keys of its training runs, one per fold.

    Returns
    -------
    Plain tables: ``accuracy``, ``confusion``, ``by_class``, ``by_phase``, ``runs``, ``dataset``.

    Raises
    ------
    MissingPattern
        If a run or its model is not there.
    ebsdsg_ml.evaluate.EvaluationError
        If the runs do not belong to the data set or share a fold.
    """
    from ebsdsg_ml.evaluate import evaluate, join
    from ebsdsg_ml.pattern_model import PatternModel

    root = get_settings().root
    evaluations = []
    for key in runs:
        run = stores.get(TrainingRunDocument, key)
        if run is None or run.checkpoint is None:
            raise MissingPattern(f"training run {key} has no model")
        model = PatternModel.load(root / run.checkpoint.path)
        evaluation = evaluate(model, root / dataset.file.path, run.fold)
        evaluations.append(evaluation)
        _keep(stores, dataset, key, evaluation, root)
    joined = join(evaluations)
    return joined.to_dict() | {"runs": list(runs), "dataset": dataset.key}


def _keep(
    stores: Stores, dataset: DatasetDocument, run: str, evaluation: Evaluation, root: Path
) -> None:
    """Write a run's answers to a file, its document, and its phases into the run's document."""
    import numpy as np

    from ebsdsg_ml.datasets import file_sha256
    from ebsdsg_sim.atomic_file import write_atomically

    folder = root / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    key = PredictionDocument.key_of(run, dataset.key)
    path = folder / f"{key}.npz"
    answers = io.BytesIO()
    np.savez_compressed(
        answers,
        rows=evaluation.rows,
        truth=evaluation.truth,
        probabilities=evaluation.probabilities.astype(np.float32),
    )
    write_atomically(path, answers.getbuffer())
    tables = evaluation.to_dict()
    stores.save(
        PredictionDocument(
            key=key,
            training_run=run,
            patterns=dataset.key,
            n_patterns=tables["n_patterns"],
            file=reference(path, root, file_sha256(path)),
            summary={name: tables[name] for name in ("accuracy", "confusion", "by_class")},
        )
    )
    per_phase = [
        {
            "material_id": row["phase"],
            "formula": row["formula"],
            "label": row["class"],
            "n": row["total"],
            "accuracy": row["value"],
            "most_frequent": row["most_frequent"],
        }
        for row in tables["by_phase"]
    ]
    stores.training_runs.update_one({"key": run}, {"$set": {"per_phase": per_phase}})

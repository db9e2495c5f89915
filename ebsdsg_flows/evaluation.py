"""What the folds of a cross-validation say together; every answer is kept, and calibrates."""

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
    Plain tables: ``label``, ``accuracy``, ``confusion``, ``by_class``, ``by_phase``, ``runs``,
    ``dataset``, and ``calibration`` (:func:`ebsdsg_ml.judgement.cross_calibrated`: each fold judged
    by a calibration of the others; None with fewer than two folds, or fewer than two phases in
    one).

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
    calibration = _calibrate_across(stores, joined, runs)
    return joined.to_dict() | {
        "runs": list(runs),
        "dataset": dataset.key,
        "calibration": calibration,
    }


def _calibrate_across(stores: Stores, joined: Evaluation, runs: list[str]) -> dict[str, Any] | None:
    """Judge every fold by a calibration of the others; keep it in the run that left it out."""
    import numpy as np

    from ebsdsg_ml.judgement import cross_calibrated

    phases = {f: len(np.unique(joined.phase[joined.fold == f])) for f in np.unique(joined.fold)}
    if len(phases) < 2 or sum(phases.values()) - max(phases.values()) < 2:
        return None
    found, tables = cross_calibrated(joined.logits, joined.truth, joined.phase, joined.fold)
    for key in runs:
        run = stores.get(TrainingRunDocument, key)
        if run is not None and run.fold in found:
            stores.training_runs.update_one(
                {"key": key}, {"$set": {"calibration.evaluation": found[run.fold].to_dict()}}
            )
    return tables


def calibrate_final(stores: Stores, final: str, runs: list[str]) -> TrainingRunDocument:
    """Give a model that was trained on all folds the calibration of its cross-validation.

    Nothing was held out of its training; what the runs of the folds, which differ from it in their
    share of the data only, answered for the phases that each never saw stands for it.

    Parameters
    ----------
    stores : open database; the run's document gets the calibration and the new model file.
    final : key of the run that was trained on all folds.
    runs : keys of the runs of the folds, evaluated (:func:`evaluate_folds`).

    Returns
    -------
    The run's document, unchanged if it was calibrated before or its folds hold too few phases.

    Raises
    ------
    MissingPattern
        If a run, its model or its answers are not there.
    """
    import numpy as np

    from ebsdsg_ml.calibration import calibrate
    from ebsdsg_ml.datasets import file_sha256
    from ebsdsg_ml.pattern_model import PatternModel

    root = get_settings().root
    run = stores.get(TrainingRunDocument, final)
    if run is None or run.checkpoint is None:
        raise MissingPattern(f"training run {final} has no model")
    if "model" in run.calibration:
        return run
    parts: dict[str, list[np.ndarray]] = {"logits": [], "truth": [], "phase": []}
    for key in runs:
        kept = stores.get(PredictionDocument, PredictionDocument.key_of(key, run.dataset))
        if kept is None:
            raise MissingPattern(f"training run {key} has not been evaluated on {run.dataset}")
        with np.load(root / kept.file.path, allow_pickle=False) as answers:
            for name, values in parts.items():
                values.append(answers[name])
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    if len(np.unique(joined["phase"])) < 2:
        return run
    model = PatternModel.load(root / run.checkpoint.path)
    known = calibrate(
        joined["logits"],
        joined["truth"],
        joined["phase"],
        fitted_on=f"held-out answers of the {len(runs)} models of the cross-validation",
    )
    path = (root / run.checkpoint.path).with_name("model_calibrated.pt")
    model.calibrated(known).save(path)
    file = reference(path, root, file_sha256(path))
    stores.training_runs.update_one(
        {"key": final},
        {
            "$set": {
                "calibration.model": known.to_dict(),
                "checkpoint": file.model_dump(mode="json"),
            }
        },
    )
    found = stores.get(TrainingRunDocument, final)
    assert found is not None, "read above"
    return found


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
        phase=evaluation.phase,
        logits=evaluation.logits.astype(np.float32),
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

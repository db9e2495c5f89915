"""Training runs, each made once and written down while it is made.

A training run is identified by its data set, fold and settings.  What is finished is returned; what
a dead worker began is continued.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.datasets import reference
from ebsdsg_flows.run_log import RunLog
from ebsdsg_flows.settings import get_settings
from ebsdsg_flows.training_runs import carry_out, run_document
from stores.documents import ConfusionMatrix, DatasetDocument, TrainingRunDocument

if TYPE_CHECKING:
    from ebsdsg_ml.training import TrainingResult
    from stores.collections import Stores


def train_classifier(
    stores: Stores, dataset: DatasetDocument, fold: int | None, training: dict[str, Any]
) -> TrainingRunDocument:
    """Train a classifier, continue what a dead worker began, or return the finished run.

    Parameters
    ----------
    stores : open database.
    dataset : to train on.
    fold : left out and used to choose the epoch; ``None`` trains on all.
    training : fields of :class:`ebsdsg_ml.protocol.TrainingConfig`.
    """
    import torch

    from ebsdsg_ml.protocol import TrainingConfig
    from ebsdsg_ml.training import train

    settings = get_settings()
    torch.set_num_threads(settings.threads)
    config = TrainingConfig.from_dict(training)
    run = run_document(
        stores,
        {"dataset": dataset.key, "fold": fold, "config": config.to_dict()},
        lambda key: TrainingRunDocument(
            key=key,
            config=config.to_dict(),
            seeds={"training": config.seed},
            dataset=dataset.key,
            labels=dataset.labels,
            fold=fold,
        ),
    )

    def compute(directory: Path, log: RunLog) -> dict[str, Any]:
        result = train(
            config,
            settings.root / dataset.file.path,
            directory,
            validation_fold=fold,
            on_epoch=log.epoch,
            progress=log.step,
            device=settings.device,
        )
        return _outcome(result, settings.root)

    return carry_out(stores, run, compute)


def _outcome(result: TrainingResult, root: Path) -> dict[str, Any]:
    confusion = {}
    if result.confusion is not None:
        matrix = ConfusionMatrix(classes=list(result.classes), counts=result.confusion)
        confusion["validation"] = matrix.model_dump(mode="json")
    model = reference(result.model_path, root, result.model_sha256)
    return {
        "checkpoint": model.model_dump(mode="json"),
        "confusion": confusion,
        "accuracy": result.validation_accuracy,
        "weights": result.weights_origin,
        "calibration": {} if result.calibration is None else {"model": result.calibration},
        "computed_with": {
            "device": result.device,
            "threads": result.threads,
            "precision": result.precision,
            "best_epoch": result.best_epoch,
            "weights_sha256": result.weights_sha256,
        },
    }

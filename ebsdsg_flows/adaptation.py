"""Adaptation runs and ensembles, each made once and written down while it is made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.datasets import MissingPattern, reference
from ebsdsg_flows.run_log import RunLog
from ebsdsg_flows.settings import get_settings
from ebsdsg_flows.training_runs import carry_out, run_document
from stores.documents import (
    DatasetDocument,
    EnsembleDocument,
    ExperimentalPatternsDocument,
    TrainingRunDocument,
)
from stores.documents.learning import Adaptation

if TYPE_CHECKING:
    from ebsdsg_ml.adaptation.run import AdaptationResult, TargetPatterns
    from ebsdsg_ml.pattern_model import PatternModel
    from stores.collections import Stores


def target_path(stores: Stores, target: str) -> Path:
    """File or folder of target patterns.

    Parameters
    ----------
    stores : open database.
    target : key of a data set or of a set of experimental patterns, or a path.

    Raises
    ------
    MissingPattern
        If it is neither.
    """
    dataset = stores.get(DatasetDocument, target)
    patterns = dataset or stores.get(ExperimentalPatternsDocument, target)
    if patterns is not None:
        return get_settings().root / patterns.file.path
    path = Path(target)
    if not path.exists():
        raise MissingPattern(f"target {target} is neither a data set's key nor an existing path")
    return path


def adapt_classifier(
    stores: Stores,
    sources: list[str],
    target: str,
    adaptation: dict[str, Any],
    *,
    start: str | None = None,
    validation_fold: int | None = None,
) -> TrainingRunDocument:
    """Adapt a classifier, continue what a dead worker began, or return the finished run.

    Parameters
    ----------
    stores : open database.
    sources : keys of labelled data sets.
    target : key of the data set, or path, of the patterns without labels.
    adaptation : fields of :class:`ebsdsg_ml.adaptation.AdaptationConfig`.
    start : key of a training run to start from.
    validation_fold : fold of the sources held out for the criterion ``"source_validation"``.

    Raises
    ------
    MissingPattern
        If a data set, the target or the run to start from is not there.
    """
    import torch

    from ebsdsg_ml.adaptation import AdaptationConfig
    from ebsdsg_ml.adaptation.run import read_target, run_adaptation
    from ebsdsg_ml.dataset_file import open_dataset
    from ebsdsg_ml.experimental.processing import PatternProcessing

    settings = get_settings()
    torch.set_num_threads(settings.threads)
    config = AdaptationConfig.from_dict(adaptation)
    datasets = [_dataset(stores, key) for key in sources]
    files = [settings.root / dataset.file.path for dataset in datasets]
    pool_path = target_path(stores, target)
    with open_dataset(files[0]) as opened:
        recipe = opened.recipe
    like = PatternProcessing.like(recipe)
    pool = read_target(pool_path, recipe.class_numbers, recipe.label, like)
    model = None if start is None else settings.root / _finished(stores, start)[1]
    identity = {
        "sources": sources,
        "target": pool.sha256,
        "start": start,
        "fold": validation_fold,
        "config": config.to_dict(),
    }
    run = run_document(
        stores,
        identity,
        lambda key: TrainingRunDocument(
            key=key,
            config=config.to_dict(),
            seeds={"training": config.seed},
            dataset=datasets[0].key,
            labels=datasets[0].labels,
            fold=validation_fold,
            parent=start,
            adaptation=Adaptation(
                method=config.method,
                sources=sources,
                target=pool.sha256,
                n_target=len(pool.patterns),
                start=start,
                criterion=config.criterion,
                remarks=list(pool.remarks),
            ),
        ),
    )

    def compute(directory: Path, log: RunLog) -> dict[str, Any]:
        result = run_adaptation(
            config,
            files,
            pool_path,
            directory,
            start=model,
            validation_fold=validation_fold,
            on_epoch=log.epoch,
            progress=log.step,
            device=settings.device,
        )
        return _outcome(result, settings.root)

    return carry_out(stores, run, compute)


def _outcome(result: AdaptationResult, root: Path) -> dict[str, Any]:
    model = reference(result.model_path, root, result.model_sha256)
    return {
        "checkpoint": model.model_dump(mode="json"),
        "adaptation.target_accuracy": result.target_accuracy,
        "weights": result.weights_origin,
        "computed_with": {
            "device": result.device,
            "threads": result.threads,
            "precision": result.precision,
            "best_epoch": result.best_epoch,
            "weights_sha256": result.weights_sha256,
            "target_prior": result.prior,
        },
    }


def make_ensemble(stores: Stores, runs: list[str], target: str) -> EnsembleDocument:
    """Let several runs answer for one pool of patterns; make their ensemble's document.

    Parameters
    ----------
    stores : open database.
    runs : keys of finished training or adaptation runs of the same classes.
    target : key of the data set, or path, of the pool.

    Raises
    ------
    MissingPattern
        If a run has no model, or the pool is not there.
    ebsdsg_ml.ensemble.EnsembleError
        If the runs know other classes or another kind of pattern.
    """
    import numpy as np

    from ebsdsg_ml.adaptation.run import read_target
    from ebsdsg_ml.ensemble import EnsembleError, summary
    from ebsdsg_ml.experimental.processing import PatternProcessing
    from ebsdsg_ml.pattern_model import PatternModel

    root = get_settings().root
    answers: list[np.ndarray] = []
    first: PatternModel | None = None
    pool: TargetPatterns | None = None
    members = sorted(set(runs))
    for key in members:
        model = PatternModel.load(root / _finished(stores, key)[1])
        if first is None or pool is None:
            first, card = model, model.card
            like = PatternProcessing.of_model(card.processing, card.preprocessing.size)
            pool = read_target(target_path(stores, target), card.classes, card.label, like)
        kind = (model.classes, model.card.label, model.card.preprocessing.size)
        if kind != (first.classes, first.card.label, first.card.preprocessing.size):
            raise EnsembleError(f"run {key} is of another kind than {members[0]}: {kind}")
        answers.append(model.probabilities(pool.patterns))
    if first is None or pool is None:
        raise EnsembleError("an ensemble needs at least one run")
    found = summary(np.stack(answers), pool.labels) | {"remarks": list(pool.remarks)}
    document = EnsembleDocument.from_mongo(
        {
            "key": EnsembleDocument.key_of(members, pool.sha256),
            "members": members,
            "labels": first.card.label,
            "classes": list(first.classes),
            "collapsed": [members[i] for i in found["collapsed"]],
            "target": pool.sha256,
            "n_patterns": len(pool.patterns),
            "summary": found,
        }
    )
    stores.save(document)
    return document


def _dataset(stores: Stores, key: str) -> DatasetDocument:
    from ebsdsg_flows.datasets import get_dataset

    return get_dataset(stores, key)


def _finished(stores: Stores, key: str) -> tuple[TrainingRunDocument, str]:
    run = stores.get(TrainingRunDocument, key)
    if run is None or run.checkpoint is None:
        raise MissingPattern(f"training run {key} has no model")
    return run, run.checkpoint.path

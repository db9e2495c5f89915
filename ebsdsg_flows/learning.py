"""Data sets and training runs, each made once and written down while it is made.

A data set is identified by its recipe and its simulations, a training run by its data set, fold and
settings.  What is finished is returned; what a dead worker began is continued.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.settings import get_settings
from stores.documents import (
    ConfusionMatrix,
    DatasetDocument,
    Failure,
    FileReference,
    MasterPatternDocument,
    Member,
    SimulationDocument,
    StructureDocument,
    TrainingRunDocument,
)
from stores.identity import canonical_json
from stores.states import ENDED_BADLY, State, now, transition

if TYPE_CHECKING:
    from ebsdsg_ml.datasets import DatasetReport, PatternSource
    from ebsdsg_ml.training import TrainingResult
    from stores.collections import Stores

TRAINING_FAILED = 20
"""Failure code of a training that gave up."""


class MissingPattern(RuntimeError):
    """A data set asks for a simulation that has no master pattern."""


def reference(path: Path, root: Path, sha256: str) -> FileReference:
    """A file below the data root, as documents name it."""
    return FileReference(
        path=path.resolve().relative_to(root.resolve()).as_posix(),
        bytes=path.stat().st_size,
        sha256=sha256,
    )


def pattern_sources(
    stores: Stores, simulations: list[str]
) -> tuple[list[PatternSource], dict[str, SimulationDocument]]:
    """The phases that simulations give, with both labels, and the simulations by material.

    Parameters
    ----------
    stores : open database.
    simulations : keys of completed simulations.

    Raises
    ------
    MissingPattern
        If one of them has no master pattern in the database.
    """
    from ebsdsg_ml.datasets import PatternSource

    root = get_settings().root
    sources, by_material = [], {}
    for key in sorted(simulations):
        simulation = stores.get(SimulationDocument, key)
        pattern = stores.get(MasterPatternDocument, key)
        if simulation is None or pattern is None:
            raise MissingPattern(f"simulation {key} has no master pattern in the database")
        structure = stores.get(StructureDocument, simulation.material_id)
        by_material[simulation.material_id] = simulation
        sources.append(
            PatternSource(
                phase=simulation.material_id,
                formula=simulation.formula,
                labels={"true": simulation.space_group, "relabelled": simulation.relabelled},
                path=root / pattern.file.path,
                sha256=pattern.file.sha256,
                prototype=structure.prototype if structure else None,
            )
        )
    return sources, by_material


def make_dataset(stores: Stores, recipe: dict[str, Any], simulations: list[str]) -> DatasetDocument:
    """Build a data set and its document, or return the one that exists.

    Parameters
    ----------
    stores : open database.
    recipe : fields of :class:`ebsdsg_ml.recipe.DatasetRecipe`.
    simulations : keys of completed simulations.

    Raises
    ------
    ebsdsg_ml.splits.LeakError
        If the folds are not disjoint.
    """
    from ebsdsg_ml.datasets import build_dataset, file_sha256
    from ebsdsg_ml.recipe import DatasetRecipe

    loaded = DatasetRecipe.from_dict(recipe)
    identity = {"recipe": loaded.to_dict(), "simulations": sorted(simulations)}
    key = DatasetDocument.key_of(identity)
    settings = get_settings()
    path = settings.root / "datasets" / f"{key}.h5"
    known = stores.get(DatasetDocument, key)
    if known is not None and path.is_file() and file_sha256(path) == known.file.sha256:
        return known
    sources, by_material = pattern_sources(stores, simulations)
    report = build_dataset(loaded, sources, path, device=settings.device)
    document = DatasetDocument(
        key=key,
        recipe=identity,
        labels=loaded.label,
        folds=loaded.n_folds,
        n_patterns=report.n_patterns,
        counts={loaded.label: {str(number): n for number, n in report.counts.items()}},
        members=_members(report, by_material),
        leak_report=report.leak_report.to_dict() | {"left_out": report.left_out},
        file=reference(path, settings.root, report.sha256),
    )
    stores.save(document)
    return document


def _members(report: DatasetReport, by_material: dict[str, SimulationDocument]) -> list[Member]:
    members = []
    for row in report.phases:
        simulation = by_material[row["phase"]]
        members.append(
            Member(
                simulation=simulation.key,
                material_id=simulation.material_id,
                formula=simulation.formula,
                true=simulation.space_group,
                relabelled=simulation.relabelled,
                fold=row["fold"],
                patterns=row["n_patterns"],
            )
        )
    return members


@dataclass
class _Recorder:
    """Writes the epochs and signs of life of one training run."""

    stores: Stores
    key: str
    every: float
    last: float = 0.0

    def epoch(self, row: dict[str, Any]) -> None:
        """Write an epoch in its place; an epoch that a resume tells again changes nothing."""
        number = int(row["epoch"])
        values = {name: float(value) for name, value in row.items() if value is not None}
        self.stores.training_runs.update_one(
            {"key": self.key, f"epochs.{number - 1}": {"$exists": True}},
            {"$set": {f"epochs.{number - 1}": values, "heartbeat": now()}},
        )
        self.stores.training_runs.update_one(
            {"key": self.key, "epochs": {"$size": number - 1}},
            {"$push": {"epochs": values}, "$set": {"heartbeat": now()}},
        )

    def step(self, done: int, total: int, what: str) -> None:
        """Write a sign of life now and then."""
        if time.monotonic() - self.last > self.every:
            self.last = time.monotonic()
            self.stores.training_runs.update_one({"key": self.key}, {"$set": {"heartbeat": now()}})


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
    run = _training_run(stores, dataset, fold, config.to_dict())
    if run.state is State.COMPLETED:
        return run
    _begin(stores, run)
    recorder = _Recorder(stores, run.key, settings.heartbeat)
    cpu = time.process_time()
    try:
        result = train(
            config,
            settings.root / dataset.file.path,
            settings.root / "training" / run.key,
            validation_fold=fold,
            on_epoch=recorder.epoch,
            progress=recorder.step,
            device=settings.device,
        )
    except (RuntimeError, ValueError) as error:
        failure = Failure(code=TRAINING_FAILED, name="training failed", message=str(error))
        transition(
            stores.training_runs,
            run.key,
            State.RUNNING,
            State.FAILED,
            fields={"failure": failure.model_dump(mode="json"), "finished": now()},
        )
        raise
    cpu = time.process_time() - cpu
    transition(
        stores.training_runs,
        run.key,
        State.RUNNING,
        State.COMPLETED,
        fields=_outcome(result, settings.root) | {"cpu_seconds": round(cpu, 2)},
    )
    finished = stores.get(TrainingRunDocument, run.key)
    assert finished is not None, "completed above"
    return finished


def _training_run(
    stores: Stores, dataset: DatasetDocument, fold: int | None, config: dict[str, Any]
) -> TrainingRunDocument:
    """The run of that data set, fold and configuration; made if there is none."""
    wanted = canonical_json(config)
    for found in stores.training_runs.find({"dataset": dataset.key, "fold": fold}):
        run = TrainingRunDocument.from_mongo(found)
        if canonical_json(run.config) == wanted:
            return run
    run = TrainingRunDocument(
        config=config,
        seeds={"training": config["seed"]},
        dataset=dataset.key,
        labels=dataset.labels,
        fold=fold,
    )
    stores.add(run)
    return run


def _begin(stores: Stores, run: TrainingRunDocument) -> None:
    """Bring a run to ``running``; one that a dead worker left running was lost."""
    state = run.state
    if state is State.RUNNING:
        transition(stores.training_runs, run.key, State.RUNNING, State.LOST)
        state = State.LOST
    if state in ENDED_BADLY:
        transition(stores.training_runs, run.key, state, State.WAITING, fields={"failure": None})
    transition(
        stores.training_runs,
        run.key,
        State.WAITING,
        State.RUNNING,
        fields={"started": run.started or now(), "heartbeat": now()},
    )


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
        "computed_with": {
            "device": result.device,
            "threads": result.threads,
            "precision": result.precision,
            "best_epoch": result.best_epoch,
            "weights_sha256": result.weights_sha256,
        },
        "finished": now(),
    }


def get_dataset(stores: Stores, key: str) -> DatasetDocument:
    """Document of a data set.

    Raises
    ------
    MissingPattern
        If there is none of that key.
    """
    document = stores.get(DatasetDocument, key)
    if document is None:
        raise MissingPattern(f"no data set {key} in the database")
    return document

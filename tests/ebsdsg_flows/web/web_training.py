"""A small data set, networks that learned nothing from it, and answers with one known mistake."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ebsdsg_ml.calibration import Calibration
from ebsdsg_ml.dataset_file import open_dataset
from ebsdsg_ml.datasets import PatternSource, build_dataset
from ebsdsg_ml.experimental.processing import PatternProcessing
from ebsdsg_ml.metrics import class_accuracies, confusion_matrix
from ebsdsg_ml.models import build_model
from ebsdsg_ml.pattern_model import ModelCard, PatternModel
from ebsdsg_ml.recipe import DatasetRecipe
from ebsdsg_ml.transforms import Preprocessing
from stores.collections import Stores
from stores.documents import (
    DatasetDocument,
    EnsembleDocument,
    FileReference,
    PredictionDocument,
    TrainingRunDocument,
)
from stores.documents.learning import Adaptation
from stores.identity import content_hash
from stores.states import State

SIZE = 32
CLASSES = (221, 225, 229)
PHASES = {"mp-1": 225, "mp-2": 225, "mp-11": 221, "mp-12": 221, "mp-21": 229, "mp-22": 229}
MISTAKEN = 3
"""Patterns of mp-1 (225) that ``run-1`` took for 221."""

CALIBRATION = Calibration(
    temperature=1.0, coverage=0.9, set_threshold=0.999, answer_threshold=0.95,
    unknown_threshold=100.0, n_phases=6, n_patterns=72, fitted_on="nothing real",
)  # fmt: skip


def source(phase: str) -> PatternSource:
    return PatternSource(
        phase=phase,
        formula="<i>Ni</i>" if phase == "mp-1" else "Ni",
        labels={"true": PHASES[phase], "relabelled": PHASES[phase]},
        path=Path(f"/nowhere/{phase}.h5"),
        sha256=hashlib.sha256(phase.encode()).hexdigest(),
    )


def bands(source: PatternSource, quaternions: np.ndarray) -> np.ndarray:
    """Straight bands, another direction for every orientation."""
    y, x = np.mgrid[:SIZE, :SIZE]
    shift = int(source.sha256[:4], 16)
    angle = np.arctan2(quaternions[:, 1], quaternions[:, 0])[:, None, None]
    waves = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 0.9 + shift)
    return (128 + 100 * waves).astype(np.uint8)


@lru_cache(maxsize=1)
def contents() -> tuple[bytes, bytes]:
    """A data set and a calibrated model, as the bytes of their files."""
    from tempfile import TemporaryDirectory

    torch.manual_seed(1)
    recipe = DatasetRecipe(classes=CLASSES, patterns_per_class=24, size=SIZE, n_folds=2)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bands.h5"
        build_dataset(recipe, [source(phase) for phase in PHASES], path, project=bands)
        with open_dataset(path) as opened:
            digest = opened.content_sha256
        network, _ = build_model("mobilenet_v3_small", len(CLASSES))
        card = ModelCard(
            "mobilenet_v3_small",
            CLASSES,
            "true",
            Preprocessing(SIZE, SIZE - 1),
            dataset_sha256=digest,
            processing=PatternProcessing.like(recipe).to_dict(),
            calibration=CALIBRATION,
        )
        model = PatternModel(network, card).save(Path(folder) / "model.pt")
        return path.read_bytes(), model.read_bytes()


def write(root: Path, name: str, content: bytes) -> FileReference:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return FileReference(path=name, bytes=len(content), sha256=digest)


def training_run(key: str, dataset: str, **changes: Any) -> TrainingRunDocument:
    values: dict[str, Any] = {
        "key": key,
        "config": {"epochs": 2},
        "dataset": dataset,
        "labels": "true",
        "fold": 0,
        "state": State.COMPLETED,
        "accuracy": 0.75,
        "epochs": [
            {"epoch": e, "train_loss": 1 / e, "validation_loss": 1.2 / e,
             "train_accuracy": 0.5, "validation_accuracy": 0.4}
            for e in (1, 2)
        ],
        **changes,
    }  # fmt: skip
    return TrainingRunDocument(**values)


def add_training(stores: Stores, root: Path) -> str:
    """Data set, ``run-1`` (evaluated), ``run-2`` (adapted), an ensemble of both, a model file.

    Returns
    -------
    Key of the data set.
    """
    data, model = contents()
    recipe = {"of": "the tests of the pages"}
    key = content_hash(recipe)
    file = write(root, f"datasets/{key}.h5", data)
    with open_dataset(root / file.path) as opened:
        phase = np.array(opened.phase)
        truth = np.array([CLASSES.index(PHASES[opened.phases[p]["id"]]) for p in phase])
        ids = [row["id"] for row in opened.phases]
        folds = [row["fold"] for row in opened.phases]
    stores.save(
        DatasetDocument(
            key=key,
            recipe=recipe,
            labels="true",
            folds=2,
            n_patterns=len(phase),
            counts={"true": {str(group): 24 for group in CLASSES}},
            members=[
                {"simulation": "0" * 64, "material_id": name, "formula": "Ni", "fold": fold,
                 "true": PHASES[name], "relabelled": PHASES[name],
                 "patterns": int((phase == i).sum())}
                for i, (name, fold) in enumerate(zip(ids, folds, strict=True))
            ],
            leak_report={},
            file=file,
        )
    )  # fmt: skip
    checkpoint = write(root, "training/model.pt", model)
    write(root, "models/carried <b>.pt", model)
    predicted = truth.copy()
    predicted[np.flatnonzero(phase == ids.index("mp-1"))[:MISTAKEN]] = CLASSES.index(221)
    counts = confusion_matrix(truth, predicted, len(CLASSES))
    path = root / "predictions" / "run-1.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    logits = 4 * np.eye(len(CLASSES), dtype=np.float32)[predicted]
    np.savez(path, rows=np.arange(len(truth)), truth=truth, logits=logits, phase=phase)
    stores.save(training_run("run-1", key, checkpoint=checkpoint))
    adapted = Adaptation(method="mcd", sources=[key], target=key, n_target=10, criterion="last")
    stores.save(training_run("run-2", key, checkpoint=checkpoint, fold=None, adaptation=adapted))
    stores.save(
        PredictionDocument(
            key=PredictionDocument.key_of("run-1", key),
            training_run="run-1",
            patterns=key,
            n_patterns=len(truth),
            file=write(root, "predictions/run-1.npz", path.read_bytes()),
            summary={
                "accuracy": {"value": float((predicted == truth).mean())},
                "confusion": counts.tolist(),
                "by_class": class_accuracies(counts, CLASSES),
            },
        )
    )
    stores.save(
        EnsembleDocument(
            key=EnsembleDocument.key_of(["run-1", "run-2"], key),
            members=["run-1", "run-2"],
            labels="true",
            classes=list(CLASSES),
            target=key,
            n_patterns=10,
            summary={},
        )
    )
    return key

"""A database and files as a large campaign leaves them, for the benchmark of the web pages."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from queries import GROUPS, documents

from ebsdsg_ml.dataset_file import open_dataset
from ebsdsg_ml.datasets import PatternSource, build_dataset
from ebsdsg_ml.metrics import (
    class_accuracies,
    confusion_matrix,
    overall_accuracy,
    phase_accuracies,
)
from ebsdsg_ml.recipe import DatasetRecipe
from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.hdf5 import write_master_pattern
from ebsdsg_sim.masterpattern import MasterPattern
from ebsdsg_sim.montecarlo import MonteCarlo
from ebsdsg_sim.parameters import SimulationParameters
from stores.collections import Stores
from stores.documents import (
    DatasetDocument,
    EngineReference,
    FileReference,
    MasterPatternDocument,
    PredictionDocument,
    TrainingRunDocument,
    crystal_hash,
)
from stores.identity import content_hash
from stores.states import State, now

GROUP_PHASES = 167
"""Phases of each of the six groups in the data set: a thousand together, as a fold of the paper."""

PATTERNS = 1500
"""Of each group."""

SIDE = 48
PATTERN = f"{4:064x}"
"""Key of the one master pattern that has a file."""


def add_structures(stores: Stores, n: int) -> None:
    """One structure for every two simulations, as their documents are."""
    simulation, _ = next(documents(1))
    crystal = simulation["crystal"]
    group = {"number": 225, "symbol": "Fm-3m", "hall_number": 523, "point_group": "m-3m",
             "origin_choice": None}  # fmt: skip
    common: dict[str, Any] = {
        "formula": "NiAl", "composition": {"Ni": 4, "Al": 4}, "elements": ["Al", "Ni"],
        "crystal": crystal, "crystal_hash": crystal_hash(crystal),
        "space_group": group, "volume_conventional": 43.0, "volume_primitive": 43.0,
        "n_atoms": 8, "n_atoms_primitive": 2, "density": 5.0, "prototype": "AB_cF8_225_4_4",
        "symprec": 0.1, "source": {"kind": "python", "identifier": "x", "reference": ""},
        "licence": "none", "notes": [],
        "relabel": {"number": 225, "symbol": "Fm-3m", "symprec": 0.01, "by_tolerance": [],
                    "sensitive": False, "descent": None},
    }  # fmt: skip
    batch = [{**common, "key": f"mp-{i}", "material_id": f"mp-{i}"} for i in range(n)]
    for first in range(0, n, 2000):
        stores.structures.insert_many(batch[first : first + 2000])


def add_master_pattern(stores: Stores, root: Path) -> None:
    """A file of 601 x 601 pixels and 11 energies for the simulation of ``mp-2``."""
    key = PATTERN
    simulation = stores.simulations.find_one({"key": key}) or {}
    crystal = Crystal.from_dict({"name": "NiAl", **simulation["crystal"]})
    stores.simulations.update_one({"key": key}, {"$set": {"crystal.name": "NiAl"}})
    parameters = SimulationParameters(npx=300, n_electrons=20_000, mc_pixels=51)
    ramp = np.linspace(1, 2, 601, dtype=np.float32)
    maps = np.stack([np.add.outer(ramp, ramp**2)] * len(parameters.energies))[None]
    monte_carlo = MonteCarlo(
        accum_e=np.ones((len(parameters.energies), 51, 51), dtype=np.int64),
        accum_z=np.ones((len(parameters.energies), 100, 5, 5), dtype=np.int64),
        energies=parameters.energies,
        depth_step=parameters.depth_step,
        n_electrons=20_000,
        sample_tilt=parameters.sample_tilt,
        seed=1,
        n_simulated=20_000,
        cpu_seconds=1.0,
    )
    path = root / "master_patterns" / f"{key}.h5"
    path.parent.mkdir(parents=True)
    write_master_pattern(
        path, MasterPattern(maps, maps, parameters.energies, crystal, parameters, monte_carlo)
    )
    stores.save(
        MasterPatternDocument(
            key=key,
            simulation=key,
            material_id="mp-2",
            run="run",
            file=reference(path, root),
            npx=300,
            n_sites=1,
            energies=[float(e) for e in parameters.energies],
            engine=EngineReference(name="builtin", physics_version="1"),
            parameters=parameters.to_dict(),
        )
    )


def reference(path: Path, root: Path) -> FileReference:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return FileReference(path=str(path.relative_to(root)), bytes=path.stat().st_size, sha256=digest)


def bands(source: PatternSource, quaternions: np.ndarray) -> np.ndarray:
    """Patterns that cost nothing; what they show does not matter here."""
    angle = np.arctan2(quaternions[:, 1], quaternions[:, 0])[:, None, None]
    y, x = np.mgrid[:SIDE, :SIDE]
    return (128 + 100 * np.sin(x * np.cos(angle) + y * np.sin(angle))).astype(np.uint8)


def add_training(stores: Stores, root: Path, n: int = 10) -> tuple[str, str]:
    """A data set of a thousand phases and evaluated runs; keys of a run and of the data set."""
    phases = {f"mp-{i}": GROUPS[i % 6] for i in range(6 * GROUP_PHASES)}
    sources = [
        PatternSource(
            phase=phase,
            formula="NiAl",
            labels={"true": group, "relabelled": group},
            path=Path(f"/nowhere/{phase}.h5"),
            sha256=hashlib.sha256(phase.encode()).hexdigest(),
        )
        for phase, group in phases.items()
    ]
    recipe = DatasetRecipe(classes=GROUPS, patterns_per_class=PATTERNS, size=SIDE)
    recipe_of_key = {"of": "a benchmark"}
    dataset = content_hash(recipe_of_key)
    path = root / "datasets" / f"{dataset}.h5"
    path.parent.mkdir(parents=True)
    build_dataset(recipe, sources, path, project=bands)
    with open_dataset(path) as opened:
        phase = np.array(opened.phase)
        ids = [str(row["id"]) for row in opened.phases]
        folds = [int(row["fold"]) for row in opened.phases]
    counts = np.bincount(phase, minlength=len(ids))
    stores.save(
        DatasetDocument(
            key=dataset,
            recipe=recipe_of_key,
            labels="true",
            folds=5,
            n_patterns=len(phase),
            counts={"true": {str(group): PATTERNS for group in GROUPS}},
            members=[
                {"simulation": "0" * 64, "material_id": name, "formula": "NiAl", "fold": fold,
                 "true": phases[name], "relabelled": phases[name], "patterns": int(k)}
                for name, fold, k in zip(ids, folds, counts, strict=True)
            ],
            leak_report={},
            file=reference(path, root),
        )
    )  # fmt: skip
    truth = np.array([GROUPS.index(phases[name]) for name in ids])[phase]
    rng = np.random.default_rng(1)
    keys = [f"run-{i}" for i in range(n)]
    for key in keys:
        logits = 2 * np.eye(6)[truth] + rng.normal(size=(len(truth), 6))
        predicted = logits.argmax(axis=1)
        matrix = confusion_matrix(truth, predicted, 6)
        answers = root / "predictions" / f"{key}.npz"
        answers.parent.mkdir(exist_ok=True)
        np.savez(
            answers, rows=np.arange(len(truth)), truth=truth, phase=phase, logits=np.float32(logits)
        )
        rows = phase_accuracies(phase, truth, predicted, ids, GROUPS)
        stores.save(
            TrainingRunDocument(
                key=key,
                config={"epochs": 10},
                dataset=dataset,
                labels="true",
                fold=0,
                state=State.COMPLETED,
                started=now(),
                accuracy=float((predicted == truth).mean()),
                epochs=[
                    {"epoch": e, "train_loss": 1 / e, "validation_loss": 1.2 / e,
                     "train_accuracy": 0.5, "validation_accuracy": 0.4}
                    for e in range(1, 11)
                ],
                calibration={"evaluation": {"temperature": 1.2, "coverage": 0.9,
                                            "set_threshold": 0.9}},
                per_phase=[
                    {"material_id": r["phase"], "formula": "NiAl", "label": r["class"],
                     "n": r["total"], "accuracy": r["value"],
                     "most_frequent": r["most_frequent"]}
                    for r in rows
                ],
            )
        )  # fmt: skip
        stores.save(
            PredictionDocument(
                key=PredictionDocument.key_of(key, dataset),
                training_run=key,
                patterns=dataset,
                n_patterns=len(truth),
                file=reference(answers, root),
                summary={
                    "accuracy": overall_accuracy(matrix).to_dict(),
                    "confusion": matrix.tolist(),
                    "by_class": class_accuracies(matrix, GROUPS),
                },
            )
        )
    return keys[0], dataset

"""A small, separable stand-in for simulated patterns, and one data set made of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ebsdsg_ml.datasets import PatternSource, build_dataset
from ebsdsg_ml.recipe import DatasetRecipe

SIZE = 32
PERIOD = {221: 4.0, 225: 8.0, 229: 16.0}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def source(phase: str, true: int, relabelled: int | None = None) -> PatternSource:
    return PatternSource(
        phase=phase,
        formula=phase.upper(),
        labels={"true": true, "relabelled": relabelled},
        path=Path(f"/nowhere/{phase}.h5"),
        sha256=hashlib.sha256(phase.encode()).hexdigest(),
    )


def bands(source: PatternSource, quaternions: np.ndarray) -> np.ndarray:
    """Straight bands: their spacing is the class, their direction the orientation."""
    y, x = np.mgrid[:SIZE, :SIZE]
    rng = np.random.default_rng(int(source.sha256[:8], 16))
    phase_shift = rng.uniform(0, 2 * np.pi)
    out = []
    for w, i, j, k in quaternions:
        angle = np.arctan2(i, w)
        wave = (x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / PERIOD[source.labels["true"]]
        noise = 0.3 * np.sin(50 * j * x + 70 * k * y)
        out.append(128 + 80 * np.sin(wave + phase_shift) + 30 * noise)
    return np.array(out).reshape(-1, SIZE, SIZE).astype(np.uint8)


def sources() -> list[PatternSource]:
    return [source(f"p{group}-{i}", group) for group in PERIOD for i in range(4)]


def recipe(**changes: object) -> DatasetRecipe:
    values = {"classes": tuple(PERIOD), "patterns_per_class": 40, "size": SIZE, "n_folds": 2}
    return DatasetRecipe(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 patterns, 3 classes, 12 phases, 2 folds."""
    path = tmp_path_factory.mktemp("data") / "bands.h5"
    build_dataset(recipe(), sources(), path, project=bands)
    return path


@pytest.fixture(scope="session")
def banded() -> SimpleNamespace:
    """What the stand-in is made of, for tests that build their own data sets."""
    return SimpleNamespace(size=SIZE, source=source, sources=sources, recipe=recipe, project=bands)

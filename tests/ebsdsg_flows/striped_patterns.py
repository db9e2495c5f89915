"""A small data set of stripes, their spacing the class, for tests of training and adaptation."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch

from ebsdsg_flows.datasets import reference
from ebsdsg_ml.datasets import PatternSource, build_dataset, file_sha256
from ebsdsg_ml.recipe import DatasetRecipe
from stores.collections import Stores
from stores.documents import DatasetDocument
from stores.identity import content_hash

SIZE = 24
GROUPS = {225: 4.0, 229: 9.0}


def stripes(source: PatternSource, quaternions: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE]
    period = GROUPS[source.labels["relabelled"] or 0]
    angle = np.arctan2(quaternions[:, 1], quaternions[:, 0])[:, None, None]
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
    return (128 + 100 * wave).astype(np.uint8)


def striped_dataset(stores: Stores, root: Path) -> DatasetDocument:
    """24 patterns of 4 phases in 2 folds, as a document of the database."""
    torch.set_num_threads(1)
    sources = [
        PatternSource(
            phase=f"mp-{group}{i}",
            formula="X",
            labels={"true": group, "relabelled": group},
            path=Path("/nowhere"),
            sha256=hashlib.sha256(f"{group}{i}".encode()).hexdigest(),
        )
        for group in GROUPS
        for i in range(2)
    ]
    recipe = DatasetRecipe(
        label="relabelled", classes=tuple(GROUPS), patterns_per_class=12, size=SIZE, n_folds=2
    )
    path = root / "datasets" / "stripes.h5"
    build_dataset(recipe, sources, path, project=stripes)
    made_of = {"stripes": 1}
    members = [
        {
            "simulation": s.sha256,
            "material_id": s.phase,
            "formula": "X",
            "true": s.labels["true"],
            "relabelled": s.labels["relabelled"],
            "fold": i % 2,
            "patterns": 6,
        }
        for i, s in enumerate(sources)
    ]
    document = DatasetDocument.from_mongo(
        {
            "key": content_hash(made_of),
            "recipe": made_of,
            "labels": "relabelled",
            "folds": 2,
            "n_patterns": 24,
            "counts": {"relabelled": {"225": 12, "229": 12}},
            "members": members,
            "leak_report": {},
            "file": reference(path, root, file_sha256(path)).model_dump(),
        }
    )
    stores.add(document)
    return document

"""The pattern of a model's data set that is most like a given one."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import HTTPException

from ebsdsg_flows.web.models import Asked
from ebsdsg_flows.web.site import Site

LARGEST_SET = 50_000
"""Patterns; comparing one with more takes too long for a page."""

AT_ONCE = 1024

DATASETS = 20
"""Data sets, the latest, among which that of a model file is looked for."""


def most_similar(site: Site, asked: Asked, pattern: np.ndarray) -> dict[str, Any] | None:
    """Compare a pattern with every stored one of the data set that a model learned from.

    Parameters
    ----------
    site : of the pages.
    asked : the model.
    pattern : (size, size) uint8, made what the training patterns are.

    Returns
    -------
    ``dataset``, its ``row``, ``material_id``, ``formula``, ``label``, which of the ``labels`` that
    is (``"true"`` or ``"relabelled"``), and ``ncc``, the normalised cross-correlation; ``None`` if
    the data set is not in the database, stores no patterns of this size, or too many.

    Notes
    -----
    It is the best of the orientations and phases that are there, with the detector of the data set;
    no orientation is refined.
    """
    from ebsdsg_ml.dataset_file import open_dataset

    dataset = _dataset(site, asked)
    if dataset is None:
        return None
    with open_dataset(site.file(dataset["file"])) as opened:
        stored = opened.patterns
        if stored is None or stored.shape[1:] != pattern.shape or len(stored) > LARGEST_SET:
            return None
        wanted = _standard(pattern[None])[0]
        scores = np.concatenate(
            [
                _standard(stored[first : first + AT_ONCE]) @ wanted
                for first in range(0, len(stored), AT_ONCE)
            ]
        )
        best = int(scores.argmax())
        phase = opened.phases[int(opened.phase[best])]
        label = int(opened.label[best])
        labels = opened.recipe.label
    return {
        "dataset": dataset["key"],
        "row": best,
        "material_id": str(phase["id"]),
        "formula": str(phase["formula"]),
        "label": label,
        "labels": labels,
        "ncc": float(scores[best]),
    }


def _dataset(site: Site, asked: Asked) -> dict[str, Any] | None:
    """Document of the data set that a model learned from, by the digest that the model holds if its
    key is not known.
    """
    from ebsdsg_ml.dataset_file import open_dataset
    from ebsdsg_ml.datasets import DatasetError

    fields = {"key": True, "file": True}
    if asked.dataset is not None:
        return site.stores.datasets.find_one({"key": asked.dataset}, fields)
    for entry in site.stores.datasets.find({}, fields).sort("created", -1).limit(DATASETS):
        try:
            with open_dataset(site.file(entry["file"])) as opened:
                if opened.content_sha256 == asked.card.dataset_sha256:
                    return entry
        except (DatasetError, HTTPException):
            continue  # its file is gone or broken: it is not the one
    return None


def _standard(patterns: np.ndarray) -> np.ndarray:
    """(n, pixels) float32 with mean 0 and length 1, so that products are correlations."""
    flat = patterns.reshape(len(patterns), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return flat / np.where(length > 0, length, 1)

"""The pattern of a run's data set that is most like a given one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ebsdsg_flows.web.site import Site

LARGEST_SET = 50_000
"""Patterns; comparing one with more takes too long for a page."""

AT_ONCE = 1024


def most_similar(site: Site, run: dict[str, Any], pattern: np.ndarray) -> dict[str, Any] | None:
    """Compare a pattern with every stored one of the data set that a run learned from.

    Parameters
    ----------
    site : of the pages.
    run : document of the training run.
    pattern : (size, size) uint8, made what the training patterns are.

    Returns
    -------
    ``row`` of the data set, ``material_id``, ``formula``, ``label`` and ``ncc``, the normalised
    cross-correlation; ``None`` if the data set stores no patterns of this size, or too many.

    Notes
    -----
    It is the best of the orientations and phases that are there, with the detector of the data set;
    no orientation is refined.
    """
    from ebsdsg_ml.dataset_file import open_dataset

    dataset = site.stores.datasets.find_one({"key": run["dataset"]}, {"file": True})
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
    return {
        "row": best,
        "material_id": str(phase["id"]),
        "formula": str(phase["formula"]),
        "label": label,
        "ncc": float(scores[best]),
    }


def _standard(patterns: np.ndarray) -> np.ndarray:
    """(n, pixels) float32 with mean 0 and length 1, so that products are correlations."""
    flat = patterns.reshape(len(patterns), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return flat / np.where(length > 0, length, 1)

"""Patterns to adapt to, read from whatever holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ebsdsg_ml.adaptation.domains import DomainError, Labelled, check_patterns
from ebsdsg_ml.dataset_file import DatasetError, open_dataset
from ebsdsg_ml.experimental.pattern_set import is_pattern_set
from ebsdsg_ml.experimental.processing import PatternProcessing
from ebsdsg_ml.experimental.read import read_patterns
from ebsdsg_ml.experimental.scan import PatternFileError
from ebsdsg_ml.splits import TEST


@dataclass(frozen=True)
class TargetPatterns:
    """Patterns to adapt to.

    Parameters
    ----------
    patterns : (n, size, size) uint8.
    labels : (n,) class indices where the truth is known (only ever recorded), or None.
    sha256 : digest of the patterns.
    """

    patterns: np.ndarray
    labels: np.ndarray | None
    sha256: str


def read_target(path: str | Path, classes: Sequence[int], size: int) -> TargetPatterns:
    """Patterns to adapt to, from whatever holds them.

    Parameters
    ----------
    path : data-set file, of which the test set is taken if it has one; ``.npy`` file of
        (n, size, size) uint8; a set of experimental patterns, as it was processed when imported; or
        a folder of vendors' files or images, cropped and resampled to what training patterns are.
    classes : space-group numbers; a data set of the same classes has known labels.
    size : pixels per side of the source patterns.

    Raises
    ------
    DomainError
        If there is nothing to read, or the patterns are of another size.
    """
    path = Path(path)
    labels: np.ndarray | None = None
    if path.is_dir() or is_pattern_set(path):
        plain = PatternProcessing(size, static=None, dynamic=None)
        try:
            held = read_patterns(path, processing=plain if path.is_dir() else None)
        except PatternFileError as error:
            raise DomainError(f"target: {error}") from error
        patterns = held.patterns
        if set(held.label.tolist()) <= set(classes):
            labels = np.searchsorted(np.array(classes), held.label)
    elif path.suffix == ".npy":
        if not path.is_file():
            raise DomainError(f"target {path} does not exist")
        patterns = np.load(path, allow_pickle=False)
    else:
        try:
            with open_dataset(path) as opened:
                same = opened.recipe.class_numbers == tuple(classes)
                folds = TEST if opened.recipe.test else None
            found = Labelled.read(path, folds)
        except DatasetError as error:
            raise DomainError(
                f"target: {error}; give a data set, imported patterns, a .npy file or a folder"
            ) from error
        patterns, labels = found.patterns, found.labels if same else None
    check_patterns(patterns)
    if patterns.shape[1] != size:
        raise DomainError(
            f"{path}: patterns of {patterns.shape[1]} pixels, the source's have {size}"
        )
    return TargetPatterns(patterns, labels, hashlib.sha256(patterns.tobytes()).hexdigest())

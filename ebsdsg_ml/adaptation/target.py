"""Patterns to adapt to, read from whatever holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ebsdsg_ml.adaptation.domains import DomainError, Labelled, check_patterns
from ebsdsg_ml.dataset_file import DatasetError, open_dataset
from ebsdsg_ml.experimental.known_phases import known_classes
from ebsdsg_ml.experimental.pattern_set import is_pattern_set, patterns_sha256
from ebsdsg_ml.experimental.processing import PatternProcessing
from ebsdsg_ml.experimental.read import read_patterns
from ebsdsg_ml.experimental.scan import PatternFileError
from ebsdsg_ml.quality import QualityDefinition
from ebsdsg_ml.splits import TEST


@dataclass(frozen=True)
class TargetPatterns:
    """Patterns to adapt to.

    Parameters
    ----------
    patterns : (n, size, size) uint8.
    labels : (n,) class indices where the truth is known (only ever recorded), or None.
    sha256 : digest of the patterns.
    processing : how a camera's image becomes a pattern like these.
    quality : definition of the image quality that was measured of them, or would be.
    remarks : why there are no labels, and whether the sources' patterns were processed otherwise.
    """

    patterns: np.ndarray
    labels: np.ndarray | None
    sha256: str
    processing: PatternProcessing
    quality: dict[str, Any]
    remarks: tuple[str, ...] = ()


def read_target(
    path: str | Path, classes: Sequence[int], label: str, processing: PatternProcessing
) -> TargetPatterns:
    """Patterns to adapt to, from whatever holds them.

    Parameters
    ----------
    path : data-set file, of which the test set is taken if it has one; ``.npy`` file of
        (n, size, size) uint8; a set of experimental patterns, as it was processed when imported; or
        a folder of vendors' files or images, processed like the sources.
    classes : space-group numbers, ascending.
    label : kind of these groups, ``"true"`` or ``"relabelled"``; labels of the other kind are not
        the truth, and are not taken.
    processing : what the sources' patterns are like
        (:meth:`ebsdsg_ml.experimental.processing.PatternProcessing.like`).

    Raises
    ------
    DomainError
        If there is nothing to read, or the patterns are of another size.
    """
    path = Path(path)
    labels, why = None, ""
    own, quality = processing, QualityDefinition(processing.size).to_dict()
    if path.is_dir() or is_pattern_set(path):
        try:
            held = read_patterns(path, processing=processing if path.is_dir() else None)
            own = PatternProcessing.from_dict(held.processing)
        except PatternFileError as error:
            raise DomainError(f"target: {error}") from error
        patterns, quality = held.patterns, held.quality_definition
        try:
            labels = known_classes(held, classes, label)
        except PatternFileError as error:
            why = str(error)
    elif path.suffix == ".npy":
        if not path.is_file():
            raise DomainError(f"target {path} does not exist")
        patterns, why = np.load(path, allow_pickle=False), "the file holds patterns alone"
    else:
        try:
            with open_dataset(path) as opened:
                recipe = opened.recipe
            found = Labelled.read(path, TEST if recipe.test else None)
        except DatasetError as error:
            raise DomainError(
                f"target: {error}; give a data set, imported patterns, a .npy file or a folder"
            ) from error
        patterns, own = found.patterns, PatternProcessing.like(recipe)
        if (recipe.label, recipe.class_numbers) == (label, tuple(classes)):
            labels = found.labels
        else:
            why = (
                f"the data set has the {recipe.label} groups {recipe.class_numbers}, the sources "
                f"have the {label} groups {tuple(classes)}"
            )
    check_patterns(patterns)
    size = processing.size
    if patterns.shape[1] != size:
        raise DomainError(
            f"{path}: patterns of {patterns.shape[1]} pixels, the source's have {size}"
        )
    remarks = [f"the accuracy on the target is not known: {why}"] if labels is None else []
    if other := _differences(own, processing):
        remarks.append(
            f"the target's patterns were processed otherwise than the sources' ({', '.join(other)})"
            "; the model takes patterns like the target's"
        )
    digest = patterns_sha256(patterns)
    return TargetPatterns(patterns, labels, digest, own, quality, tuple(remarks))


def _differences(one: PatternProcessing, other: PatternProcessing) -> list[str]:
    """Names of the steps in which two processings differ."""
    steps = other.to_dict()
    return [name for name, step in one.to_dict().items() if step != steps[name]]

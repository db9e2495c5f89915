"""Where patterns come from: a phase, its master pattern, an orientation, a detector.

Every orientation is fixed by the recipe's seed, the phase and the pattern's number within the
phase, and by nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ebsdsg_ml.dataset_file import DatasetError
from ebsdsg_ml.recipe import DatasetRecipe

if TYPE_CHECKING:
    from ebsdsg_sim.detector import Detector


@dataclass(frozen=True)
class PatternSource:
    """One phase and the master pattern that its patterns come from.

    Parameters
    ----------
    phase : identifier, unique in a data set.
    formula : reduced chemical formula.
    labels : space-group number by kind of label, ``{"true": 221, "relabelled": 225}``; a kind may
        be missing (or None) when the phase has no such label.
    path : master-pattern file.
    sha256 : digest of that file; checked before the file is used.
    prototype : structure prototype, or None when not known.
    """

    phase: str
    formula: str
    labels: Mapping[str, int | None]
    path: Path
    sha256: str
    prototype: str | None = None


Project = Callable[[PatternSource, np.ndarray], np.ndarray]
"""(source, (n, 4) unit quaternions) -> (n, size, size) uint8 patterns."""


def file_sha256(path: Path) -> str:
    """SHA-256 digest of a file, hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pattern_orientations(seed: int, phase: str, numbers: Sequence[int]) -> np.ndarray:
    """Orientations of a phase's patterns, each from (seed, phase, number) alone.

    Parameters
    ----------
    seed : the recipe's seed.
    phase : phase id.
    numbers : which patterns of the phase, from 0.

    Returns
    -------
    (n, 4) unit quaternions (w, x, y, z), uniform on SO(3); conventions of
    :mod:`ebsdsg_sim.orientation`.
    """
    from ebsdsg_sim.orientation import random_rotations

    rows = []
    for number in numbers:
        digest = hashlib.sha256(f"{seed}\x1f{phase}\x1f{number}".encode()).digest()
        rows.append(np.asarray(random_rotations(1, int.from_bytes(digest[:7], "big")))[0])
    return np.asarray(rows, dtype=np.float64).reshape(-1, 4)


def recipe_detector(recipe: DatasetRecipe) -> Detector:
    """The detector a recipe asks for: the paper's at the recipe's size, or the one described.

    Raises
    ------
    DatasetError
        If the description does not fit the detector's parameters.
    """
    from ebsdsg_sim.detector import Detector

    if not recipe.detector:
        return Detector.paper(size=recipe.size)
    try:
        return Detector(shape=(recipe.size, recipe.size), **recipe.detector)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"the recipe's detector is not usable: {error}") from error


def simulated_patterns(recipe: DatasetRecipe, *, device: str = "cpu", batch: int = 64) -> Project:
    """The projection that makes a data set's patterns from master patterns.

    Parameters
    ----------
    recipe : fixes detector and energy weights.
    device : torch device the projection runs on.
    batch : patterns projected at once.

    Returns
    -------
    A function (source, quaternions) -> uint8 patterns.
    """
    from ebsdsg_sim.hdf5 import read_master_pattern
    from ebsdsg_sim.projection import Projector, to_uint8

    detector = recipe_detector(recipe)

    def project(source: PatternSource, quaternions: np.ndarray) -> np.ndarray:
        projector = Projector(
            read_master_pattern(source.path),
            detector,
            energy_weights=recipe.energy_weights,
            background=recipe.background,
            solid_angle=recipe.solid_angle,
            device=device,
        )
        parts = []
        for start in range(0, len(quaternions), batch):
            patterns = to_uint8(projector.patterns(quaternions[start : start + batch]))
            parts.append(np.asarray(patterns.cpu() if hasattr(patterns, "cpu") else patterns))
        return np.concatenate(parts)

    return project

"""From a recipe to the projection that makes its patterns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ebsdsg_ml.pattern_source import DatasetError, PatternSource
from ebsdsg_ml.recipe import DatasetRecipe

if TYPE_CHECKING:
    from torch import Tensor

    from ebsdsg_sim.detector import Detector
    from ebsdsg_sim.projection import Projector

Project = Callable[[PatternSource, np.ndarray], np.ndarray]
"""(source, (n, 4) unit quaternions) -> (n, size, size) uint8 patterns."""

Imperfections = Callable[["Tensor", list[int]], "Tensor"]
"""((n, H, W) intensities, n seeds, one per pattern) -> (n, H, W) uint8."""


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


def recipe_projector(
    recipe: DatasetRecipe, source: PatternSource, device: str = "cpu"
) -> Projector:
    """Projector of one master pattern as a recipe asks for it.

    Raises
    ------
    ebsdsg_sim.hdf5.MasterPatternFileError
        If the file is not a finished master pattern.
    """
    from ebsdsg_sim.hdf5 import read_master_pattern
    from ebsdsg_sim.projection import Projector

    return Projector(
        read_master_pattern(source.path),
        recipe_detector(recipe),
        energy_weights=recipe.energy_weights,
        background=recipe.background,
        solid_angle=recipe.solid_angle,
        device=device,
    )


def recipe_imperfections(recipe: DatasetRecipe) -> Imperfections | None:
    """What the detector of a recipe does to the patterns; None where it is perfect.

    Raises
    ------
    DatasetError
        If the entry is not usable.
    """
    if not recipe.imperfections:
        return None
    raise DatasetError(
        "imperfections: this version cannot apply them yet; leave the entry out of the recipe"
    )


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
    from ebsdsg_sim.projection import to_uint8

    def project(source: PatternSource, quaternions: np.ndarray) -> np.ndarray:
        projector = recipe_projector(recipe, source, device)
        parts = []
        for start in range(0, len(quaternions), batch):
            patterns = to_uint8(projector.patterns(quaternions[start : start + batch]))
            parts.append(patterns.cpu().numpy())
        return np.concatenate(parts)

    return project

"""From a recipe to the projection that makes its patterns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ebsdsg_ml.dataset_plan import PlannedPhase
from ebsdsg_ml.orientations import pattern_indices
from ebsdsg_ml.pattern_source import PatternSource
from ebsdsg_ml.recipe import DatasetRecipe

if TYPE_CHECKING:
    from torch import Tensor

    from ebsdsg_ml.imperfections import DetectorImperfections
    from ebsdsg_sim.detector import Detector
    from ebsdsg_sim.projection import Projector

Project = Callable[[PatternSource, np.ndarray], np.ndarray]
"""(source, (n, 4) unit quaternions) -> (n, size, size) uint8 patterns."""

Make = Callable[[PlannedPhase, np.ndarray], np.ndarray]
"""The same of a planned phase, whose patterns' numbers go from 0."""


def recipe_detector(recipe: DatasetRecipe) -> Detector:
    """The detector a recipe asks for: the paper's at the recipe's size, or the one described."""
    from ebsdsg_sim.detector import Detector

    if not recipe.detector:
        return Detector.paper(size=recipe.size)
    return Detector(shape=(recipe.size, recipe.size), **recipe.detector)


def detector_entries(recipe: DatasetRecipe) -> dict[str, Any]:
    """The whole geometry of a recipe's detector, defaults too, as its ``detector`` would say it.

    Parameters
    ----------
    recipe : of a data set.

    Returns
    -------
    Keyword arguments of :class:`ebsdsg_sim.detector.Detector` other than ``shape``.
    """
    entries = asdict(recipe_detector(recipe))
    del entries["shape"]
    return entries


def recipe_imperfections(recipe: DatasetRecipe) -> DetectorImperfections | None:
    """What the detector of a recipe does to the patterns; None where it is perfect."""
    if not recipe.imperfections:
        return None
    from ebsdsg_ml.imperfections import DetectorImperfections

    return DetectorImperfections.from_dict(recipe.imperfections)


def recipe_projector(
    recipe: DatasetRecipe, source: PatternSource, key: str, device: str = "cpu"
) -> Projector:
    """Projector of one master pattern as a recipe asks for it.

    Parameters
    ----------
    recipe, source : what to project.
    key : phase and set, from which the shift of the energies follows, if there is one.
    device : where.

    Raises
    ------
    ebsdsg_sim.hdf5.MasterPatternFileError
        If the file is not a finished master pattern.
    """
    from ebsdsg_sim.hdf5 import read_master_pattern
    from ebsdsg_sim.projection import Projector

    imperfections = recipe_imperfections(recipe)
    (number,) = pattern_indices(key, [0])
    options: dict[str, Any] = (
        {} if imperfections is None else dict(imperfections.projector_options(recipe.seed, number))
    )
    return Projector(
        read_master_pattern(source.path),
        recipe_detector(recipe),
        energy_weights=recipe.energy_weights,
        background=recipe.background,
        solid_angle=recipe.solid_angle,
        device=device,
        **options,
    )


def detected(
    projector: Projector,
    quaternions: np.ndarray,
    imperfections: DetectorImperfections | None,
    seed: int,
    indices: Sequence[int],
) -> Tensor:
    """Patterns as a detector gives them, in 8 bits.

    Parameters
    ----------
    projector : of a master pattern.
    quaternions : (n, 4) orientations.
    imperfections : of the detector; None for a perfect one.
    seed, indices : fix what the imperfections leave to chance.

    Returns
    -------
    (n, H, W) uint8 on the projector's device; each pattern scaled from its own minimum and maximum,
    unless the imperfections have a quantisation of their own.
    """
    import torch

    from ebsdsg_sim.projection import to_uint8

    if imperfections is None:
        return to_uint8(projector.patterns(quaternions))
    patterns = imperfections.patterns(projector, quaternions, seed, indices)
    return patterns if patterns.dtype == torch.uint8 else to_uint8(patterns)


def simulated_patterns(recipe: DatasetRecipe, *, device: str = "cpu", batch: int = 64) -> Make:
    """What makes a data set's patterns from master patterns.

    Parameters
    ----------
    recipe : fixes detector, energy weights and imperfections.
    device : torch device the projection runs on.
    batch : patterns made at once.

    Returns
    -------
    A function (planned phase, quaternions) -> uint8 patterns.

    Raises
    ------
    ebsdsg_sim.device.DeviceError
        If torch cannot compute on the device.
    """
    from ebsdsg_sim.device import usable_device

    usable_device(device)
    imperfections = recipe_imperfections(recipe)

    def make(phase: PlannedPhase, quaternions: np.ndarray) -> np.ndarray:
        projector = recipe_projector(recipe, phase.source, phase.stream, device)
        indices = pattern_indices(phase.stream, range(len(quaternions)))
        parts = [
            detected(
                projector,
                quaternions[start : start + batch],
                imperfections,
                recipe.seed,
                indices[start : start + batch],
            )
            for start in range(0, len(quaternions), batch)
        ]
        return np.concatenate([part.cpu().numpy() for part in parts])

    return make

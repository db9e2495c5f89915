"""A target domain whose truth is known: the experiment's phases, recorded badly, three ways.

The paper's experimental patterns are not public.  In their place stand patterns of the same phases
from master patterns with other Debye-Waller factors, on a detector that is not where the source's
is, with blur, noise, background and distortion, in three severities that were written down before
anything was measured with them.  As in the paper's test set many patterns of every phase are
recorded in all qualities and the best by image quality are kept, of every phase the same number, so
that the classes are as unequal as the experiment's phases make them.

Nothing may be chosen by these patterns; they are for reporting only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ebsdsg_ml.orientations import pattern_indices, pattern_orientations
from ebsdsg_ml.pattern_source import PatternSource
from ebsdsg_ml.recipe import DatasetRecipe

if TYPE_CHECKING:
    from ebsdsg_sim.detector import Detector

BEAM = 51.0
"""Beam current of the paper [nA]."""


class SyntheticTargetError(ValueError):
    """A target pool cannot be made as asked; the message says why."""


@dataclass(frozen=True)
class Severity:
    """How far a target domain is from the source.

    Parameters
    ----------
    pattern_centre : shift of Bruker's pattern centre that the source does not know of: fractions of
        the width, of the height, of the height.
    tilt : unknown error of the detector's tilt [degrees].
    electrons : fewest and most electrons per pixel of a pattern; what makes its quality.
    blur : least and largest standard deviation of the point spread, fractions of the width.
    jitter : standard deviation of the pattern centre from pattern to pattern, fractions.
    vignetting, dark, stray, distortion, energy_shift : see :mod:`ebsdsg_ml.imperfections`.
    """

    pattern_centre: tuple[float, float, float]
    tilt: float
    electrons: tuple[float, float]
    blur: tuple[float, float]
    jitter: float
    vignetting: float
    dark: float
    stray: float
    distortion: float
    energy_shift: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    def imperfections(self, size: int) -> dict[str, Any]:
        """Entry ``imperfections`` of a recipe.

        Parameters
        ----------
        size : pixels along one side; the electrons are those of a pixel of this size.
        """
        # efficiency one: the dwell time alone says how many electrons make a pattern
        per_microsecond = BEAM * 6.241509074e9 * 1e-6 / size**2
        dwell = [number / per_microsecond for number in self.electrons]
        return {
            "energy_shift": [-self.energy_shift, self.energy_shift],
            "geometry": {
                "pcx": self.jitter,
                "pcy": self.jitter,
                "pcz": self.jitter,
                "tilt": 50 * self.jitter,
            },
            "distortion": {"k1": self.distortion},
            "counts": {"beam_current": BEAM, "dwell_time": dwell, "efficiency": 1.0},
            "blur": {"sigma": list(self.blur)},
            "response": {"vignetting": self.vignetting, "dark": self.dark, "stray": self.stray},
        }

    def detector(self, size: int) -> Detector:
        """Where the target's detector is: the paper's, shifted and tilted."""
        from ebsdsg_sim.detector import Detector

        paper = Detector.paper(size)
        x, y, z = self.pattern_centre
        return replace(
            paper,
            xpc=paper.xpc - x * size,
            ypc=paper.ypc - y * size,
            distance=paper.distance + z * size * paper.pixel_size,
            tilt=paper.tilt + self.tilt,
        )

    def recipe(self, size: int, seed: int) -> DatasetRecipe:
        """The domain as a recipe: what ``ebsdsg dataset build`` would make patterns with."""
        detector = asdict(self.detector(size))
        del detector["shape"]
        return DatasetRecipe(
            label="relabelled",
            size=size,
            seed=seed,
            detector=detector,
            imperfections=self.imperfections(size),
        )


SEVERITIES: Mapping[str, Severity] = {
    "mild": Severity(
        pattern_centre=(0.01, -0.01, 0.01),
        tilt=0.5,
        electrons=(400, 2000),
        blur=(0.002, 0.006),
        jitter=0.003,
        vignetting=0.1,
        dark=0.05,
        stray=0.02,
        distortion=0.005,
        energy_shift=0.5,
    ),
    "middle": Severity(
        pattern_centre=(-0.03, 0.03, 0.03),
        tilt=-1.5,
        electrons=(60, 600),
        blur=(0.004, 0.012),
        jitter=0.006,
        vignetting=0.25,
        dark=0.2,
        stray=0.1,
        distortion=0.02,
        energy_shift=1.0,
    ),
    "severe": Severity(
        pattern_centre=(0.06, 0.06, -0.06),
        tilt=3.0,
        electrons=(15, 150),
        blur=(0.008, 0.02),
        jitter=0.012,
        vignetting=0.4,
        dark=0.5,
        stray=0.3,
        distortion=-0.04,
        energy_shift=2.0,
    ),
}
"""The three severities.  Kikuchi bands are 10 to 20 % of the signal: the noise of 600 electrons is
4 %, of 60 13 %, of 15 26 %."""


@dataclass(frozen=True)
class TargetPool:
    """Patterns of a target domain; the labels are for reporting.

    Parameters
    ----------
    patterns : (n, size, size) uint8.
    phases : (n,) position of each pattern's phase among the sources.
    quality : (n,) image quality.
    """

    patterns: np.ndarray
    phases: np.ndarray
    quality: np.ndarray


def target_pool(
    severity: Severity,
    sources: Sequence[PatternSource],
    *,
    size: int,
    recorded: int = 200,
    kept: int = 100,
    seed: int = 0,
) -> TargetPool:
    """Record the phases of a target domain and keep the best patterns of each, as the paper did.

    Parameters
    ----------
    severity : how far the domain is from the source.
    sources : its phases' master patterns.
    size : pixels along one side.
    recorded, kept : patterns of every phase before and after the choice by image quality.
    seed : of orientations and of all chance in the detector.

    Returns
    -------
    The patterns, phase by phase.

    Raises
    ------
    SyntheticTargetError
        If more are to be kept than are recorded.
    ebsdsg_ml.experimental.scan.PatternFileError
        If all patterns of a phase are blank.
    ebsdsg_sim.hdf5.MasterPatternFileError
        If a source is no finished master pattern.
    """
    import torch

    from ebsdsg_ml.experimental.choice import best_by_quality
    from ebsdsg_ml.quality import image_quality
    from ebsdsg_ml.simulated_patterns import detected, recipe_imperfections, recipe_projector

    if not 1 <= kept <= recorded:
        raise SyntheticTargetError(f"{kept} best of {recorded} patterns: record more")
    recipe = severity.recipe(size, seed)
    imperfections = recipe_imperfections(recipe)
    patterns, phases, qualities = [], [], []
    for number, source in enumerate(sources):
        key = f"{source.phase} target"
        turns = pattern_orientations(seed, key, range(recorded))
        chance = pattern_indices(key, range(recorded))
        projector = recipe_projector(recipe, source, key)
        made = detected(projector, turns, imperfections, seed, chance)
        quality = image_quality(made.to(torch.float32)).numpy()
        best = best_by_quality(quality, kept)
        patterns.append(made.numpy()[best])
        phases.append(np.full(len(best), number))
        qualities.append(quality[best])
    return TargetPool(np.concatenate(patterns), np.concatenate(phases), np.concatenate(qualities))

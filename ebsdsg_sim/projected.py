"""Patterns on a detector in one call, with what they were projected from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ebsdsg_sim.atomic_file import new_file
from ebsdsg_sim.card import card, picture
from ebsdsg_sim.detector import Detector
from ebsdsg_sim.masterpattern import MasterPattern
from ebsdsg_sim.orientation import random_rotations
from ebsdsg_sim.projection import Projector, to_uint8

#: Patterns that a notebook shows.
SHOWN = 6


@dataclass(frozen=True, eq=False)
class ProjectedPatterns:
    """Patterns of one crystal on one detector.

    Parameters
    ----------
    intensities : (n, rows, columns) float32; row 0 is the top of the screen.
    quaternions : (n, 4) orientations (w, x, y, z), ``v_crystal = R v_sample``.
    detector : where they were projected.
    name : of the crystal.
    space_group : of the crystal.
    """

    intensities: np.ndarray
    quaternions: np.ndarray
    detector: Detector
    name: str
    space_group: int

    def __len__(self) -> int:
        return len(self.intensities)

    @property
    def images(self) -> np.ndarray:
        """(n, rows, columns) uint8, each pattern from its own darkest to its brightest pixel."""
        return to_uint8(self.intensities).numpy()

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write every pattern as an image that `ebsdsg predict` reads.

        Parameters
        ----------
        folder : made if it is not there; files are ``pattern_0000.png`` and so on, and replace
            those of the same name.

        Returns
        -------
        The files, in the order of the patterns.
        """
        from PIL import Image

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"pattern_{number:04d}.png" for number in range(len(self))]
        for path, image in zip(paths, self.images, strict=True):
            with new_file(path) as temporary:
                Image.fromarray(image).save(temporary, format="PNG")
        return paths

    def __repr__(self) -> str:
        rows, columns = self.detector.shape
        return (
            f"<{len(self)} patterns {rows}x{columns} of {self.name}, space group "
            f"{self.space_group}>"
        )

    def _repr_html_(self) -> str:
        rows, columns = self.detector.shape
        x, y, z = self.detector.pc()
        facts = {
            "space group": self.space_group,
            "pixels": f"{rows} × {columns} of {self.detector.pixel_size:.4g} µm",
            "screen": f"{self.detector.distance / 1000:g} mm away, tilted {self.detector.tilt:g}°; "
            f"sample {self.detector.sample_tilt:g}°",
            "pattern centre": f"({x:.3f}, {y:.3f}, {z:.3f}), Bruker's convention",
        }
        if len(self) > SHOWN:
            facts["shown"] = f"the first {SHOWN}"
        shown = [
            picture(image, f"pattern {number} of {self.name}")
            for number, image in enumerate(self.images[:SHOWN])
        ]
        return card(f"{len(self)} patterns of {self.name}", facts, shown)


def project(
    master_pattern: MasterPattern,
    detector: Detector,
    orientations: int | ArrayLike,
    *,
    seed: int = 0,
    **options: Any,
) -> ProjectedPatterns:
    """Project a master pattern on a detector.

    Parameters
    ----------
    master_pattern : what to project.
    detector : where.
    orientations : a number of random ones, or quaternions (n, 4), ``v_crystal = R v_sample``.
    seed : of the random orientations.
    **options : of :class:`ebsdsg_sim.projection.Projector`, such as ``energy_weights`` or
        ``device``.

    Raises
    ------
    ProjectionError, OrientationError
        If an option or the orientations cannot be used.
    """
    if isinstance(orientations, (int, np.integer)):
        quaternions = random_rotations(int(orientations), seed)
    else:
        quaternions = np.atleast_2d(np.asarray(orientations, dtype=float))
    patterns = Projector(master_pattern, detector, **options).patterns(quaternions)
    crystal = master_pattern.crystal
    return ProjectedPatterns(
        patterns.cpu().numpy(), quaternions, detector, crystal.name, crystal.space_group
    )

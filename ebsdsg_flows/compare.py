"""Two master patterns side by side, whatever engine made them.

They are compared at the grid nodes and energies that both have, never by interpolation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ebsdsg_sim.atomic_file import new_file

if TYPE_CHECKING:
    from ebsdsg_sim.masterpattern import MasterPattern


class CompareError(ValueError):
    """Two files have nothing in common that could be compared."""


@dataclass(frozen=True)
class Agreement:
    """How two master patterns agree at one energy.

    Parameters
    ----------
    energy : [keV]
    n_nodes : nodes compared, both hemispheres.
    ncc : normalised cross-correlation; not a number where one is constant.
    scale : ratio of the mean intensities, second to first.
    largest : largest difference after scaling the means to one.
    """

    energy: float
    n_nodes: int
    ncc: float
    scale: float
    largest: float


def compare_files(first: Path, second: Path) -> list[Agreement]:
    """Compare two master-pattern files.

    Parameters
    ----------
    first, second : files of any engine.

    Returns
    -------
    One entry per common energy, ascending.

    Raises
    ------
    CompareError
        If they have no energy in common.
    ebsdsg_sim.hdf5.MasterPatternFileError
        If one is not a complete master pattern.
    """
    from ebsdsg_sim.comparison import normalised_cross_correlation
    from ebsdsg_sim.hdf5 import read_master_pattern

    a, b = read_master_pattern(first), read_master_pattern(second)
    results = []
    for i, j in _common(a, b):
        one, other = common_nodes(a, b, i, j)
        means = float(one.mean()), float(other.mean())
        same = means[0] > 0 and means[1] > 0
        difference = np.abs(other / means[1] - one / means[0]).max() if same else math.nan
        results.append(
            Agreement(
                energy=float(a.energies[i]),
                n_nodes=one.size,
                ncc=normalised_cross_correlation(one, other),
                scale=means[1] / means[0] if means[0] > 0 else math.nan,
                largest=float(difference),
            )
        )
    return results


def common_nodes(
    a: MasterPattern, b: MasterPattern, i: int, j: int
) -> tuple[np.ndarray, np.ndarray]:
    """Total intensities at the nodes that both grids have.

    Parameters
    ----------
    a, b : master patterns.
    i, j : index of the energy in each.

    Returns
    -------
    Two arrays (2, side, side), float64: northern and southern hemisphere.
    """
    nodes = math.gcd(a.npx, b.npx)
    maps = []
    for pattern, index in ((a, i), (b, j)):
        step = pattern.npx // nodes
        halves = [
            half[:, index, ::step, ::step].sum(axis=0) for half in (pattern.north, pattern.south)
        ]
        maps.append(np.array(halves, dtype=np.float64))
    return maps[0], maps[1]


def difference_picture(first: Path, second: Path, path: Path) -> float:
    """Draw both and their difference at the highest common energy.

    Parameters
    ----------
    first, second : files of any engine.
    path : PNG file to write.

    Returns
    -------
    Energy shown [keV].
    """
    from PIL import Image

    from ebsdsg_sim.hdf5 import read_master_pattern

    a, b = read_master_pattern(first), read_master_pattern(second)
    i, j = _common(a, b)[-1]
    one, other = (maps[0] / maps[0].mean() for maps in common_nodes(a, b, i, j))
    low, high = min(one.min(), other.min()), max(one.max(), other.max())
    difference = other - one
    limit = max(float(np.abs(difference).max()), 1e-12)
    panels = [(half - low) / (high - low) for half in (one, other)]
    grey = [np.repeat((255 * panel).astype(np.uint8)[..., None], 3, axis=2) for panel in panels]
    signed = difference / limit
    fade = 1 - np.abs(signed)
    red, blue = np.where(signed > 0, 1, fade), np.where(signed < 0, 1, fade)
    coloured = (255 * np.stack([red, fade, blue], axis=2)).astype(np.uint8)
    gap = np.full((one.shape[0], 4, 3), 255, dtype=np.uint8)
    picture = np.concatenate([grey[0], gap, grey[1], gap, coloured], axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")
    return float(a.energies[i])


def _common(a: MasterPattern, b: MasterPattern) -> list[tuple[int, int]]:
    pairs = [
        (i, j)
        for i, energy in enumerate(a.energies)
        for j, other in enumerate(b.energies)
        if abs(float(energy) - float(other)) < 1e-3
    ]
    if not pairs:
        raise CompareError(
            f"no energy in common: {a.energies.tolist()} and {b.energies.tolist()} keV"
        )
    return pairs

"""Our dynamical calculation beside EMsoft's: the same crystal, parameters and depth histogram.

The Monte Carlo is taken from EMsoft's file, so that what is compared is the dynamical part alone,
absolute scale included; every energy counts for itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ebsdsg_sim.grid_symmetry import grid_orbits
from ebsdsg_sim.hdf5 import read_master_pattern
from ebsdsg_sim.masterpattern import energy_solver


@dataclass(frozen=True)
class EnergyComparison:
    """How well one energy agrees with a reference.

    Parameters
    ----------
    energy : [keV]
    n_nodes : nodes of the northern map compared
    ncc : normalised cross-correlation over these nodes and all sites; not a number where the
        reference is empty (EMsoft's low energies of heavy elements)
    max_relative : largest relative difference where the reference is not zero
    mean_absolute : mean absolute difference divided by the reference's range
    scale : ratio of the mean intensities, ours to the reference's
    mean_strong, mean_weak : mean numbers of beams
    cpu_seconds : processor time of our solve
    n_solved : distinct directions solved
    """

    energy: float
    n_nodes: int
    ncc: float
    max_relative: float
    mean_absolute: float
    scale: float
    mean_strong: float
    mean_weak: float
    cpu_seconds: float
    n_solved: int


def compare_with_emsoft(
    reference: str | os.PathLike[str],
    nodes: int | None = None,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[EnergyComparison]:
    """Recompute an EMsoft master pattern with EMsoft's own depth histogram and compare.

    Parameters
    ----------
    reference : EMsoft master-pattern file
    nodes : number of distinct grid nodes drawn at random (the same for every energy); all of the
        northern hemisphere where not given
    seed : of that draw
    device, dtype : of our calculation
    progress : called with (energies done, energies in all)

    Returns
    -------
    One `EnergyComparison` per energy, ascending.

    Raises
    ------
    MasterPatternFileError
        If the file is not a complete master pattern.
    """
    theirs = read_master_pattern(reference)
    orbits = grid_orbits(theirs.crystal.point_group, theirs.npx)
    rows_of_north = orbits.orbit[0].ravel()
    chosen = np.unique(rows_of_north)
    if nodes is not None and nodes < len(chosen):
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, nodes, replace=False))
    north_nodes = np.flatnonzero(np.isin(rows_of_north, chosen))
    if nodes is not None:
        north_nodes = north_nodes[np.unique(rows_of_north[north_nodes], return_index=True)[1]]
    place = np.searchsorted(chosen, rows_of_north[north_nodes])
    comparisons = []
    for index, energy in enumerate(theirs.energies):
        start = time.process_time()
        solver, _ = energy_solver(
            theirs.crystal, theirs.parameters, theirs.monte_carlo, index, device=device, dtype=dtype
        )
        values, solved = solver.intensities(orbits.directions[chosen])
        seconds = time.process_time() - start
        if theirs.north.shape[0] == 1:
            values = values.sum(axis=1, keepdims=True)
        ours = values[place].T
        expected = theirs.north[:, index].reshape(len(theirs.north), -1)[:, north_nodes]
        comparisons.append(
            EnergyComparison(
                energy=float(energy),
                n_nodes=len(north_nodes),
                ncc=normalised_cross_correlation(ours, expected),
                max_relative=_largest(ours, expected),
                mean_absolute=_ratio(np.abs(ours - expected).mean(), np.ptp(expected)),
                scale=_ratio(ours.mean(), expected.mean()),
                mean_strong=solved.mean_strong,
                mean_weak=solved.mean_weak,
                cpu_seconds=seconds,
                n_solved=solved.n_directions,
            )
        )
        if progress is not None:
            progress(index + 1, len(theirs.energies))
    return comparisons


def normalised_cross_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation coefficient of two arrays of equal shape, in float64; nan if one is constant."""
    a = np.asarray(first, dtype=np.float64).ravel()
    b = np.asarray(second, dtype=np.float64).ravel()
    a, b = a - a.mean(), b - b.mean()
    return _ratio(a @ b, np.sqrt((a @ a) * (b @ b)))


def _largest(ours: np.ndarray, expected: np.ndarray) -> float:
    filled = expected != 0
    return float(np.abs(ours[filled] / expected[filled] - 1).max()) if filled.any() else np.nan


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below else np.nan

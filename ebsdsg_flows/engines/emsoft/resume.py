"""Continuing a master pattern after a time-out or a crash, with the numbers of an unbroken run.

EMEBSDmaster can restart at the first missing energy, but it then forms the normal absorption length
in its depth weights with the wavelength of *that* energy instead of the beam energy, and the
restarted energies come out up to 7 % too bright (EMsoft 5.0.4, measured).  The weights are the
depth histogram times exp(2 pi z / xi'), both known, so the copy that is restarted gets a
histogram whose electrons are thinned out with depth by just the ratio of the two factors.  EMsoft
then computes with the weights that it would have had.  Afterwards the histogram is put back, and
the one thing that the thinning may change besides, the integration depth, is divided out.

This is a *correction*, not a recomputation; what remains is the rounding of the thinned counts to
whole electrons.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from ebsdsg_flows.engines.base import EngineFailure
from ebsdsg_flows.engines.emsoft.broken_file import reading
from ebsdsg_flows.engines.emsoft.result_file import lowest_energy
from ebsdsg_sim.atomic_file import new_file, sync
from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.depth_weights import integration_terms
from ebsdsg_sim.montecarlo import MonteCarlo
from ebsdsg_sim.parameters import SimulationParameters
from ebsdsg_sim.structure_factors import absorption_length

MARK = "ebsdsg_restart"
CORRECTED_BELOW = "ebsdsg_corrected_below"
"""Attribute of a file in which energies were made by a restart: the lowest index that was not."""

DEPTHS = "EMData/MCOpenCL/accum_z"
MASTER = "EMData/EBSDmaster"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unfinished:
    """A verified master-pattern file that an earlier run left.

    Parameters
    ----------
    path : the file.
    lowest : index of the lowest finished energy; 0 means that all are finished.
    """

    path: Path
    lowest: int


def unfinished(
    files: Iterable[Path],
    original: MonteCarlo,
    crystal: Crystal,
    parameters: SimulationParameters,
) -> list[Unfinished]:
    """The files that can be trusted, that with most energies first.

    Parameters
    ----------
    files : what earlier runs left.
    original : the Monte Carlo of the simulation; what was made with another one is not continued.
    crystal, parameters : what it must be of.

    Returns
    -------
    Those with at least one good energy; a run that was stopped before its first energy was stored
    cannot be restarted, EMsoft would compute it without a wavelength.
    """
    found = []
    for path in files:
        try:
            found.append(Unfinished(path, lowest_energy(path, crystal, parameters, original)))
        except EngineFailure as failure:
            log.warning("%s cannot be continued: %s", path, failure)
    return sorted(found, key=lambda leftover: leftover.lowest)


def copy_for_restart(
    source: Unfinished,
    target: Path,
    original: MonteCarlo,
    crystal: Crystal,
    parameters: SimulationParameters,
) -> int:
    """Copy an unfinished file, verify the copy, and make it fit for a restart.

    Parameters
    ----------
    source : what an earlier run left; it is not touched.
    target : the copy, for the next run.
    original : the Monte Carlo of the simulation.
    crystal, parameters : of the simulation.

    Returns
    -------
    Index of the lowest finished energy.

    Raises
    ------
    EngineFailure
        If the copy is not good.
    """
    shutil.copyfile(source.path, target)
    with reading(target):
        settle(target, original)
    lowest = lowest_energy(target, crystal, parameters, original)
    if lowest > 0:
        thinned, scale = thin_out(original, crystal, lowest)
        with h5py.File(target, "r+") as file:
            file[DEPTHS][...] = _as_stored(thinned.accum_z)
            mark = {"below": lowest, "scale": scale.tolist()}
            file.attrs[MARK] = np.bytes_(json.dumps(mark).encode())
        sync(target)
    return lowest


def thin_out(
    monte_carlo: MonteCarlo, crystal: Crystal, lowest: int
) -> tuple[MonteCarlo, np.ndarray]:
    """The Monte Carlo with which a restarted run computes as an unbroken one would.

    Parameters
    ----------
    monte_carlo : of the simulation; its highest energy is the beam energy.
    crystal : gives the absorption lengths.
    lowest : index of the lowest finished energy; the restart begins one below.

    Returns
    -------
    thinned : with fewer deep electrons in the energies below ``lowest``.
    scale : (lowest,) factors for the restarted maps, new over old integration depth.
    """
    energies = monte_carlo.energies
    beam, start = float(energies[-1]), float(energies[lowest - 1])
    counts = monte_carlo.accum_z.astype(np.int64)
    depth = np.arange(counts.shape[1]) * monte_carlo.depth_step
    for index in range(lowest):
        energy = float(energies[index])
        right = 1 / absorption_length(crystal, energy, beam)
        wrong = 1 / absorption_length(crystal, energy, start)
        factors = np.exp(2 * np.pi * depth * (right - wrong))
        counts[index] = _thinned(counts[index], factors)
    thinned = replace(monte_carlo, accum_z=counts.astype(monte_carlo.accum_z.dtype))
    scale = integration_terms(thinned) / integration_terms(monte_carlo)
    return thinned, scale[:lowest]


def settle(path: Path, original: MonteCarlo) -> bool:
    """Put the histogram of a restarted file back and scale the energies that the restart made.

    The file is replaced by a settled copy: one that was left half scaled would be scaled again.

    Parameters
    ----------
    path : file that was restarted, finished or not; others are left alone.
    original : the Monte Carlo of the simulation.

    Returns
    -------
    Whether the file had been restarted.
    """
    with h5py.File(path) as file:
        if MARK not in file.attrs:
            return False
    with new_file(path) as temporary:
        shutil.copyfile(path, temporary)
        with h5py.File(temporary, "r+") as file:
            mark = json.loads(bytes(file.attrs[MARK]).decode())
            group = file[MASTER]
            finished = range(max(0, int(group["lastEnergy"][0]) - 1), mark["below"])
            for index in finished:
                factor = np.float32(mark["scale"][index])
                for name in ("mLPNH", "mLPSH"):
                    group[name][:, index] = group[name][:, index] * factor
                for name in ("masterSPNH", "masterSPSH"):
                    group[name][index] = group[name][index] * factor
            file[DEPTHS][...] = _as_stored(original.accum_z)
            del file.attrs[MARK]
            if finished and CORRECTED_BELOW not in file.attrs:
                file.attrs[CORRECTED_BELOW] = mark["below"]
    return True


def corrected_below(path: Path) -> int:
    """Number of the lowest energies that were made by restarts and corrected; mostly 0.

    Parameters
    ----------
    path : a settled file.
    """
    with h5py.File(path) as file:
        return int(file.attrs.get(CORRECTED_BELOW, 0))


def _thinned(counts: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Counts (n_depths, ...) times a factor per depth, in whole electrons, depth sums kept.

    What rounding takes from one depth is given to the next, which has nearly the same weight.
    """
    flat = counts.reshape(len(counts), -1)
    result = np.zeros_like(flat)
    carried = 0.0
    for k, (row, factor) in enumerate(zip(flat, factors, strict=True)):
        exact = row * factor
        wanted = float(exact.sum()) + carried
        total = min(int(row.sum()), max(0, round(wanted)))
        carried = wanted - total
        whole = np.floor(exact).astype(np.int64)
        missing = total - int(whole.sum())
        if missing > 0:
            # only where an electron is left, the pixels that lost most first
            order = np.argsort(whole - exact, kind="stable")
            room = order[row[order] > whole[order]]
            whole[room[:missing]] += 1
        elif missing < 0:
            order = np.argsort(exact - whole, kind="stable")
            whole[order[whole[order] > 0][:-missing]] -= 1
        result[k] = whole
    return result.reshape(counts.shape)


def _as_stored(accum_z: np.ndarray) -> np.ndarray:
    """Axes as EMsoft's file has them."""
    return np.ascontiguousarray(accum_z.transpose(3, 2, 1, 0).astype(np.int32))

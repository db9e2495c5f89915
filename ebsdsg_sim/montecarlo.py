"""Monte Carlo of backscattered electrons: at which energy, from which depth, in which direction.

Electrons are followed one scattering event at a time under Joy's continuous-slowing-down model,
with the cross sections and the counting rules of EMsoft's ``EMMCOpenCL``.  The result weights the
dynamical calculation by depth (``accum_z``) and the projection by energy (``accum_e``).

Frame: z points into the sample, the surface is z = 0, and the incident beam lies in the x-z plane
at ``sample_tilt`` from z, so most electrons leave towards +x.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ebsdsg_sim.electrons import Medium, MonteCarloError, follow_electrons
from ebsdsg_sim.lambert import to_square
from ebsdsg_sim.parameters import SimulationParameters

if TYPE_CHECKING:
    from ebsdsg_sim.crystal import Crystal

#: Electrons of one random-number stream.  Part of what a seed means: changing it changes results.
BLOCK = {"cpu": 1 << 18, "cuda": 1 << 22}

__all__ = ["MonteCarlo", "MonteCarloError", "simulate_monte_carlo"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class MonteCarlo:
    """Histograms of the electrons that left the sample above the lowest energy.

    Parameters
    ----------
    accum_e : (n_energies, p, p) integer counts of exit directions on the Lambert square of odd
        side p = 2 h + 1.  Element ``[e, i, j]`` is the node with Lambert y = (i - h)/h and
        x = -(j - h)/h (EMsoft's index convention).
    accum_z : (n_energies, n_depths, q, q) integer counts; depth bin k is centred on
        ``k * depth_step``, the directions are those of ``accum_e`` on a grid ten times coarser.
        Electrons from deeper than the last bin are not in it.
    energies : (n_energies,) bin centres, ascending [keV].
    depth_step : width of the depth bins [nm].
    n_electrons : nominal number of electrons, by which intensities are normalised.
    n_simulated : number really run (EMsoft rounds up to full work groups; here both are equal).
    seed : seed of the random numbers; None when another program made the histograms.
    sample_tilt : angle between the surface normal and the beam [degrees].
    cpu_seconds : processor time the run took; 0 when read from a file.
    """

    accum_e: np.ndarray
    accum_z: np.ndarray
    energies: np.ndarray
    depth_step: float
    n_electrons: int
    n_simulated: int
    seed: int | None = None
    sample_tilt: float = 70.0
    cpu_seconds: float = 0.0

    def __post_init__(self) -> None:
        n = len(self.energies)
        e, z = self.accum_e.shape, self.accum_z.shape
        if len(e) != 3 or e[0] != n or e[1] != e[2] or e[1] % 2 == 0:
            raise MonteCarloError(f"accum_e has shape {e}, expected ({n}, odd p, p)")
        if len(z) != 4 or z[0] != n or z[2] != z[3] or z[2] % 2 == 0:
            raise MonteCarloError(f"accum_z has shape {z}, expected ({n}, depths, odd q, q)")
        if n > 1 and np.any(np.diff(self.energies) <= 0):
            raise MonteCarloError(f"energies must ascend, got {self.energies}")
        if min(self.accum_e.min(), self.accum_z.min()) < 0:
            raise MonteCarloError("a histogram holds negative counts: the data are damaged")

    @property
    def backscatter_yield(self) -> float:
        """Fraction of the simulated electrons that left above the lowest energy."""
        return float(self.accum_e.sum(dtype=np.int64)) / self.n_simulated

    @property
    def energy_histogram(self) -> np.ndarray:
        """Counted electrons per energy bin, shape (n_energies,), int64."""
        return self.accum_e.sum(axis=(1, 2), dtype=np.int64)

    @property
    def depth_histogram(self) -> np.ndarray:
        """Counted electrons per energy and depth bin, shape (n_energies, n_depths), int64."""
        return self.accum_z.sum(axis=(2, 3), dtype=np.int64)

    @property
    def mean_depth(self) -> np.ndarray:
        """Mean of the depth-bin centres per energy, shape (n_energies,) [nm]; NaN if empty."""
        counts = self.depth_histogram
        total = counts.sum(axis=1)
        weighted = counts @ (np.arange(counts.shape[1]) * self.depth_step)
        return np.divide(weighted, total, out=np.full(len(total), np.nan), where=total > 0)

    def __repr__(self) -> str:
        e = self.energies
        return (
            f"MonteCarlo({self.n_simulated:,} electrons, {e[0]:g}-{e[-1]:g} keV in {len(e)} bins, "
            f"yield {self.backscatter_yield:.4f})"
        )


def simulate_monte_carlo(
    crystal: Crystal,
    parameters: SimulationParameters,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> MonteCarlo:
    """Follow ``parameters.n_electrons`` electrons through a crystal's mean material.

    Parameters
    ----------
    crystal : gives mean atomic number, mean atomic weight and density.
    parameters : beam energy, bins, tilt, number of electrons, seed, ``max_scatterings``.
    device : ``"cpu"`` uses as many threads as torch does (``torch.set_num_threads``); the result
        depends on the seed and the kind of device, not on the number of threads.
    progress : called with (electrons done, electrons in all) after each block of electrons.

    Returns
    -------
    MonteCarlo

    Raises
    ------
    MonteCarloError
        If the crystal has no matter in it, the device is not supported, or no electron came out.

    Notes
    -----
    D. C. Joy, *Monte Carlo Modeling for Electron Microscopy and Microanalysis* (1995), with the
    choices of EMsoft's ``EMMC.cl``: the first free path follows the beam and is not counted by
    ``max_scatterings``; path and stopping power of a step are those of the energy before it; the
    recorded depth is the distance from the last scattering event inside to the surface along the
    exit direction; the first and the last energy
    bin are half as wide as the others.

    An electron is given up when it can no longer be counted: its energy is below the lowest bin,
    or the surface is farther than ``(E - energy_min)`` divided by the stopping power at the beam
    energy, the smallest there is.  This changes no histogram.
    """
    device = torch.device(device)
    if device.type not in BLOCK:
        raise MonteCarloError(f"device {device}: the Monte Carlo runs on cpu or cuda")
    medium = Medium.of(crystal)
    started = time.process_time()
    n, block = parameters.n_electrons, BLOCK[device.type]
    sizes = [min(block, n - first) for first in range(0, n, block)]
    streams = np.random.SeedSequence(parameters.seed).generate_state(len(sizes), np.uint32)
    half = (parameters.mc_pixels - 1) // 2
    coarse = half // 10
    shape_e = (len(parameters.energies), parameters.mc_pixels, parameters.mc_pixels)
    shape_z = (shape_e[0], parameters.n_depths, 2 * coarse + 1, 2 * coarse + 1)
    accum_e = np.zeros(shape_e, dtype=np.int64)
    accum_z = np.zeros(shape_z, dtype=np.int64)

    def run(index: int) -> tuple[Tensor, Tensor]:
        exits = follow_electrons(medium, parameters, sizes[index], int(streams[index]), device)
        return _bins(exits, parameters, shape_e, shape_z)

    done = 0
    for index, (in_e, in_z) in enumerate(_ordered(run, len(sizes), device)):
        accum_e += _counts(in_e, shape_e)
        accum_z += _counts(in_z, shape_z)
        done += sizes[index]
        if progress is not None:
            progress(done, n)
    if not accum_e.any():
        raise MonteCarloError(
            f"{crystal.name}: none of {n} electrons came out above {parameters.energy_min} keV; "
            "use more electrons, a larger sample tilt or a lower energy_min"
        )
    return MonteCarlo(
        accum_e=accum_e.astype(np.int32),
        accum_z=accum_z.astype(np.int32),
        energies=parameters.energies,
        depth_step=parameters.depth_step,
        n_electrons=n,
        n_simulated=n,
        seed=parameters.seed,
        sample_tilt=parameters.sample_tilt,
        cpu_seconds=time.process_time() - started,
    )


def _ordered(
    run: Callable[[int], tuple[Tensor, Tensor]], n: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Results of ``run(0..n-1)`` in order, on as many threads as torch may use."""
    workers = min(n, torch.get_num_threads()) if device.type == "cpu" else 1
    if workers == 1:
        yield from map(run, range(n))
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(run, range(n))


def _bins(
    exits: Tensor,
    parameters: SimulationParameters,
    shape_e: tuple[int, ...],
    shape_z: tuple[int, ...],
) -> tuple[Tensor, Tensor]:
    """Flat histogram indices of exits, for the direction and for the depth histogram."""
    energy, depth, cos, sin, ex, ey = exits.double()
    square = to_square(torch.stack((sin * ex, sin * ey, cos), dim=-1))
    half, coarse = (shape_e[1] - 1) // 2, (shape_z[2] - 1) // 2
    e = _nint((energy - parameters.energy_min) / parameters.energy_step).clamp(0, shape_e[0] - 1)
    i, j = _nint(square[:, 1] * half), -_nint(square[:, 0] * half)
    in_e = (e * shape_e[1] + i + half) * shape_e[2] + j + half
    k = _nint(depth / parameters.depth_step)
    # EMsoft rounds the fine index once more; only half widths that 10 does not divide can exceed.
    ci, cj = (_nint(v / 10).clamp(-coarse, coarse) + coarse for v in (i, j))
    in_z = ((e * shape_z[1] + k) * shape_z[2] + ci) * shape_z[3] + cj
    return in_e, in_z[k < shape_z[1]]


def _nint(x: Tensor) -> Tensor:
    """Nearest integer, halves away from zero, as Fortran's NINT."""
    return (torch.sign(x) * torch.floor(x.abs() + 0.5)).long()


def _counts(indices: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """Histogram of flat indices."""
    return np.bincount(indices.cpu().numpy(), minlength=math.prod(shape)).reshape(shape)

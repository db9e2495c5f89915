"""The master pattern: backscatter intensity in every direction, at every energy, for every site.

`compute_energy` makes one energy of it from a crystal and a Monte Carlo; `MasterPattern` holds the
finished arrays with all they were made from.  Maps are square Lambert maps of the two hemispheres,
``[row, column]`` being ``y = (row - npx)/npx``, ``x = (column - npx)/npx`` (EMsoft's ``mLPNH`` and
``mLPSH``), in the crystal's Cartesian frame (x along a, z along c*).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch

from ebsdsg_sim.blochwave import BlochWaveSolver, SolverStatistics
from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.depth_weights import DepthWeights, depth_weights
from ebsdsg_sim.grid_symmetry import GridOrbits, grid_orbits
from ebsdsg_sim.lambert import to_stereographic
from ebsdsg_sim.montecarlo import MonteCarlo
from ebsdsg_sim.parameters import SimulationParameters
from ebsdsg_sim.structure_factors import (
    SiteWeights,
    absorption_length,
    fourier_table,
    site_weights,
)

Progress = Callable[[int, int], None]


class MasterPatternError(ValueError):
    """A master pattern's arrays do not fit together, or a simulation's inputs do not."""


@dataclass(frozen=True, eq=False)
class MasterPattern:
    """A finished master pattern.

    Parameters
    ----------
    north, south : (n_sites, n_energies, 2 npx + 1, 2 npx + 1) float32 intensities of the two
        hemispheres; one map for all sites together is accepted (EMsoft's ``combinesites``)
    energies : (n_energies,) energy bins, ascending [keV]
    crystal, parameters, monte_carlo : what it was made from
    provenance : code version, engine, device, times; plain JSON types

    Raises
    ------
    MasterPatternError
        If shapes do not agree.
    """

    north: np.ndarray
    south: np.ndarray
    energies: np.ndarray
    crystal: Crystal
    parameters: SimulationParameters
    monte_carlo: MonteCarlo
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        side = self.north.shape[-1]
        n_maps = 1 if self.north.shape[0] == 1 else len(self.crystal.sites)
        expected = (n_maps, len(self.energies), side, side)
        if self.north.shape != expected or self.south.shape != expected or side % 2 == 0:
            raise MasterPatternError(
                f"maps of {self.crystal.name} have shapes {self.north.shape} and "
                f"{self.south.shape}, expected {expected} with an odd side"
            )

    @property
    def npx(self) -> int:
        """Half width of the maps."""
        return self.north.shape[-1] // 2

    def total(self, hemisphere: Literal["north", "south"] = "north") -> np.ndarray:
        """(n_energies, side, side) map of one hemisphere, summed over the sites."""
        if hemisphere not in ("north", "south"):
            raise MasterPatternError(f"hemisphere {hemisphere!r}: must be 'north' or 'south'")
        return (self.north if hemisphere == "north" else self.south).sum(axis=0)

    def stereographic(
        self,
        energy_index: int = -1,
        size: int | None = None,
        hemisphere: Literal["north", "south"] = "north",
    ) -> np.ndarray:
        """Stereographic picture of one energy, summed over the sites.

        Parameters
        ----------
        energy_index : bin; -1 is the beam energy
        size : pixels per side, odd; the map's own where not given
        hemisphere : "north" or "south"

        Returns
        -------
        (size, size) float32, 0 outside the disc; rows and columns as in the map.

        Raises
        ------
        MasterPatternError
            If the size is not odd and at least 3.
        """
        half = torch.from_numpy(np.ascontiguousarray(self.total(hemisphere)[energy_index][None]))
        if size is not None and size != half.shape[-1]:
            if size < 3 or size % 2 == 0:
                raise MasterPatternError(f"size = {size}: must be odd and at least 3")
            # Bringing the square to the wanted size first keeps one stereographic projection.
            half = torch.nn.functional.interpolate(
                half[None], size=(size, size), mode="bilinear", align_corners=True
            )[0]
        return to_stereographic(half)[0].numpy()

    def __repr__(self) -> str:
        energies = f"{self.energies[0]:g}-{self.energies[-1]:g} keV, {len(self.energies)} bins"
        return (
            f"MasterPattern({self.crystal.name}, {energies}, {self.north.shape[-1]} x "
            f"{self.north.shape[-1]}, {self.north.shape[0]} site map(s))"
        )

    def _repr_html_(self) -> str:
        from ebsdsg_sim.preview import master_pattern_card

        return master_pattern_card(self)


@dataclass(frozen=True)
class EnergyStatistics:
    """What computing one energy amounted to.

    Parameters
    ----------
    energy : [keV]
    n_directions : distinct directions solved
    n_operations : symmetry operations used on the grid
    mean_strong, mean_weak : mean numbers of beams
    n_depths : depth terms with weight
    thickness : integration depth [nm]
    wavelength, absorption_length : [nm], at this energy
    """

    energy: float
    n_directions: int
    n_operations: int
    mean_strong: float
    mean_weak: float
    n_depths: int
    thickness: float
    wavelength: float
    absorption_length: float


def crystal_depth_weights(
    crystal: Crystal, parameters: SimulationParameters, monte_carlo: MonteCarlo
) -> DepthWeights:
    """Depth weights of every energy of a Monte Carlo for a crystal.

    Notes
    -----
    ``absorption_length="emsoft"`` forms xi'_0(E) = 1/(abs(U'_0(E)) lambda) with lambda at the beam
    energy for every bin, as EMsoft does; ``"physical"`` uses each energy's own wavelength.
    """
    beam = parameters.voltage if parameters.absorption_length == "emsoft" else None
    lengths = [absorption_length(crystal, float(e), beam) for e in monte_carlo.energies]
    return depth_weights(monte_carlo, lengths, thickness=parameters.thickness)


def energy_solver(
    crystal: Crystal,
    parameters: SimulationParameters,
    monte_carlo: MonteCarlo,
    energy_index: int,
    *,
    device: torch.device | str = "cpu",
    dtype: str | None = None,
    memory: int | None = None,
) -> tuple[BlochWaveSolver, EnergyStatistics]:
    """The solver of one energy bin, ready for any directions.

    Parameters
    ----------
    crystal, parameters, monte_carlo : what is simulated
    energy_index : bin of ``monte_carlo.energies``
    device : where to compute
    dtype : "float32" or "float64"; ``parameters.precision`` where not given
    memory : bytes that may be taken on the device; half of what is free where not given

    Returns
    -------
    solver : call its ``intensities(directions)``
    statistics : with no directions yet

    Raises
    ------
    MasterPatternError
        If the Monte Carlo's energies are not those of the parameters.
    """
    found, expected = monte_carlo.energies, parameters.energies
    if found.shape != expected.shape or not np.allclose(found, expected, atol=1e-6):
        raise MasterPatternError(
            f"{crystal.name}: the Monte Carlo has energies {found.tolist()}, the "
            f"parameters {expected.tolist()} keV"
        )
    energy = float(monte_carlo.energies[energy_index])
    depths = crystal_depth_weights(crystal, parameters, monte_carlo)
    table = fourier_table(crystal, energy, parameters.dmin)
    solver = BlochWaveSolver(
        crystal,
        table,
        _site_weights(crystal, parameters.dmin),
        depths.weights[energy_index],
        depths.depth_step,
        float(depths.thickness[energy_index]),
        dmin=parameters.dmin,
        bethe=parameters.bethe,
        device=device,
        precision=dtype or parameters.precision,
        memory=memory,
    )
    statistics = EnergyStatistics(
        energy=energy,
        n_directions=0,
        n_operations=0,
        mean_strong=0.0,
        mean_weak=0.0,
        n_depths=len(solver.depth_factors),
        thickness=float(depths.thickness[energy_index]),
        wavelength=table.wavelength,
        absorption_length=table.absorption_length,
    )
    return solver, statistics


def compute_energy(
    crystal: Crystal,
    parameters: SimulationParameters,
    monte_carlo: MonteCarlo,
    energy_index: int,
    *,
    device: torch.device | str = "cpu",
    dtype: str | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray, EnergyStatistics]:
    """Both hemispheres of a master pattern at one energy.

    Parameters
    ----------
    crystal, parameters, monte_carlo : what is simulated
    energy_index : bin of ``monte_carlo.energies``
    device : "cpu", "cuda", ...
    dtype : "float32" or "float64"; ``parameters.precision`` where not given
    memory : bytes that may be taken on the device; half of what is free where not given
    progress : called with (directions done, directions in all)

    Returns
    -------
    north, south : (n_sites, 2 npx + 1, 2 npx + 1) float32, intensity per atom of the cell (EMsoft's
        units); equal on the rim
    statistics : EnergyStatistics

    Raises
    ------
    MasterPatternError
        If the Monte Carlo does not belong to the parameters, or the result is not finite.
    """
    solver, statistics = energy_solver(
        crystal,
        parameters,
        monte_carlo,
        energy_index,
        device=device,
        dtype=dtype,
        memory=memory,
    )
    orbits = master_pattern_directions(crystal, parameters)
    values, solved = solver.intensities(orbits.directions, progress)
    if not np.isfinite(values).all():
        raise MasterPatternError(
            f"{crystal.name}, {statistics.energy:g} keV: {np.count_nonzero(~np.isfinite(values))} "
            "intensities are not finite; compute in float64 and report this crystal"
        )
    north, south = orbits.fill(values.astype(np.float32))
    return north, south, _with_counts(statistics, solved, orbits)


def _with_counts(
    statistics: EnergyStatistics, solved: SolverStatistics, orbits: GridOrbits
) -> EnergyStatistics:
    return EnergyStatistics(
        **{
            **statistics.__dict__,
            "n_directions": solved.n_directions,
            "n_operations": orbits.n_operations,
            "mean_strong": solved.mean_strong,
            "mean_weak": solved.mean_weak,
        }
    )


def master_pattern_directions(crystal: Crystal, parameters: SimulationParameters) -> GridOrbits:
    """The distinct directions of a master pattern; they are kept for crystals of the same axes.

    Parameters
    ----------
    crystal : only its point group matters, not its atoms
    parameters : for ``npx``
    """
    return _grid_orbits(crystal.point_group.astype(float).tobytes(), parameters.npx)


@lru_cache(maxsize=2)
def _grid_orbits(point_group: bytes, npx: int) -> GridOrbits:
    return grid_orbits(np.frombuffer(point_group).reshape(-1, 3, 3), npx)


@lru_cache(maxsize=2)
def _site_weights(crystal: Crystal, dmin: float) -> SiteWeights:
    return site_weights(crystal, dmin)

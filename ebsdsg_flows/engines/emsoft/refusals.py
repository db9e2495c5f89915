"""What EMsoft's simulations cannot do, said before anything is computed.

EMsoft itself tells some of it after a whole Monte Carlo, and the rest not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebsdsg_flows.engines.emsoft.crystal_file import crystal_system, rhombohedral
from ebsdsg_flows.engines.emsoft.failures import INEXPRESSIBLE

if TYPE_CHECKING:
    from ebsdsg_sim.crystal import Crystal
    from ebsdsg_sim.parameters import SimulationParameters

LARGEST_SITES = 100
"""Length of EMEBSDmaster's list of sites, ``nat(100)``, beyond which it overwrites other values
(EMsoft 5.0, ``Source/SEM/EMEBSDmaster.f90``)."""

TRIGONAL = 5

MEAN_Z_TOLERANCE = 0.005
"""Largest relative error of the mean atomic number that is taken: it moves a backscatter yield by
about as much as a million electrons leave open."""


def check_simulable(crystal: Crystal) -> None:
    """Refuse a crystal that EMsoft takes and then computes wrongly or not at all.

    Parameters
    ----------
    crystal : what shall be simulated.

    Raises
    ------
    EngineFailure
        If its axes are rhombohedral or look so to EMEBSDmaster, it has too many sites, or its
        occupancies would give the Monte Carlo another mean atomic number.
    """
    if rhombohedral(crystal):
        # EMEBSDmaster refuses such a cell, long after EMmkxtal and the Monte Carlo took it
        raise INEXPRESSIBLE.failure(f"{crystal.name} is on rhombohedral axes; use hexagonal ones")
    _, b, c, *_ = (round(value, 9) for value in crystal.cell)
    if crystal_system(crystal.space_group) == TRIGONAL and b == c:
        raise INEXPRESSIBLE.failure(
            f"{crystal.name} is trigonal with a = c = {c:g} nm, which EMEBSDmaster takes for "
            "rhombohedral axes and refuses; use the built-in engine"
        )
    if len(crystal.sites) > LARGEST_SITES:
        raise INEXPRESSIBLE.failure(
            f"{crystal.name} has {len(crystal.sites)} sites, EMEBSDmaster can do with "
            f"{LARGEST_SITES}; use the built-in engine"
        )
    there = mean_atomic_number(crystal)
    if not abs(there / crystal.mean_atomic_number - 1) <= MEAN_Z_TOLERANCE:
        raise INEXPRESSIBLE.failure(
            f"{crystal.name} has partly occupied sites, which EMsoft's Monte Carlo counts as full: "
            f"it would compute with a mean atomic number of {there:.2f} instead of "
            f"{crystal.mean_atomic_number:.2f}; use the built-in engine"
        )


def mean_atomic_number(crystal: Crystal) -> float:
    """Mean atomic number with which EMsoft's Monte Carlo computes.

    Notes
    -----
    The mean over positions, whatever their occupancy; density and mean atomic weight do count the
    occupancies (EMsoft 5.0, ``Source/EMsoftLib/crystal.f90``, ``CalcDensity``).
    """
    pairs = [
        (n, site.atomic_number)
        for n, site in zip(crystal.multiplicities, crystal.sites, strict=True)
    ]
    return sum(n * z for n, z in pairs) / sum(n for n, _ in pairs)


def check_bins(parameters: SimulationParameters) -> None:
    """Refuse bins that EMsoft would count otherwise.

    Parameters
    ----------
    parameters : of the simulation.

    Raises
    ------
    ValueError
        If there is rounding where EMsoft truncates a quotient of floating-point numbers: 5.7 / 0.1
        is just below 57 there (EMsoft 5.0, ``Source/SEM/EMMC.f90``, ``EMMCOpenCL.f90``).
    """
    p = parameters
    for name, span, step, ours in (
        ("energy_step", p.voltage - p.energy_min, p.energy_step, len(p.energies)),
        ("depth_step", p.depth_max, p.depth_step, p.n_depths),
    ):
        theirs = int(span / step) + 1
        if theirs != ours:
            raise ValueError(
                f"{name} = {step:g}: {ours} bins follow from it, and EMsoft makes {theirs} of "
                "them by its rounding; choose a step that binary fractions express, such as 0.25 "
                "or 0.5, or another range"
            )

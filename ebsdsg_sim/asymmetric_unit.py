"""From a standardised cell to a crystal, and the check that nothing was lost on the way.

A crystal file holds an asymmetric unit and the name of a setting; read with the wrong origin it
gives other atoms (silicon at 1/8 1/8 1/8 with origin choice 1 has 16 atoms and 4.66 g/cm^3).  So
every crystal is rebuilt from what would be written, and compared with the cell it came from.
"""

from __future__ import annotations

import numpy as np

from ebsdsg_sim.crystal import AVOGADRO, DEFAULT_DEBYE_WALLER, Crystal, CrystalError, Site
from ebsdsg_sim.elements import atomic_weight
from ebsdsg_sim.standard_structure import StandardStructure, distances
from ebsdsg_sim.symmetry import POSITION_TOLERANCE, hall_number_for, setting


def crystal_from_standard(
    structure: StandardStructure, name: str, debye_waller: float = DEFAULT_DEBYE_WALLER
) -> Crystal:
    """The crystal of a standardised structure, checked against it.

    Parameters
    ----------
    structure : from `ebsdsg_sim.symmetry.standardize`
    name : name of the crystal
    debye_waller : B [nm^2] of every site

    Returns
    -------
    Crystal with one site per orbit and element, in the order of ``structure.orbits``.

    Raises
    ------
    CrystalError
        If the rebuilt cell differs in atom count, density or positions.
    """
    sites = tuple(
        Site(element, orbit.position, occupancy, debye_waller)
        for orbit in structure.orbits
        for element, occupancy in sorted(orbit.species.items())
    )
    crystal = Crystal(
        name=name,
        cell=structure.cell,
        space_group=structure.space_group,
        hall_number=structure.setting.hall_number,
        sites=sites,
    )
    check_rebuilt(crystal, structure)
    return crystal


def check_rebuilt(crystal: Crystal, structure: StandardStructure) -> None:
    """Compare a crystal, built from asymmetric unit and Hall number, with the cell it came from.

    Raises
    ------
    CrystalError
        Naming the site that gives too many or too few atoms, with the density of both origin
        choices where there are two; or the atom that is missing.
    """
    mass = sum(
        atomic_weight(element) * occupancy
        for species in structure.species
        for element, occupancy in species.items()
    )
    density = mass / (AVOGADRO * structure.volume * 1e-21)
    n_atoms = sum(len(species) for species in structure.species)
    found = sum(crystal.multiplicities)
    if found != n_atoms or abs(crystal.density - density) > 1e-6 * density:
        raise CrystalError(_wrong_setting(crystal, n_atoms, density))
    points = np.concatenate(crystal.positions)
    elements = np.repeat([site.element for site in crystal.sites], crystal.multiplicities)
    for number, (position, species) in enumerate(
        zip(structure.positions, structure.species, strict=True), 1
    ):
        near = distances(points - position, structure.lattice) < POSITION_TOLERANCE
        if set(elements[near]) != set(species):
            raise CrystalError(
                f"{crystal.name}: atom {number} of the standard cell, {'/'.join(species)} at "
                f"{np.round(position, 5).tolist()}, is not there in the rebuilt crystal"
            )


def _wrong_setting(crystal: Crystal, n_atoms: int, density: float) -> str:
    """What to say of a crystal whose cell should hold ``n_atoms`` and have another density."""
    name = setting(crystal.hall_number).international
    halls = [hall_number_for(crystal.space_group, choice) for choice in (1, 2)]
    if halls[0] == halls[1]:
        return (
            f"{crystal.name}: {name} (Hall number {crystal.hall_number}) gives "
            f"{sum(crystal.multiplicities)} atoms and {crystal.density:.2f} g/cm^3 where the "
            f"structure has {n_atoms} and {density:.2f}: the asymmetric unit is of another setting"
        )
    given = []
    for choice, hall in enumerate(halls, 1):
        other = Crystal(crystal.name, crystal.cell, crystal.space_group, hall, crystal.sites)
        given.append(f"{other.density:.2f} g/cm^3 with choice {choice}")
    first = crystal.sites[0].element
    return (
        f"{crystal.name}: {name} needs an origin choice: site {first}1 gives density "
        f"{', '.join(given)}; the structure has {density:.2f} g/cm^3 and {n_atoms} atoms"
    )

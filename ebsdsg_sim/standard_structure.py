"""A structure on its standard conventional cell: what a symmetry search finds.

These are plain records; `ebsdsg_sim.symmetry.standardize` makes them.  Lengths are nm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Setting:
    """One of the 530 settings of the 230 space groups (symbols as in spglib's table).

    ``international`` is the short symbol, for a monoclinic group that of its standard setting, and
    ``full`` the full symbol of this setting, such as ``P 1 2_1/n 1``.
    """

    hall_number: int
    space_group: int
    hall_symbol: str
    international: str
    full: str
    choice: str

    @property
    def origin_choice(self) -> int:
        """1 or 2; 1 where the space group has one origin only."""
        return 2 if self.choice.startswith("2") else 1

    @property
    def rhombohedral_axes(self) -> bool:
        """True for the seven R groups described on rhombohedral axes."""
        return self.choice == "R"


def cell_lengths_angles(lattice: np.ndarray) -> tuple[float, float, float, float, float, float]:
    """Lengths and angles [degrees] of a cell given as rows a, b, c."""
    lengths = np.linalg.norm(lattice, axis=1)
    unit = lattice / lengths[:, None]
    pairs = (unit[1] @ unit[2], unit[2] @ unit[0], unit[0] @ unit[1])
    angles = (float(np.degrees(np.arccos(np.clip(c, -1.0, 1.0)))) for c in pairs)
    alpha, beta, gamma = (round(angle, 10) for angle in angles)
    return float(lengths[0]), float(lengths[1]), float(lengths[2]), alpha, beta, gamma


def distances(difference: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Length of fractional difference vectors (..., 3), reduced to the nearest lattice point."""
    return np.linalg.norm((difference - np.round(difference)) @ lattice, axis=-1)


@dataclass(frozen=True)
class Orbit:
    """Symmetry-equivalent atoms of a standard structure.

    Parameters
    ----------
    species : element -> occupancy
    position : (3,) fractional coordinates of the representative
    wyckoff : Wyckoff letter in the structure's setting
    members : indices of all equivalent atoms in ``StandardStructure.positions``
    """

    species: dict[str, float]
    position: tuple[float, float, float]
    wyckoff: str
    members: tuple[int, ...]

    @property
    def multiplicity(self) -> int:
        """Number of equivalent atoms in the conventional cell."""
        return len(self.members)


@dataclass(frozen=True)
class Disordered:
    """Symmetry of a structure whose atoms were all made one element.

    Parameters
    ----------
    space_group : number
    n_atoms_primitive : atoms in the primitive cell; fewer than before where translations appeared
    """

    space_group: int
    n_atoms_primitive: int


@dataclass(frozen=True)
class StandardStructure:
    """A structure on its standard conventional cell, with its symmetry spelled out.

    Parameters
    ----------
    setting : space group, Hall symbol and origin choice
    lattice : (3, 3) rows a, b, c [nm], symmetrised
    positions : (n, 3) fractional positions of all atoms, symmetrised
    species : element -> occupancy of each atom
    orbits : the asymmetric unit
    transformation, origin_shift : x_standard = transformation @ x_input + origin_shift
    n_atoms_input, n_atoms_primitive : atoms in the cell given and in the primitive cell
    volume_input : volume of the cell given [nm^3]
    symprec : tolerance used [nm]
    """

    setting: Setting
    lattice: np.ndarray
    positions: np.ndarray
    species: tuple[dict[str, float], ...]
    orbits: tuple[Orbit, ...]
    transformation: np.ndarray
    origin_shift: np.ndarray
    n_atoms_input: int
    n_atoms_primitive: int
    volume_input: float
    symprec: float

    @property
    def space_group(self) -> int:
        """Space-group number."""
        return self.setting.space_group

    @property
    def cell(self) -> tuple[float, float, float, float, float, float]:
        """Lengths [nm] and angles [degrees]."""
        return cell_lengths_angles(self.lattice)

    @property
    def n_atoms(self) -> int:
        """Atoms in the standard conventional cell."""
        return len(self.positions)

    @property
    def volume(self) -> float:
        """Volume of the standard conventional cell [nm^3]."""
        return float(abs(np.linalg.det(self.lattice)))

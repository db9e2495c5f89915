"""Limits on the conventional cell, applied to a database that states the volume of another cell.

The Materials Project gives the volume of the cell it calculated: usually primitive, sometimes
conventional or a supercell.  With m lattice points in the conventional cell and k in the given one,
V_conventional = m V / k.  The group gives m; k needs the atoms, but is a divisor of the number of
formula units, which gives a bound without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import gcd
from typing import Any

import numpy as np

from ebsdsg_flows.atoms import Atoms
from ebsdsg_sim.standard_structure import distances
from ebsdsg_sim.symmetry import hall_number_for, setting

LATTICE_POINTS = {"P": 1, "A": 2, "B": 2, "C": 2, "I": 2, "R": 3, "F": 4}

SUPERCELL = 8
"""Primitive cells in the largest cell that a database is expected to give."""


@cache
def lattice_points(space_group: int) -> int:
    """Lattice points in the conventional cell of a space group (hexagonal axes for R)."""
    return LATTICE_POINTS[setting(hall_number_for(space_group)).international[0]]


def smallest_conventional_volume(
    volume: float, space_group: int, composition: Mapping[str, float] | None
) -> float:
    """Lower bound of the conventional cell's volume, from what a listing says.

    Parameters
    ----------
    volume : of the cell as given [Å^3].
    space_group : number.
    composition : element to number of atoms in that cell; ``None`` or a fractional one gives the
        bound for a cell that is not larger than the conventional one.

    Returns
    -------
    [Å^3]; the true volume is this or larger.
    """
    counts = list((composition or {}).values())
    if not counts or any(count != round(count) or count < 1 for count in counts):
        return volume
    return volume * lattice_points(space_group) / gcd(*(round(count) for count in counts))


def largest_volume_to_list(limit: float, space_group: int) -> float:
    """Volume up to which a database must list its cells, so that none within a limit is missed.

    Parameters
    ----------
    limit : largest conventional cell wanted [Å^3].
    space_group : number.

    Returns
    -------
    [Å^3]; covers every cell up to a 2 x 2 x 2 supercell of the primitive one, and so the
    conventional cell of every centring.
    """
    return limit * SUPERCELL / lattice_points(space_group)


def conventional_volume(atoms: Atoms, space_group: int, *, tolerance: float = 0.01) -> float:
    """Volume of the conventional cell [Å^3], from the lattice points counted in the given cell.

    Parameters
    ----------
    atoms : of the cell as given.
    space_group : number.
    tolerance : how far an atom may be from where a translation puts it [nm].
    """
    return atoms.volume * 1e3 * lattice_points(space_group) / translations(atoms, tolerance)


def translations(atoms: Atoms, tolerance: float = 0.01) -> int:
    """Number of pure translations that map a cell's atoms onto themselves, the identity included.

    Parameters
    ----------
    atoms : of the cell.
    tolerance : how far an atom may be from where a translation puts it [nm].

    Returns
    -------
    Lattice points in the cell: 1 for a primitive cell.

    Notes
    -----
    A translation takes the first atom of the rarest kind to another of that kind; each such vector
    is tried on all atoms.
    """
    kinds: dict[Any, list[int]] = {}
    for i, occupants in enumerate(atoms.species):
        kinds.setdefault(tuple(sorted(occupants.items())), []).append(i)
    members = [np.array(indices) for indices in kinds.values()]
    rarest = min(members, key=len)
    found = 0
    for vector in atoms.positions[rarest] - atoms.positions[rarest[0]]:
        if all(_maps(atoms.positions[m], vector, atoms.lattice, tolerance) for m in members):
            found += 1
    return found


def _maps(positions: np.ndarray, vector: np.ndarray, lattice: np.ndarray, near: float) -> bool:
    """Whether positions (n, 3) moved by a fractional vector fall on positions."""
    gaps = distances(positions[:, None] + vector - positions[None], lattice)
    return bool((gaps.min(axis=1) < near).all())

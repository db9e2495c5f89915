"""What is in a cell, checked before its symmetry is searched: lattice, positions, occupants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Species = Mapping[str, float]


class SymmetryError(ValueError):
    """A structure has no usable symmetry, or a space-group setting does not exist."""


def checked(
    lattice: np.ndarray, positions: np.ndarray, species: Sequence[str | Species]
) -> tuple[np.ndarray, np.ndarray, list[dict[str, float]]]:
    """Lattice, positions and element -> occupancy of each atom, as arrays and dictionaries.

    Parameters
    ----------
    lattice : (3, 3) rows a, b, c [nm]
    positions : (n, 3) fractional coordinates
    species : for each atom an element symbol, or element -> occupancy

    Raises
    ------
    SymmetryError
        If a shape is wrong, a number is not finite, the cell is flat or an occupancy impossible.
    """
    lattice = np.asarray(lattice, dtype=float)
    positions = np.asarray(positions, dtype=float)
    if lattice.shape != (3, 3) or not np.isfinite(lattice).all():
        raise SymmetryError("lattice: must be three finite rows a, b, c [nm]")
    if abs(np.linalg.det(lattice)) < 1e-3:
        raise SymmetryError(
            f"lattice: volume {abs(np.linalg.det(lattice)):.3g} nm^3 cannot hold an atom"
        )
    if positions.ndim != 2 or positions.shape[1:] != (3,) or len(positions) == 0:
        raise SymmetryError(f"positions: shape {positions.shape}, must be (n, 3) with n > 0")
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if len(bad):
        raise SymmetryError(f"positions: atom {bad[0] + 1} has a coordinate that is not a number")
    if len(species) != len(positions):
        raise SymmetryError(f"{len(species)} species for {len(positions)} positions")
    occupants = [
        {s: 1.0} if isinstance(s, str) else {k: float(v) for k, v in s.items()} for s in species
    ]
    for number, occupant in enumerate(occupants, 1):
        total = sum(occupant.values())
        if not occupant or min(occupant.values()) < 0 or not 0 < total <= 1 + 1e-3:
            raise SymmetryError(
                f"atom {number}: occupancies {occupant} must be positive and sum to at most 1"
            )
    return lattice, positions, occupants


def kinds(occupants: Sequence[Species]) -> list[int]:
    """A number for each atom, equal for atoms with the same occupants."""
    keys = [tuple(sorted((k, round(v, 6)) for k, v in o.items())) for o in occupants]
    index = {key: i + 1 for i, key in enumerate(sorted(set(keys)))}
    return [index[key] for key in keys]

"""Whether two descriptions are of one crystal: comparison up to the normaliser of its group.

A crystal can be described in one space group in many ways: another origin of the same site symmetry
(diamond at 1/8 1/8 1/8 or at 5/8 5/8 5/8), other axes of the same form, another cell or origin
choice.  Descriptions in one setting are related by the affine normaliser of the group (E. Koch, W.
Fischer and U. Müller, International Tables for Crystallography A (2016), chapter 3.5), those in two
settings by a change of setting besides.  Here the relation is *found*, from cells and atoms, and
then checked: it must take every atom to an atom of its kind and the one group to the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.standard_structure import distances

TOLERANCE = 1e-3
"""Atoms that end up nearer than this [nm] agree, and so do cell edges."""

Kind = tuple[tuple[str, float], ...]
"""Elements and occupancies of a position."""


@dataclass(frozen=True)
class Relation:
    """How the second of two descriptions is got from the first.

    Parameters
    ----------
    matrix, shift : (3, 3) and (3,); ``x_first = matrix @ x_second + shift`` in fractional
        coordinates, lattice translations apart.
    largest : largest distance of an atom from its counterpart [nm].
    """

    matrix: np.ndarray
    shift: np.ndarray
    largest: float


def relation(first: Crystal, second: Crystal, tolerance: float = TOLERANCE) -> Relation | None:
    """The relation between two descriptions of one crystal.

    Parameters
    ----------
    first, second : descriptions in settings of a space group.
    tolerance : [nm] of atoms and of cell edges.

    Returns
    -------
    The relation whose atoms agree best, or ``None`` if the crystals differ: in space group, cell,
    elements, occupancies, positions or handedness.  A crystal and its mirror image differ unless
    they can be superposed.
    """
    if first.space_group != second.space_group:
        return None
    here, there = _atoms(first), _atoms(second)
    ratio = second.volume / first.volume
    counts = {kind: len(positions) * ratio for kind, positions in here.items()}
    if set(here) != set(there) or any(
        abs(counts[kind] - len(positions)) > 0.1 for kind, positions in there.items()
    ):
        return None
    best: Relation | None = None
    for matrix in _matrices(first, second, tolerance):
        for shift in _shifts(first, here, there, matrix):
            found = _fit(first, here, there, matrix, shift)
            if found.largest > tolerance or (best and found.largest > best.largest - 1e-9):
                continue
            if _takes_group_to_group(first, second, found, tolerance):
                best = found
    return best


def _atoms(crystal: Crystal) -> dict[Kind, np.ndarray]:
    """Fractional positions (n, 3) of all atoms, by what the position holds."""
    orbits: list[tuple[np.ndarray, list[tuple[str, float]]]] = []
    for site, positions in zip(crystal.sites, crystal.positions, strict=True):
        content = (site.element, round(site.occupancy, 3))
        for others, held in orbits:
            if distances(others - positions[0], crystal.lattice).min() < TOLERANCE:
                held.append(content)
                break
        else:
            orbits.append((positions, [content]))
    found: dict[Kind, list[np.ndarray]] = {}
    for positions, held in orbits:
        found.setdefault(tuple(sorted(held)), []).append(positions)
    return {kind: np.concatenate(parts) for kind, parts in found.items()}


def _centrings(crystal: Crystal) -> np.ndarray:
    """(n, 3) lattice points in the cell, the origin among them."""
    rotations, translations = crystal.symmetry
    return translations[(rotations == np.eye(3)).all(axis=(1, 2))]


def _matrices(first: Crystal, second: Crystal, tolerance: float) -> Iterator[np.ndarray]:
    """Matrices whose columns are the second cell's edges in units of the first's.

    Of those that differ by an operation of the first's point group one is enough.
    """
    lattice, edges = first.lattice, second.lattice
    reach = np.linalg.norm(edges, axis=1).max() + tolerance
    limits = np.ceil(reach * np.linalg.norm(first.reciprocal, axis=1)).astype(int) + 1
    steps = np.array(list(product(*(range(-n, n + 1) for n in limits))), dtype=float)
    points = (steps[:, None] + _centrings(first)[None]).reshape(-1, 3)
    vectors = points @ lattice
    lengths = np.linalg.norm(vectors, axis=1)
    like = [np.flatnonzero(abs(lengths - np.linalg.norm(e)) < tolerance).tolist() for e in edges]
    rotations = np.unique(first.symmetry[0], axis=0)
    seen: set[bytes] = set()

    def apart(i: int, j: int, a: int, b: int) -> bool:
        """Whether two vectors are at another angle than the edges that they stand for."""
        wanted = np.linalg.norm(edges[a] - edges[b])
        return bool(abs(np.linalg.norm(vectors[i] - vectors[j]) - wanted) > 2 * tolerance)

    for i in like[0]:
        for j in like[1]:
            if apart(i, j, 0, 1):
                continue
            for k in like[2]:
                if apart(i, k, 0, 2) or apart(j, k, 1, 2):
                    continue
                matrix = points[[i, j, k]].T
                if np.linalg.det(matrix) <= 0:
                    continue  # the mirror image
                if (np.round(matrix * 24).astype(int)).tobytes() in seen:
                    continue
                alike = np.round(rotations @ matrix * 24).astype(int)
                seen.update(each.tobytes() for each in alike)
                yield matrix


def _shifts(
    first: Crystal,
    here: dict[Kind, np.ndarray],
    there: dict[Kind, np.ndarray],
    matrix: np.ndarray,
) -> Iterator[np.ndarray]:
    """Shifts (3,) that put an atom of the rarest kind where the first has one."""
    rarest = min(here, key=lambda kind: len(here[kind]))
    centrings = _centrings(first)
    tried = np.empty((0, 3))
    for position in here[rarest]:
        shift = position - matrix @ there[rarest][0]
        near = distances(tried - shift, first.lattice) < 1e-9 if len(tried) else np.array([False])
        if not near.any():
            tried = np.concatenate([tried, shift + centrings])
            yield shift


def _fit(
    first: Crystal,
    here: dict[Kind, np.ndarray],
    there: dict[Kind, np.ndarray],
    matrix: np.ndarray,
    shift: np.ndarray,
) -> Relation:
    """The relation with this matrix, its shift improved by the mean distance of the atoms."""
    gaps = []
    for kind, positions in there.items():
        difference = here[kind][None] - (positions @ matrix.T + shift)[:, None]
        difference -= np.round(difference)
        nearest = np.linalg.norm(difference @ first.lattice, axis=-1).argmin(axis=1)
        gaps.append(difference[np.arange(len(positions)), nearest])
    gap = np.concatenate(gaps)
    mean = gap.mean(axis=0)
    largest = float(np.linalg.norm((gap - mean) @ first.lattice, axis=1).max())
    return Relation(matrix, (shift + mean) % 1.0, largest)


def _takes_group_to_group(
    first: Crystal, second: Crystal, found: Relation, tolerance: float
) -> bool:
    """Whether every operation of the second becomes one of the first, and the lattices agree."""
    primitive = [crystal.volume / len(_centrings(crystal)) for crystal in (first, second)]
    if abs(primitive[1] / primitive[0] - 1) > 0.05:
        return False
    inverse = np.linalg.inv(found.matrix)
    rotations, translations = first.symmetry
    for rotation, translation in zip(*second.symmetry, strict=True):
        turned = found.matrix @ rotation @ inverse
        moved = found.matrix @ translation + found.shift - turned @ found.shift
        same = (abs(rotations - turned) < 1e-6).all(axis=(1, 2))
        if not same.any():
            return False
        if distances(translations[same] - moved, first.lattice).min() > 2 * tolerance:
            return False
    return True

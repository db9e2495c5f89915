"""Orientations of the patterns of a data set.

A random orientation follows from the recipe's seed, the phase and the pattern's number (and, for
patterns made on the fly, the epoch), and from nothing else.  A grid follows from seed, phase and
the number of patterns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ebsdsg_sim.orientation import matrix_to_quaternion, multiply, random_rotations

_PSI = 1.533751168755204288118041
"""Positive root of psi^4 = psi + 4, the spiral's second winding number."""


def pattern_orientations(
    seed: int, phase: str, numbers: Sequence[int], epoch: int = 0
) -> np.ndarray:
    """Random orientations of a phase's patterns, each from (seed, phase, number, epoch) alone.

    Parameters
    ----------
    seed : the recipe's seed.
    phase : phase id, with the name of its set of master patterns where there are several.
    numbers : which patterns of the phase, from 0.
    epoch : of a training on patterns made on the fly; stored patterns are those of epoch 0.

    Returns
    -------
    (n, 4) unit quaternions (w, x, y, z), uniform on SO(3); conventions of
    :mod:`ebsdsg_sim.orientation`.
    """
    suffix = f"@{epoch}" if epoch else ""
    rows = []
    for number in numbers:
        digest = hashlib.sha256(f"{seed}\x1f{phase}\x1f{number}{suffix}".encode()).digest()
        rows.append(random_rotations(1, int.from_bytes(digest[:7], "big"))[0])
    return np.asarray(rows, dtype=np.float64).reshape(-1, 4)


def pattern_indices(phase: str, numbers: Sequence[int], epoch: int = 0) -> list[int]:
    """Numbers that no two patterns share, for the chance in what the detector does to them.

    Parameters
    ----------
    phase, numbers, epoch : as of :func:`pattern_orientations`.

    Returns
    -------
    n integers below 2**62, each from (phase, number, epoch) alone.
    """
    texts = (f"{phase}\x1f{number}\x1f{epoch}" for number in numbers)
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return [int.from_bytes(digest[:8], "big") >> 2 for digest in digests]


def grid_orientations(seed: int, phase: str, space_group: int, n: int) -> np.ndarray:
    """Orientations spread evenly over the fundamental zone of a space group.

    Parameters
    ----------
    seed, phase : choose how the grid is turned, so that no two phases share it.
    space_group : number, 1 to 230; fixes the zone.
    n : how many.

    Returns
    -------
    (n, 4) unit quaternions (w, x, y, z), each the one of its equivalents with the smallest angle.

    Notes
    -----
    M. Alexa, *Super-Fibonacci spirals: fast, low-discrepancy sampling of SO(3)*, CVPR 2022.  The
    spiral covers SO(3) evenly; its points inside the zone do so for the zone.
    """
    if n == 0:
        return np.zeros((0, 4))
    symmetry = proper_rotations(space_group)
    digest = hashlib.sha256(f"{seed}\x1f{phase}\x1fgrid".encode()).digest()
    number = int.from_bytes(digest[:7], "big")
    turn = random_rotations(1, number)[0]
    total = n * len(symmetry)
    while True:
        inside = _in_zone(multiply(_spiral(total), turn), symmetry)
        if len(inside) >= n:
            break
        total += (n - len(inside)) * len(symmetry)
    # a few points too many: which ones go is a matter of chance
    keep = np.random.default_rng(number).permutation(len(inside))[:n]
    return inside[np.sort(keep)]


@lru_cache(maxsize=32)
def proper_rotations(space_group: int) -> np.ndarray:
    """(n, 4) quaternions of the rotations of a space group's point group, crystal frame.

    Parameters
    ----------
    space_group : number, 1 to 230; its standard setting with x along a and z along c*.
    """
    from ebsdsg_sim.symmetry import hall_number_for, space_group_operations

    fractional = np.unique(
        np.asarray(space_group_operations(hall_number_for(space_group))[0]), axis=0
    )
    if 143 <= space_group <= 194:  # hexagonal axes
        axes = np.array([[1, -0.5, 0], [0, np.sqrt(3) / 2, 0], [0, 0, 1]])
    else:  # the directions that symmetry fixes are orthogonal
        axes = np.eye(3)
    matrices = axes @ fractional @ np.linalg.inv(axes)
    return matrix_to_quaternion(matrices[np.linalg.det(matrices) > 0])


def _spiral(n: int) -> np.ndarray:
    """(n, 4) quaternions of the super-Fibonacci spiral."""
    s = np.arange(n) + 0.5
    r, big = np.sqrt(s / n), np.sqrt(1 - s / n)
    a, b = 2 * np.pi * s / np.sqrt(2), 2 * np.pi * s / _PSI
    return np.stack((r * np.sin(a), r * np.cos(a), big * np.sin(b), big * np.cos(b)), axis=1)


def _in_zone(quaternions: np.ndarray, symmetry: np.ndarray) -> np.ndarray:
    """The orientations of which no equivalent has a smaller angle, with w >= 0."""
    w = np.abs(quaternions[:, 0])
    inside = np.ones(len(quaternions), dtype=bool)
    for operation in symmetry:
        inside &= np.abs(multiply(operation, quaternions)[:, 0]) <= w + 1e-12
    chosen = quaternions[inside]
    return np.where(chosen[:, :1] < 0, -chosen, chosen)

"""Linear algebra modulo a prime: sublattices that a point group keeps, and affine solutions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np


def row_reduced(matrix: np.ndarray, prime: int) -> tuple[np.ndarray, list[int]]:
    """Reduced row echelon form modulo a prime, without its zero rows, and the pivot columns.

    Parameters
    ----------
    matrix : (m, n) integers
    prime : modulus
    """
    left = np.array(matrix, dtype=np.int64) % prime
    pivots: list[int] = []
    row = 0
    for column in range(left.shape[1]):
        below = np.flatnonzero(left[row:, column])
        if not len(below):
            continue
        left[[row, row + below[0]]] = left[[row + below[0], row]]
        left[row] = left[row] * pow(int(left[row, column]), -1, prime) % prime
        others = np.flatnonzero(left[:, column])
        others = others[others != row]
        left[others] = (left[others] - np.outer(left[others, column], left[row])) % prime
        pivots.append(column)
        row += 1
        if row == len(left):
            break
    return left[:row], pivots


def affine_solutions(
    matrix: np.ndarray, right: np.ndarray, ignored: np.ndarray, prime: int
) -> Iterator[np.ndarray]:
    """Solutions x of ``matrix @ x = right`` modulo a prime, one of each class.

    Parameters
    ----------
    matrix, right : (m, n) and (m,) integers
    ignored : (n, k) columns; solutions that differ by a combination of them are one class
    prime : modulus

    Yields
    ------
    (n,) integers; nothing if there is no solution.
    """
    n = matrix.shape[1]
    reduced, pivots = row_reduced(np.column_stack((matrix, right)), prime)
    if n in pivots:
        return
    particular = np.zeros(n, dtype=np.int64)
    particular[pivots] = reduced[:, n]
    free = [column for column in range(n) if column not in pivots]
    kernel = np.zeros((len(free), n), dtype=np.int64)
    for number, column in enumerate(free):
        kernel[number, column] = 1
        kernel[number, pivots] = -reduced[:, column] % prime
    # of the kernel keep what is independent of the ignored directions
    known = row_reduced(ignored.T, prime)[0]
    kept = []
    for vector in kernel:
        grown = row_reduced(np.vstack((known, vector)), prime)[0]
        if len(grown) > len(known):
            known = grown
            kept.append(vector)
    for factors in product(range(prime), repeat=len(kept)):
        x = particular.copy()
        for factor, vector in zip(factors, kept, strict=True):
            x += factor * vector
        yield x % prime


def invariant_lattices(rotations: np.ndarray, prime: int) -> list[np.ndarray]:
    """Largest proper sublattices, of an index that is a power of a prime, kept by all rotations.

    Parameters
    ----------
    rotations : (n, 3, 3) integers acting on columns of the lattice Z^3
    prime : the quotient by such a sublattice is a vector space over the integers modulo this

    Returns
    -------
    (3, 3) integer matrices of positive determinant whose columns are a basis.
    """
    kept = [
        space
        for space in _proper_subspaces(prime)
        if all(_contains(space, space @ r.T, prime) for r in rotations)
    ]
    maximal = [
        space
        for space in kept
        if not any(len(other) > len(space) and _contains(other, space, prime) for other in kept)
    ]
    return [_lifted(space, prime) for space in maximal]


def shortened(basis: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """Basis of the same lattice whose vectors no sum or difference of two can shorten.

    Parameters
    ----------
    basis : (3, 3) integer columns
    metric : (3, 3) scalar products of the coordinate axes

    Returns
    -------
    (3, 3) integer columns of the same determinant.
    """
    basis = basis.copy()
    while True:
        best = None
        lengths = np.einsum("ai,ab,bi->i", basis, metric, basis)
        for i, j, sign in product(range(3), range(3), (1, -1)):
            if i != j:
                vector = basis[:, i] + sign * basis[:, j]
                gain = lengths[i] - vector @ metric @ vector
                if gain > 1e-9 * lengths[i] and (best is None or gain > best[0]):
                    best = gain, i, vector
        if best is None:
            return basis
        basis[:, best[1]] = best[2]


def _proper_subspaces(prime: int) -> Iterator[np.ndarray]:
    """Reduced row echelon forms of all subspaces of the integers modulo a prime, cubed."""
    some = range(prime)
    rows: list[list[list[int]]] = [[], [[0, 0, 1]], [[0, 1, 0], [0, 0, 1]]]
    rows += [[[0, 1, a]] for a in some] + [[[1, a, 0], [0, 0, 1]] for a in some]
    for a, b in product(some, some):
        rows += [[[1, a, b]], [[1, 0, a], [0, 1, b]]]
    for space in rows:
        yield np.array(space, dtype=np.int64).reshape(-1, 3)


def _contains(space: np.ndarray, vectors: np.ndarray, prime: int) -> bool:
    return len(row_reduced(np.vstack((space, vectors)), prime)[0]) == len(space)


def _lifted(space: np.ndarray, prime: int) -> np.ndarray:
    """Basis, as columns, of the integer vectors that lie in a subspace modulo a prime."""
    pivots = row_reduced(space, prime)[1]
    basis = np.zeros((3, 3), dtype=np.int64)
    for row, pivot in enumerate(pivots):
        basis[:, pivot] = space[row]
    for column in set(range(3)) - set(pivots):
        basis[column, column] = prime
    return basis if round(np.linalg.det(basis)) > 0 else -basis

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


def kernel(matrix: np.ndarray, prime: int) -> np.ndarray:
    """Basis, as rows, of the solutions x of ``matrix @ x = 0`` modulo a prime.

    Parameters
    ----------
    matrix : (m, n) integers
    prime : modulus

    Returns
    -------
    (k, n) integers; none of them where only zero solves it.
    """
    reduced, pivots = row_reduced(matrix, prime)
    free = [column for column in range(matrix.shape[1]) if column not in pivots]
    basis = np.zeros((len(free), matrix.shape[1]), dtype=np.int64)
    for number, column in enumerate(free):
        basis[number, column] = 1
        basis[number, pivots] = -reduced[:, column] % prime
    return basis


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
    # of the kernel keep what is independent of the ignored directions
    known = row_reduced(ignored.T, prime)[0]
    kept = []
    for vector in kernel(matrix, prime):
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

    Notes
    -----
    All of them: of the triclinic groups ``prime**2 + prime + 1``, found among about twice as many.
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


def kinds_of_invariant_lattices(rotations: np.ndarray, prime: int) -> list[np.ndarray]:
    """One of the `invariant_lattices` of each kind, for a prime above 3.

    Two are of one kind if the rotations act alike on the quotients.  There are three at most,
    whatever the prime.

    Parameters
    ----------
    rotations : (n, 3, 3) integers, those of a crystallographic point group
    prime : 5 or more

    Returns
    -------
    (3, 3) integer matrices of positive determinant whose columns are a basis.

    Notes
    -----
    No order of a crystallographic point group has a prime divisor above 3, so by Maschke's theorem
    the lattice modulo the prime is a direct sum of simple modules.  Quotients of order p belong to
    common eigenvectors of the transposed rotations.  If the sum holds one of these only, the other
    part is simple and the sublattice is a line, that of the common eigenvector of the rotations; if
    it holds none, all of it is simple.
    """
    if prime in (2, 3):
        raise ValueError(f"prime {prime}: it divides orders of point groups, so kinds do not do")
    planes = _common_eigenvectors(rotations.transpose(0, 2, 1), prime)
    spaces = [kernel(plane[:1], prime) for plane in planes]
    dimensions = sum(map(len, planes))
    if dimensions == 1:
        spaces += _common_eigenvectors(rotations, prime)
    elif dimensions == 0:
        spaces.append(np.zeros((0, 3), dtype=np.int64))
    return [_lifted(row_reduced(space, prime)[0], prime) for space in spaces]


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


def _common_eigenvectors(rotations: np.ndarray, prime: int) -> list[np.ndarray]:
    """Bases, as rows, of the spaces on which each rotation is a number modulo a prime."""
    spaces = [np.eye(3, dtype=np.int64)]
    for rotation in rotations:
        split = []
        for space in spaces:
            for value in _eigenvalues(rotation, prime):
                # combinations of the space's basis that the rotation multiplies by the value
                inside = space @ (rotation.T - value * np.eye(3, dtype=np.int64))
                combined = kernel(inside.T, prime) @ space % prime
                if len(combined):
                    split.append(combined)
        spaces = split
    return spaces


def _eigenvalues(rotation: np.ndarray, prime: int) -> list[int]:
    """Roots, modulo a prime, of the characteristic polynomial of an integer matrix."""
    trace = int(np.trace(rotation))
    second = (trace**2 - int(np.trace(rotation @ rotation))) // 2
    x = np.arange(prime, dtype=np.int64)
    value = ((x - trace) * x + second) % prime * x - round(float(np.linalg.det(rotation)))
    return [int(root) for root in np.flatnonzero(value % prime == 0)]


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

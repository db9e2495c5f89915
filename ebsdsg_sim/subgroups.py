"""Maximal subgroups of space groups, computed, and the chains of them that join two groups.

When the atoms of a structure become one element, its space group G becomes a supergroup G' or stays
as it is.  Either translations appear (G is then a *klassengleiche* subgroup of G', with the same
point group), or the point group grows (*translationengleiche*), or both; by Hermann's theorem
(1929) the way down can always be split into translationengleiche steps followed by klassengleiche
ones (International Tables for Crystallography A1, 2nd ed. (2010), chapters 1.2 and 1.5).

The klassengleiche subgroups are found by linear algebra, not looked up.  The translations of a
maximal one contain p times those of G for a prime p, and its quotient is a simple module of the
point group over the integers modulo p; for each such lattice the subgroups are the solutions of a
linear system modulo p.  The primes 2 and 3 give every type that a maximal klassengleiche subgroup
can have, except the enantiomorphs of some screw axes, which need 5 or 7; larger primes otherwise
only repeat the group itself on a larger cell (A1, chapter 2.1: above index 4 they are isomorphic).
So for a prime above 3 one lattice stands for all on whose quotients the point group acts alike: an
enantiomorphic group, whose subgroups are of two types, has no two of these.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal

import numpy as np

from ebsdsg_sim.modular import (
    affine_solutions,
    invariant_lattices,
    kernel,
    kinds_of_invariant_lattices,
    row_reduced,
    shortened,
)
from ebsdsg_sim.symmetry import (
    SymmetryError,
    hall_number_for,
    identify,
    point_group_order,
    primitive_operations,
    setting,
    translationengleiche_subgroups,
)

PRIMES = (2, 3)
KINDS = "kti"

ChainKind = Literal["same", "klassengleiche", "isomorphic", "translationengleiche", "general"]


@dataclass(frozen=True, order=True)
class Step:
    """A group and one of its maximal subgroups.

    Parameters
    ----------
    supergroup, subgroup : space-group numbers
    index : number of cosets
    kind : ``k`` klassengleiche (translations are lost), ``t`` translationengleiche (the point
        group is reduced), ``i`` isomorphic: klassengleiche with the same space-group type
    """

    supergroup: int
    subgroup: int
    index: int
    kind: str

    def __str__(self) -> str:
        up, down = (_symbol(g) for g in (self.supergroup, self.subgroup))
        return f"{up} ({self.supergroup}) –{self.kind}{self.index}→ {down} ({self.subgroup})"


@cache
def maximal_k_subgroups(group: int, primes: tuple[int, ...] = PRIMES) -> tuple[Step, ...]:
    """Types of the maximal klassengleiche subgroups of a space group.

    Parameters
    ----------
    group : space-group number, 1 to 230
    primes : the index is a power, up to the third, of one of these

    Returns
    -------
    Steps, by number and index, each pair once (a type may occur in several conjugacy classes).

    Raises
    ------
    SymmetryError
        If there is no such group.
    """
    rotations, translations = primitive_operations(group)
    found = set()
    for prime in primes:
        lattices = invariant_lattices if prime in PRIMES else kinds_of_invariant_lattices
        for basis in lattices(rotations, prime):
            index = round(abs(np.linalg.det(basis)))
            for number in _types(rotations, translations, basis, prime):
                found.add(Step(group, number, index, "i" if number == group else "k"))
    return tuple(sorted(found))


@cache
def maximal_t_subgroups(group: int) -> tuple[Step, ...]:
    """Types of the maximal translationengleiche subgroups of a space group."""
    return tuple(
        Step(group, number, index, "t") for number, index in translationengleiche_subgroups(group)
    )


def subgroup_graph(groups: Iterable[int], kinds: str = "k") -> tuple[Step, ...]:
    """Maximal subgroup relations among a set of groups.

    Parameters
    ----------
    groups : space-group numbers
    kinds : which of ``k``, ``t`` and ``i``

    Returns
    -------
    Steps from one member of the set to another (or to itself, kind ``i``), sorted.

    Raises
    ------
    SymmetryError
        If there is no such kind or group.
    """
    if not kinds or set(kinds) - set(KINDS):
        raise SymmetryError(
            f"kinds {kinds!r}: must be letters of {KINDS} (k: translations lost, t: point group "
            "reduced, i: same type)"
        )
    members = sorted(set(groups))
    return tuple(
        step
        for group in members
        for step in sorted(_steps_down(group))
        if step.kind in kinds and step.subgroup in members
    )


@dataclass(frozen=True)
class Chain:
    """A way down from a group to one of its subgroups.

    Parameters
    ----------
    supergroup, subgroup : space-group numbers
    steps : from the supergroup down; none where both are the same
    """

    supergroup: int
    subgroup: int
    steps: tuple[Step, ...]

    @property
    def k_index(self) -> int:
        """Factor by which the primitive cell grows."""
        return int(np.prod([s.index for s in self.steps if s.kind != "t"], initial=1))

    @property
    def t_index(self) -> int:
        """Factor by which the order of the point group shrinks."""
        return int(np.prod([s.index for s in self.steps if s.kind == "t"], initial=1))

    @property
    def kind(self) -> ChainKind:
        """``same``, ``klassengleiche``, ``isomorphic``, ``translationengleiche`` or ``general``."""
        kinds = {step.kind for step in self.steps}
        if not kinds:
            return "same"
        if kinds == {"t"}:
            return "translationengleiche"
        if "t" in kinds:
            return "general"
        return "isomorphic" if self.supergroup == self.subgroup else "klassengleiche"

    def __str__(self) -> str:
        return ", ".join(map(str, self.steps)) or f"{_symbol(self.supergroup)} stays as it is"


@cache
def chain(
    supergroup: int, subgroup: int, k_index: int | None = None, largest: int = 64
) -> Chain | None:
    """The shortest chain of maximal subgroups from one type of group down to another.

    Parameters
    ----------
    supergroup, subgroup : space-group numbers
    k_index : factor by which the primitive cell grows; ``None`` takes any (the smallest first)
    largest : largest factor considered where ``k_index`` is ``None``

    Returns
    -------
    The chain with the smallest index, then the fewest steps; translationengleiche steps come first.
    ``None`` if no subgroup of this type exists, or none with this index (without an index only
    the primes 2 and 3 are tried).

    Notes
    -----
    A chain is one of types: it says that such subgroups exist.  With the index of a real structure
    it is how that structure descends from its disordered one, up to the choice among chains of the
    same index.
    """
    order = point_group_order(subgroup)
    bound = largest if k_index is None else k_index
    # every step divides the index
    primes = PRIMES if k_index is None else _prime_factors(k_index)
    # entries: total index, steps, group, k index, path
    heap: list[tuple[int, int, int, int, tuple[Step, ...]]] = [(1, 0, supergroup, 1, ())]
    seen: set[tuple[int, int]] = set()
    while heap:
        total, length, group, lost, path = heapq.heappop(heap)
        if group == subgroup and k_index in (None, lost):
            return Chain(supergroup, subgroup, path)
        if (group, lost) in seen:
            continue
        seen.add((group, lost))
        if point_group_order(group) > order:
            steps: Iterable[Step] = maximal_t_subgroups(group)
        else:
            steps = maximal_k_subgroups(group, primes)
        for step in steps:
            grown = lost if step.kind == "t" else lost * step.index
            fits = grown <= bound and (k_index is None or k_index % grown == 0)
            if fits and point_group_order(step.subgroup) >= order:
                entry = (total * step.index, length + 1, step.subgroup, grown, (*path, step))
                heapq.heappush(heap, entry)
    return None


def explains(true: int, answer: int, largest: int = 8) -> Chain | None:
    """Whether taking a structure of one group for another is what its geometry invites.

    A pattern that shows too little of the difference between elements looks like one of a
    supergroup; so an answer is explained if it is a supergroup of the truth by a small index.

    Parameters
    ----------
    true, answer : space-group numbers
    largest : largest factor between the primitive cells

    Returns
    -------
    The chain from ``answer`` down to ``true``, or ``None`` if ``answer`` is no such supergroup.
    """
    return chain(answer, true, None, largest)


def _steps_down(group: int) -> Iterator[Step]:
    yield from maximal_t_subgroups(group)
    yield from maximal_k_subgroups(group)


def _types(
    rotations: np.ndarray, translations: np.ndarray, basis: np.ndarray, prime: int
) -> set[int]:
    """Space groups of all subgroups with a translation lattice and the whole point group.

    Parameters
    ----------
    rotations, translations : (n, 3, 3) and (n, 3) operations on a primitive basis
    basis : (3, 3) integer columns of the sublattice, whose quotient is elementary abelian
    prime : order of the quotient's elements

    Notes
    -----
    The subgroup holds one operation (R_i, t_i + v_i) for each i, v_i a translation modulo the
    sublattice.  It is closed if R_i v_j + v_i - v_k = t_k - t_i - R_i t_j modulo the sublattice
    for all i, j with R_i R_j = R_k: linear equations for the v_i over the integers modulo p.
    """
    n = len(rotations)
    to_quotient = _coordinates(basis, prime)
    size = len(to_quotient)
    lifts = _lifts(to_quotient)
    # action of each rotation on the quotient
    action = [to_quotient @ r @ lifts % prime for r in rotations]
    number = {r.tobytes(): i for i, r in enumerate(rotations)}
    generators = _generators(rotations, number)
    # the identity is not shifted (of the other equations only those of P1 would allow it)
    start = number[np.eye(3, dtype=rotations.dtype).tobytes()]
    rows = [np.eye(n * size, dtype=np.int64)[start * size : (start + 1) * size]]
    right = [np.zeros(size, dtype=np.int64)]
    for i, j in product(range(n), generators):
        k = number[(rotations[i] @ rotations[j]).tobytes()]
        gap = translations[k] - translations[i] - rotations[i] @ translations[j]
        row = np.zeros((size, n * size), dtype=np.int64)
        row[:, j * size : (j + 1) * size] += action[i]
        row[:, i * size : (i + 1) * size] += np.eye(size, dtype=np.int64)
        row[:, k * size : (k + 1) * size] -= np.eye(size, dtype=np.int64)
        rows.append(row)
        right.append(to_quotient @ np.rint(gap).astype(np.int64))
    # conjugation by a translation changes v_i by (1 - R_i) u and the type not at all
    same_type = np.concatenate([np.eye(size, dtype=np.int64) - a for a in action])
    # the search for the type wants a short basis; R^T R summed is a metric that all R keep
    basis = shortened(basis, np.einsum("nab,nac->bc", rotations, rotations).astype(float))
    inverse = np.linalg.inv(basis)
    inside = np.rint(inverse @ rotations @ basis).astype(np.int64)
    return {
        identify(inside, (translations + shifts.reshape(n, size) @ lifts.T) @ inverse.T)
        for shifts in affine_solutions(
            np.concatenate(rows) % prime, np.concatenate(right) % prime, same_type % prime, prime
        )
    }


def _prime_factors(number: int) -> tuple[int, ...]:
    """Primes that divide a number, ascending."""
    factors = []
    for divisor in range(2, number + 1):
        if number % divisor == 0:
            factors.append(divisor)
        while number % divisor == 0:
            number //= divisor
    return tuple(factors)


def _coordinates(basis: np.ndarray, prime: int) -> np.ndarray:
    """(k, 3) integers, reduced, that take a translation to its class modulo the sublattice."""
    # the annihilator of the sublattice in (Z/p)^3: rows y with y . b = 0 for every basis vector
    return row_reduced(kernel(basis.T, prime), prime)[0]


def _lifts(to_quotient: np.ndarray) -> np.ndarray:
    """(3, k) translations, one for each unit vector of the quotient."""
    lifts = np.zeros((3, len(to_quotient)), dtype=np.int64)
    lifts[(to_quotient != 0).argmax(axis=1), range(len(to_quotient))] = 1
    return lifts


def _generators(rotations: np.ndarray, number: dict[bytes, int]) -> list[int]:
    """Indices of operations that generate the point group."""
    identity = number[np.eye(3, dtype=rotations.dtype).tobytes()]
    generators: list[int] = []
    reached = {identity}
    for candidate in range(len(rotations)):
        if candidate in reached:
            continue
        generators.append(candidate)
        reached = edge = {identity}
        while edge:
            products = {
                number[(rotations[i] @ rotations[g]).tobytes()] for i in edge for g in generators
            }
            edge = products - reached
            reached = reached | edge
    return generators


def _symbol(group: int) -> str:
    return setting(hall_number_for(group)).international

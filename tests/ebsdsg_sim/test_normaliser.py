"""Descriptions of one crystal are recognised, whatever origin, axes or setting; others are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ebsdsg_sim.crystal import Crystal, Site
from ebsdsg_sim.normaliser import relation
from ebsdsg_sim.symmetry import hall_number_for, setting


def crystal(group: int, cell: tuple[float, ...], *sites: tuple, hall: int | None = None) -> Crystal:
    made = tuple(Site(element, position, *rest) for element, position, *rest in sites)
    if len(cell) == 1:
        cell = (*cell * 3, 90.0, 90.0, 90.0)
    return Crystal("c", cell, group, hall or hall_number_for(group), made)  # type: ignore[arg-type]


def hall_of(group: int, choice: str) -> int:
    return next(
        h for h in range(1, 531) if setting(h).space_group == group and setting(h).choice == choice
    )


def moved(given: Crystal, matrix: list, shift: list, hall: int | None = None) -> Crystal:
    """The same crystal with x_new = matrix x + shift, and the cell that goes with it."""
    change = np.array(matrix, dtype=float)
    lattice = np.linalg.inv(change).T @ given.lattice
    lengths = np.linalg.norm(lattice, axis=1)
    cosines = [
        lattice[i] @ lattice[j] / (lengths[i] * lengths[j]) for i, j in ((1, 2), (0, 2), (0, 1))
    ]
    cell = (*lengths.tolist(), *(round(float(np.degrees(np.arccos(c))), 9) for c in cosines))
    sites = tuple(
        replace(site, position=tuple((change @ site.position + shift) % 1.0))
        for site in given.sites
    )
    return replace(given, cell=cell, sites=sites, hall_number=hall or given.hall_number)


SI_1 = crystal(227, (0.543,), ("Si", (0, 0, 0)), hall=525)
SI_2 = crystal(227, (0.543,), ("Si", (0.125, 0.125, 0.125)))
SPINEL = crystal(
    227,
    (0.8084,),
    ("Mg", (0.125, 0.125, 0.125)),
    ("Al", (0.5, 0.5, 0.5)),
    ("O", (0.2625, 0.2625, 0.2625)),
)
ROCK_SALT = crystal(225, (0.564,), ("Na", (0, 0, 0)), ("Cl", (0.5, 0.5, 0.5)))
ANATASE = crystal(
    141, (0.3784, 0.3784, 0.9514, 90, 90, 90), ("Ti", (0, 0.75, 0.125)), ("O", (0, 0.75, 0.3331))
)
POLAR = crystal(
    99,
    (0.39, 0.39, 0.415, 90, 90, 90),
    ("Pb", (0, 0, 0)),
    ("Ti", (0.5, 0.5, 0.54)),
    ("O", (0.5, 0.5, 0.11)),
    ("O", (0.5, 0, 0.62)),
)
PNMA = crystal(
    62,
    (0.5442, 0.764, 0.538, 90, 90, 90),
    ("Ca", (0.0365, 0.25, 0.9924)),
    ("Ti", (0, 0, 0.5)),
    ("O", (0.4839, 0.25, 0.0711)),
    ("O", (0.2897, 0.0371, 0.7111)),
)
FESI = crystal(198, (0.4489,), ("Fe", (0.1358,) * 3), ("Si", (0.844,) * 3))
CALCITE = crystal(
    167,
    (0.499, 0.499, 1.7062, 90, 90, 120),
    ("Ca", (0, 0, 0)),
    ("C", (0, 0, 0.25)),
    ("O", (0.2573, 0, 0.25)),
)

TO_R = np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3
"""Rows: rhombohedral edges in terms of the hexagonal ones, obverse."""

EQUIVALENT = {
    "itself": (SPINEL, SPINEL),
    "the two origins of silicon": (SI_1, SI_2),
    "the two origins of spinel": (SPINEL, moved(SPINEL, np.eye(3), [0.125] * 3, hall=525)),
    "the two origins of anatase": (
        ANATASE,
        moved(ANATASE, np.eye(3), [0, -0.75, -0.125], hall=hall_of(141, "1")),
    ),
    "the other inversion centre": (ROCK_SALT, moved(ROCK_SALT, np.eye(3), [0.5] * 3)),
    "the other inversion centre of spinel": (SPINEL, moved(SPINEL, np.eye(3), [0.5] * 3)),
    "any height along a polar axis": (POLAR, moved(POLAR, np.eye(3), [0, 0, 0.1371])),
    "the other axis of a polar cell": (POLAR, moved(POLAR, np.eye(3), [0.5, 0.5, 0])),
    "another choice of axes": (
        PNMA,
        moved(PNMA, [[0, 0, 1], [1, 0, 0], [0, 1, 0]], [0, 0, 0], hall=hall_of(62, "cab")),
    ),
    "an origin half an edge away": (PNMA, moved(PNMA, np.eye(3), [0.5, 0, 0.5])),
    "a fourth of a turn that the group does not hold": (
        FESI,
        moved(FESI, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], [0.25, 0.75, 0.25]),
    ),
    "rhombohedral axes": (
        CALCITE,
        moved(CALCITE, np.linalg.inv(TO_R).T, [0] * 3, hall=hall_of(167, "R")),
    ),
}  # fmt: skip


@pytest.mark.parametrize("pair", EQUIVALENT.values(), ids=EQUIVALENT)
def test_descriptions_of_one_crystal_are_recognised(pair: tuple[Crystal, Crystal]) -> None:
    first, second = pair
    assert abs(first.density / second.density - 1) < 1e-9  # the test's own arithmetic
    for one, other in (pair, pair[::-1]):
        found = relation(one, other)
        assert found is not None and found.largest < 1e-7
        # what it says is true: the atoms of the second are those of the first
        for site in range(len(other.sites)):
            images = other.atoms(site) @ found.matrix.T + found.shift
            element = other.sites[site].element
            there = np.concatenate(
                [one.atoms(i) for i, s in enumerate(one.sites) if s.element == element]
            )
            gaps = images[:, None] - there[None]
            gaps = np.linalg.norm((gaps - np.round(gaps)) @ one.lattice, axis=-1)
            assert gaps.min(axis=1).max() < 1e-7


def test_the_relation_is_the_shift_between_the_origins() -> None:
    found = relation(SI_2, SI_1)
    assert found is not None
    gap = found.matrix @ np.zeros(3) + found.shift - SI_2.atoms(0)
    assert np.linalg.norm((gap - np.round(gap)) @ SI_2.lattice, axis=1).min() < 1e-9
    # 1/8 1/8 1/8 up to the operations of the group
    assert set(np.round(found.shift * 8).astype(int) % 2) == {1}


OTHER = {
    "another cell": (SI_2, replace(SI_2, cell=(0.55, 0.55, 0.55, 90, 90, 90))),
    "another element": (
        ROCK_SALT,
        crystal(225, (0.564,), ("K", (0, 0, 0)), ("Cl", (0.5, 0.5, 0.5))),
    ),
    "another occupancy": (
        ROCK_SALT,
        crystal(225, (0.564,), ("Na", (0, 0, 0), 0.9), ("Cl", (0.5, 0.5, 0.5))),
    ),
    "another position": (
        ANATASE,
        replace(ANATASE, sites=(ANATASE.sites[0], Site("O", (0, 0.75, 0.338)))),
    ),
    "another arrangement": (
        crystal(216, (0.54,), ("Zn", (0, 0, 0)), ("S", (0.25, 0.25, 0.25))),
        crystal(216, (0.54,), ("Zn", (0, 0, 0)), ("S", (0.5, 0.5, 0.5))),
    ),
    "the wrong origin": (SI_2, replace(SI_1, hall_number=526)),
    "the mirror image": (
        FESI,
        replace(
            FESI,
            sites=tuple(replace(s, position=tuple(-x % 1 for x in s.position)) for s in FESI.sites),
        ),
    ),
    "the other screw": (
        crystal(152, (0.491, 0.491, 0.540, 90, 90, 120), ("Se", (0.22, 0, 1 / 3))),
        crystal(154, (0.491, 0.491, 0.540, 90, 90, 120), ("Se", (0.22, 0, 2 / 3))),
    ),
    "the same atoms, the group along another axis": (
        crystal(3, (0.4, 0.5, 0.6, 90, 90, 90), ("Fe", (0, 0, 0)), hall=hall_of(3, "b")),
        crystal(3, (0.4, 0.5, 0.6, 90, 90, 90), ("Fe", (0, 0, 0)), hall=hall_of(3, "c")),
    ),
}


@pytest.mark.parametrize("pair", OTHER.values(), ids=OTHER)
def test_other_crystals_are_not_taken_for_it(pair: tuple[Crystal, Crystal]) -> None:
    assert relation(*pair) is None
    assert relation(*pair[::-1]) is None


def test_the_tolerance_is_of_the_atoms() -> None:
    near = replace(ANATASE, sites=(ANATASE.sites[0], Site("O", (0, 0.75, 0.3336))))
    found = relation(ANATASE, near)  # 0.0005 of 0.9514 nm
    assert found is not None and 1e-4 < found.largest < 5e-4
    assert relation(ANATASE, near, tolerance=1e-4) is None
    garnet = crystal(
        230, (1.2,), ("Y", (0.125, 0, 0.25)), ("Al", (0, 0, 0)), ("Al", (0.375, 0, 0.25)),
        ("O", (0.97, 0.05, 0.149)),
    )  # fmt: skip
    assert relation(garnet, garnet).largest < 1e-9  # type: ignore[union-attr]

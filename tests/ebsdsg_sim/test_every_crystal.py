"""Any crystal: the seven systems, centred lattices, polar groups, partial occupancies, all 230."""

import numpy as np
import pytest
import torch
from crystals import as_p1, crystal, random_directions
from textbook import Textbook

from ebsdsg_sim.blochwave import BlochWaveSolver
from ebsdsg_sim.crystal import Crystal, Site
from ebsdsg_sim.structure_factors import fourier_table, site_weights
from ebsdsg_sim.symmetry import hall_number_for, space_group_operations

BETHE = (8.0, 50.0, 100.0)
DEPTHS = np.exp(-np.arange(30) / 10)
CRYSTALS = [
    crystal("P-1", (0.31, 0.36, 0.42, 82, 97, 104), 2, ("Fe", (0.1, 0.22, 0.3), 1.0, 0.004)),
    crystal(
        "C2/c",
        (0.52, 0.33, 0.45, 90, 108, 90),
        15,
        ("Ti", (0.0, 0.2, 0.25), 1.0, 0.003),
        ("O", (0.21, 0.4, 0.04), 0.6, 0.009),
    ),
    crystal(
        "Cmc21",  # polar, C-centred
        (0.34, 0.5, 0.46, 90, 90, 90),
        36,
        ("Ba", (0, 0.12, 0.0), 1.0, 0.005),
        ("S", (0, 0.41, 0.31), 0.8, 0.008),
    ),
    crystal("Immm", (0.28, 0.36, 0.44, 90, 90, 90), 71, ("V", (0, 0, 0.17), 1.0, 0.004)),
    crystal(
        "I4mm",  # polar, body-centred
        (0.36, 0.36, 0.45, 90, 90, 90),
        107,
        ("Nb", (0, 0, 0), 1.0, 0.004),
        ("N", (0, 0, 0.43), 0.9, 0.007),
    ),
    crystal(
        "R3m",  # polar, rhombohedral lattice on hexagonal axes
        (0.37, 0.37, 0.9, 90, 90, 120),
        160,
        ("Ge", (0, 0, 0), 1.0, 0.006),
        ("Te", (0, 0, 0.47), 1.0, 0.009),
    ),
    crystal("R-3m", (0.33, 0.33, 0.8, 90, 90, 120), 166, ("Bi", (0, 0, 0.21), 1.0, 0.006)),
    crystal(
        "P6/mmm",
        (0.31, 0.31, 0.33, 90, 90, 120),
        191,
        ("Mg", (0, 0, 0), 1.0, 0.005),
        ("B", (1 / 3, 2 / 3, 0.5), 0.7, 0.003),
    ),
    crystal(
        "Fm-3m",
        (0.42, 0.42, 0.42, 90, 90, 90),
        225,
        ("Na", (0, 0, 0), 0.5, 0.010),
        ("K", (0, 0, 0), 0.5, 0.012),
        ("Cl", (0.5, 0.5, 0.5), 1.0, 0.008),
    ),
    crystal("I-43m", (0.45, 0.45, 0.45, 90, 90, 90), 217, ("Mn", (0.2, 0.2, 0.2), 0.4, 0.004)),
]
CENTROSYMMETRIC = {"P-1", "C2/c", "Immm", "R-3m", "P6/mmm", "Fm-3m"}


def solver(c, dmin=0.15, **options):
    return BlochWaveSolver(
        c,
        fourier_table(c, 15.0, dmin),
        site_weights(c, dmin),
        DEPTHS,
        1.0,
        30.0,
        dmin=dmin,
        bethe=BETHE,
        **options,
    )


@pytest.mark.parametrize("c", CRYSTALS, ids=lambda c: c.name)
def test_textbook_eigenproblem(c):
    directions = random_directions(2, 11)
    oracle = Textbook(c, 15.0, 0.15, BETHE, DEPTHS, 1.0, 30.0)
    expected = np.array([oracle.intensities(v) for v in directions])
    bloch = solver(c)
    found, _ = bloch.intensities(directions)
    assert found == pytest.approx(expected, rel=2e-5)
    assert bloch.symmetric == (c.name in CENTROSYMMETRIC)


@pytest.mark.parametrize("c", CRYSTALS, ids=lambda c: c.name)
def test_point_group_of_the_pattern(c):
    v = random_directions(3, 12)
    bloch = solver(c)
    first, _ = bloch.intensities(v)
    images = np.concatenate([v @ operation.T for operation in c.point_group])
    again, _ = bloch.intensities(images)
    assert again == pytest.approx(np.tile(first, (len(c.point_group), 1)), rel=1e-5)


@pytest.mark.parametrize("c", CRYSTALS, ids=lambda c: c.name)
def test_hemispheres(c):
    v = random_directions(8, 13)
    one, other = (solver(c).intensities(sign * v)[0].sum(1) for sign in (1, -1))
    difference = np.abs(one / other - 1).max()
    if c.name in CENTROSYMMETRIC:
        assert difference < 1e-5
    else:
        assert difference > 1e-3


def test_large_matrices_are_multiplied_as_real_ones_and_agree():
    c = crystal("bcc", (0.8, 0.8, 0.8, 90, 90, 90), 221, ("Fe", (0.2, 0.2, 0.2), 1.0, 0.004))
    v = random_directions(4, 14)
    fast, statistics = solver(c, 0.07).intensities(v)
    exact, _ = solver(c, 0.07, precision="float64").intensities(v)
    assert statistics.n_strong.min() >= 80
    assert fast == pytest.approx(exact, rel=2e-5)


def test_an_inversion_centre_off_the_origin_is_found():
    """Origin choices 1 and 2 of the diamond structure are one crystal."""
    cell = (0.357, 0.357, 0.357, 90, 90, 90)
    first, second = (
        Crystal("C", cell, 227, hall_number_for(227, choice), (Site("C", (x, x, x), 1.0, 0.002),))
        for choice, x in ((1, 0.0), (2, 0.125))
    )
    assert np.abs(first.inversion_centre).max() > 0
    assert not fourier_table(first, 15.0, 0.1).centrosymmetric
    v = random_directions(6, 15)
    one, other = solver(first, 0.1), solver(second, 0.1)
    assert one.symmetric
    assert other.symmetric
    assert one.intensities(v)[0] == pytest.approx(other.intensities(v)[0], rel=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("c", CRYSTALS, ids=lambda c: c.name)
def test_a_gpu_gives_the_same(c):
    v = random_directions(200, 16)
    expected, _ = solver(c).intensities(v)
    found, _ = solver(c, device="cuda").intensities(v)
    assert found == pytest.approx(expected, rel=5e-5)


def any_crystal(group: int) -> Crystal:
    """Two elements in general positions, sparsely occupied, in a cell fit for the group."""
    rng = np.random.default_rng(group)
    a, b, c = rng.uniform(0.3, 0.45, 3)
    if group <= 2:
        cell = (a, b, c, *rng.uniform(80, 100, 3))
    elif group <= 15:
        cell = (a, b, c, 90, rng.uniform(95, 110), 90)
    elif group <= 74:
        cell = (a, b, c, 90, 90, 90)
    elif group <= 142:
        cell = (a, a, c, 90, 90, 90)
    elif group <= 194:
        cell = (a, a, c, 90, 90, 120)
    else:
        cell = (a, a, a, 90, 90, 90)
    number = hall_number_for(group)
    count = len(space_group_operations(number)[0])
    sites = tuple(
        Site(element, tuple(rng.random(3)), min(0.45, 2 / count), float(rng.uniform(0.003, 0.01)))
        for element in ("Fe", "O")
    )
    return Crystal(f"group {group}", cell, group, number, sites)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [range(1, 75), range(75, 195), range(195, 231)], ids=str)
def test_all_space_groups(groups):
    """A pattern has the symmetry of its point group, and is that of its atoms one by one.

    The atoms one by one have no inversion centre and go through the general complex products.
    """
    for group in groups:
        c = any_crystal(group)
        v = random_directions(2, group)
        bloch = solver(c, 0.13)
        first, _ = bloch.intensities(v)
        assert np.isfinite(first).all(), c
        assert (first > 0).all(), c
        operations = c.point_group[:: max(1, len(c.point_group) // 6)]
        again, _ = bloch.intensities(np.concatenate([v @ o.T for o in operations]))
        assert again == pytest.approx(np.tile(first, (len(operations), 1)), rel=1e-5), c
        atoms, _ = solver(as_p1(c), 0.13).intensities(v)
        assert atoms.sum(1) == pytest.approx(first.sum(1), rel=2e-5), c
        inverted = any((rotation == -np.eye(3)).all() for rotation in c.symmetry[0])
        assert bloch.symmetric == inverted, c

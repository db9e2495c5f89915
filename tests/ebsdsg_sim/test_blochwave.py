import json

import numpy as np
import pytest
from crystals import GAAS, MONOCLINIC, P1, ZNO, as_p1, crystal, random_directions, reference_crystal
from hypothesis import given, settings
from hypothesis import strategies as st
from textbook import Textbook

from ebsdsg_sim.blochwave import BlochWaveSolver
from ebsdsg_sim.crystal import Crystal, Site
from ebsdsg_sim.structure_factors import fourier_table, site_weights

BETHE = (8.0, 50.0, 100.0)
DEPTHS = np.exp(-np.arange(40) / 12)


def solver(c, energy=15.0, dmin=0.12, depth_weights=DEPTHS, thickness=40.0, **options):
    return BlochWaveSolver(
        c,
        fourier_table(c, energy, dmin),
        site_weights(c, dmin),
        depth_weights,
        1.0,
        thickness,
        dmin=dmin,
        bethe=BETHE,
        **options,
    )


@pytest.mark.parametrize("name", ["Ni", "Ni_B080", "Si", "NiAl", "TiC"])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 5e-5), ("float64", 3e-5)])
def test_reference_directions(shared, name, precision, tolerance):
    data = np.load(shared / f"reference/directions/{name}_20keV.npz")
    assert json.loads(str(data["meta"]))["energy_keV"] == 20.0
    bloch = solver(
        reference_crystal(shared, name),
        20.0,
        0.05,
        data["lambda_e"],
        float(data["thick_nm"]),
        precision=precision,
    )
    for kind in ("", "grid_"):
        directions = data["direction" if not kind else "grid_direction"]
        found, statistics = bloch.intensities(directions)
        assert found == pytest.approx(data[f"{kind}intensity_per_site"], rel=tolerance)
        assert found.sum(axis=1) == pytest.approx(data[f"{kind}intensity"], rel=tolerance)
        assert (statistics.n_strong == data[f"{kind}n_strong"]).mean() >= 0.99
        assert (statistics.n_weak == data[f"{kind}n_weak"]).mean() >= 0.99
    assert found == pytest.approx(data["grid_emsoft_per_site"], rel=1e-4)


@pytest.mark.parametrize("c", [GAAS, ZNO, MONOCLINIC, P1], ids=lambda c: c.name)
def test_textbook_eigenproblem(c):
    directions = random_directions(2, 1)
    oracle = Textbook(c, 15.0, 0.13, BETHE, DEPTHS, 1.0, 40.0)
    expected = np.array([oracle.intensities(v) for v in directions])
    for precision, tolerance in (("float32", 1e-5), ("float64", 1e-7)):
        found, statistics = solver(c, dmin=0.13, precision=precision).intensities(directions)
        assert found == pytest.approx(expected, rel=tolerance)
        beams = [tuple(map(len, oracle.beams(v))) for v in directions]
        assert list(zip(statistics.n_strong, statistics.n_weak, strict=True)) == beams


@pytest.mark.parametrize("c", [GAAS, ZNO, MONOCLINIC], ids=lambda c: c.name)
def test_pattern_is_invariant_under_the_point_group(c):
    v = random_directions(4, 2)
    bloch = solver(c, precision="float64")
    first, _ = bloch.intensities(v)
    for operation in c.point_group:
        again, _ = bloch.intensities(v @ operation.T)
        assert again == pytest.approx(first, rel=1e-7)


@pytest.mark.parametrize("c", [GAAS, ZNO], ids=lambda c: c.name)
def test_opposite_directions_differ_without_an_inversion_centre(c):
    v = random_directions(8, 5)
    one, other = (solver(c).intensities(sign * v)[0].sum(1) for sign in (1, -1))
    assert np.abs(one / other - 1).max() > 1e-3


@pytest.mark.parametrize("repeat", [(2, 1, 1), (1, 2, 1)])
def test_a_repeated_cell_without_symmetry_gives_the_same_intensities(repeat):
    v = random_directions(5, 3)
    expected, _ = solver(GAAS, precision="float64").intensities(v)
    p1 = as_p1(GAAS, repeat)
    found, _ = solver(p1, precision="float64").intensities(v)
    ga = [i for i, site in enumerate(p1.sites) if site.element == "Ga"]
    assert found[:, ga].sum(1) == pytest.approx(expected[:, 0], rel=1e-7)
    assert found.sum(1) == pytest.approx(expected.sum(1), rel=1e-7)


def test_renaming_the_axes_rotates_the_pattern():
    first = crystal(
        "abc", (0.3, 0.4, 0.5, 90, 90, 90), 1, ("Fe", (0.1, 0.2, 0.3)), ("O", (0.6, 0.5, 0.9))
    )
    second = crystal(
        "bca", (0.4, 0.5, 0.3, 90, 90, 90), 1, ("Fe", (0.2, 0.3, 0.1)), ("O", (0.5, 0.9, 0.6))
    )
    v = random_directions(6, 4)
    one, other = solver(first).intensities(v)[0], solver(second).intensities(v[:, [1, 2, 0]])[0]
    assert other == pytest.approx(one, rel=1e-5)


def test_the_origin_of_the_cell_does_not_matter():
    moved = Crystal(
        "moved",
        P1.cell,
        1,
        1,
        tuple(
            Site(s.element, tuple(np.add(s.position, (0.3, 0.1, 0.7))), s.occupancy, s.debye_waller)
            for s in P1.sites
        ),
    )
    v = random_directions(6, 6)
    assert solver(moved).intensities(v)[0] == pytest.approx(solver(P1).intensities(v)[0], rel=1e-5)


def test_one_beam_alone_decays_with_the_normal_absorption():
    # With dmin beyond every coupling only 000 is left: the sum over depth is known exactly.
    c = crystal("Ni", (0.35236, 0.35236, 0.35236, 90, 90, 90), 225, ("Ni", (0, 0, 0), 1.0, 0.0035))
    table = fourier_table(c, 20.0, 0.2)
    v = np.array([[0.577, 0.211, 0.789]])
    v /= np.linalg.norm(v)
    narrow = BlochWaveSolver(
        c, table, site_weights(c, 0.2), DEPTHS, 1.0, 40.0, dmin=0.2, bethe=(1e-9, 1e-9, 1e-9)
    )
    found, statistics = narrow.intensities(v)
    assert (statistics.mean_strong, statistics.mean_weak) == (1.0, 0.0)
    depth = np.arange(1, 41)
    decay = np.exp(-2 * np.pi * depth / table.absorption_length)
    assert found[0, 0] == pytest.approx(28**2 * (DEPTHS * decay).sum() / 40, rel=1e-5)


def test_batches_do_not_change_the_result(shared):
    c = reference_crystal(shared, "NiAl")
    v = random_directions(60, 7)
    whole, _ = solver(c, precision="float64").intensities(v)
    pieces, _ = solver(c, precision="float64", memory=1 << 20).intensities(v, block=7)
    assert pieces == pytest.approx(whole, rel=1e-9)


def test_progress_and_empty_input():
    seen = []
    solver(GAAS).intensities(random_directions(10, 0), lambda *at: seen.append(at), block=4)
    assert seen == [(4, 10), (8, 10), (10, 10)]
    values, statistics = solver(GAAS).intensities(np.zeros((0, 3)))
    assert values.shape == (0, 2)
    assert statistics.n_directions == 0


def test_no_electrons_no_intensity():
    values, _ = solver(GAAS, depth_weights=np.zeros(10)).intensities(random_directions(3, 0))
    assert (values == 0).all()


coordinate = st.floats(0, 1, exclude_max=True)
atom = st.tuples(
    st.sampled_from(["H", "C", "Si", "Fe", "Ba", "Au"]),
    st.tuples(coordinate, coordinate, coordinate),
    st.floats(0.1, 0.3),
    st.floats(0.001, 0.02),
)
cells = st.tuples(*[st.floats(0.25, 0.5)] * 3, *[st.floats(75, 105)] * 3)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(cells, st.lists(atom, min_size=1, max_size=3), st.floats(5, 30))
def test_random_crystals(cell, atoms, energy):
    # Occupancies are small enough for any two atoms to coincide.
    c = Crystal("random", cell, 1, 1, tuple(Site(*a) for a in atoms))
    v = random_directions(4, 9)
    found, _ = solver(c, energy, 0.15).intensities(v)
    assert np.isfinite(found).all()
    assert (found > 0).all()
    # An empty site is no site, except for its map of zeros.
    with_empty = Crystal("random", cell, 1, 1, (*c.sites, Site("U", (0.123, 0.456, 0.789), 0.0)))
    again, _ = solver(with_empty, energy, 0.15).intensities(v)
    assert again[:, :-1] == pytest.approx(found, rel=1e-5)
    assert (again[:, -1] == 0).all()
    # A doubled cell is the same crystal.
    doubled, _ = solver(as_p1(c, (1, 1, 2)), energy, 0.15).intensities(v)
    assert doubled.sum(1) == pytest.approx(found.sum(1), rel=2e-5)

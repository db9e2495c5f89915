import json

import numpy as np
import pytest
from crystals import GAAS, MONOCLINIC, P1, ZNO, crystal, reference_crystal

from ebsdsg_sim.crystal import Crystal, CrystalError, Site
from ebsdsg_sim.elements import ElementError, atomic_number, atomic_weight, element_symbol
from ebsdsg_sim.symmetry import setting, space_group_operations

CUBE = (0.4, 0.4, 0.4, 90, 90, 90)


def test_silicon_needs_the_right_origin():
    site = Site("Si", (0.125, 0.125, 0.125))
    cell = (0.5431, 0.5431, 0.5431, 90, 90, 90)
    right = Crystal("Si", cell, 227, 526, (site,))
    wrong = Crystal("Si", cell, 227, 525, (site,))
    assert (right.n_atoms, wrong.n_atoms) == (8, 16)
    assert right.density == pytest.approx(2.329, abs=1e-3)
    assert wrong.density == pytest.approx(4.658, abs=1e-3)
    assert right.centring == "F"


@pytest.mark.parametrize(
    ("name", "n_atoms", "density", "mean_z"),
    [
        ("Ni", 4, 8.911, 28),
        ("Si", 8, 2.329, 14),
        ("NiAl", 2, 5.911, 20.5),
        ("TiC", 8, 4.910, 14),
        ("Al3Ni2", 5, 4.764, 19),
    ],
)
def test_reference_crystals(shared, name, n_atoms, density, mean_z):
    c = reference_crystal(shared, name)
    assert c.n_atoms == n_atoms
    assert c.density == pytest.approx(density, rel=2e-3)
    assert c.mean_atomic_number == pytest.approx(mean_z)
    # Mass from the two means agrees with the mass from the sites.
    mass = c.mean_atomic_weight * n_atoms
    assert c.density == pytest.approx(mass / (0.602214076 * c.volume * 1e3), rel=1e-9)


@pytest.mark.parametrize("c", [GAAS, ZNO, MONOCLINIC, P1], ids=lambda c: c.name)
def test_lattice_and_reciprocal_lattice(c):
    assert c.lattice @ c.reciprocal.T == pytest.approx(np.eye(3), abs=1e-12)
    # x along a, z along c*.
    assert c.lattice[0, 1:] == pytest.approx([0, 0])
    assert c.reciprocal[2, :2] == pytest.approx([0, 0], abs=1e-12)
    lengths = np.linalg.norm(c.lattice, axis=1)
    assert lengths == pytest.approx(c.cell[:3])
    cosine = c.lattice[0] @ c.lattice[2] / lengths[0] / lengths[2]
    assert np.degrees(np.arccos(cosine)) == pytest.approx(c.cell[4])


@pytest.mark.parametrize("c", [GAAS, ZNO, MONOCLINIC, P1], ids=lambda c: c.name)
def test_operations_map_every_atom_onto_an_equal_one(c):
    rotations, translations = c.symmetry
    for atoms in c.positions:
        images = np.einsum("nij,aj->nai", rotations, atoms) + translations[:, None]
        gaps = images[:, :, None] - atoms
        gaps -= np.round(gaps)
        assert np.abs(gaps).sum(-1).min(-1).max() < 1e-9


@pytest.mark.parametrize(
    ("c", "order"), [(GAAS, 24), (ZNO, 12), (MONOCLINIC, 2), (P1, 1)], ids=lambda x: str(x)[:8]
)
def test_point_group_is_orthogonal_and_of_the_right_order(c, order):
    group = c.point_group
    assert len(group) == order
    assert group @ np.swapaxes(group, 1, 2) == pytest.approx(
        np.broadcast_to(np.eye(3), group.shape), abs=1e-9
    )


def test_a_coordinate_near_a_special_position_is_put_on_it():
    c = crystal("Mg", (0.321, 0.321, 0.521, 90, 90, 120), 194, ("Mg", (0.3333, 0.6667, 0.25)))
    assert c.n_atoms == 2
    assert c.positions[0][0] == pytest.approx([1 / 3, 2 / 3, 0.25], abs=1e-12)


def test_all_230_groups_give_one_atom_per_operation_at_a_general_position():
    for hall in range(1, 531):
        rotations, _ = space_group_operations(hall)
        # A metric with the group's symmetry: the mean of an arbitrary one over the group.
        seed = np.array([[0.36, 0.02, -0.03], [0.02, 0.49, 0.04], [-0.03, 0.04, 0.64]])
        metric = 4 * (np.swapaxes(rotations, 1, 2) @ seed @ rotations).mean(axis=0)
        lengths = np.sqrt(np.diag(metric))
        cosines = metric / np.outer(lengths, lengths)
        angles = np.degrees(np.arccos([cosines[1, 2], cosines[0, 2], cosines[0, 1]]))
        group = setting(hall).space_group
        c = Crystal(
            "general", (*lengths, *angles), group, hall, (Site("H", (0.137, 0.229, 0.411)),)
        )
        assert c.n_atoms == len(rotations), hall


def test_partial_occupancy_and_shared_positions():
    c = crystal("FeNi", CUBE, 225, ("Fe", (0, 0, 0), 0.25), ("Ni", (0, 0, 0), 0.75))
    assert c.mean_atomic_number == pytest.approx(0.25 * 26 + 0.75 * 28)
    assert c.mass == pytest.approx(4 * (0.25 * 55.845 + 0.75 * 58.693))
    empty = crystal("Fe", CUBE, 225, ("Fe", (0, 0, 0)), ("Ni", (0.5, 0.5, 0.5), 0.0))
    assert empty.n_atoms == 4


def test_split_positions_that_are_never_filled_together_may_be_close():
    split = crystal("x", CUBE, 1, ("H", (0, 0, 0), 0.5), ("H", (0.05, 0, 0), 0.5))
    assert split.n_atoms == 2
    near = crystal("x", CUBE, 1, ("Ni", (0, 0, 0)), ("Fe", (0.08, 0, 0)))  # 0.032 nm
    assert near.n_atoms == 2


def test_round_trip_through_json():
    for c in (GAAS, ZNO, MONOCLINIC, P1):
        assert Crystal.from_dict(json.loads(json.dumps(c.to_dict()))) == c


def test_with_debye_waller():
    assert [s.debye_waller for s in GAAS.with_debye_waller(0.01).sites] == [0.01, 0.01]
    assert [s.debye_waller for s in GAAS.with_debye_waller([0.01, 0.02]).sites] == [0.01, 0.02]
    with pytest.raises(CrystalError, match="3 Debye-Waller factors for 2 sites"):
        GAAS.with_debye_waller([0.01, 0.02, 0.03])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Site("Xx", (0, 0, 0)), "unknown element 'Xx'"),
        (lambda: Site("Ni", (0, float("nan"), 0)), "three finite numbers"),
        (lambda: Site("Ni", (0, 0, 0), 1.2), "occupancy 1.2"),
        (lambda: Site("Ni", (0, 0, 0), 1.0, 0.5), "1 Angstrom"),
        (lambda: crystal("x", (-1, 1, 1, 90, 90, 90), 1, ("Ni", (0, 0, 0))), "lengths above"),
        (lambda: crystal("x", (0.3, 0.3, 0.4, 90, 90, 90), 225, ("Ni", (0, 0, 0))), "symmetry of"),
        (lambda: crystal("x", (1, 1, 1, 120, 120, 121), 1, ("Ni", (0, 0, 0))), "angles"),
        (lambda: Crystal("x", CUBE, 225, 526, (Site("Ni", (0, 0, 0)),)), "space group 227"),
        (lambda: Crystal("x", CUBE, 225, 999, (Site("Ni", (0, 0, 0)),)), "Hall number 999"),
        (lambda: Crystal("x", CUBE, 225, 523, ()), "no atoms"),
        (lambda: Crystal("x", CUBE, "Fm-3m", 523, (Site("Ni", (0, 0, 0)),)), "must be integers"),
        (
            lambda: crystal("x", CUBE, 225, ("Ni", (0, 0, 0), 0.8), ("Fe", (0, 0, 0), 0.4)),
            "add up to 1.200",
        ),
        (lambda: crystal("x", CUBE, 225, ("Ni", (0.02, 0, 0))), "special position"),
        (
            lambda: crystal("x", CUBE, 1, ("Ni", (0, 0, 0)), ("Fe", (0.006, 0, 0))),
            r"site 2 \(Fe\) is 0.0024 nm away",
        ),
        (
            # across the border of the cell, and only one of Fe's twelve atoms
            lambda: crystal("x", CUBE, 221, ("Ni", (0, 0, 0), 0.9), ("Fe", (0, 0.05, 0.95), 0.2)),
            r"site 2 \(Fe\) is 0.0283 nm away",
        ),
    ],
)
def test_bad_crystals_are_refused_with_one_clear_error(make, says):
    with pytest.raises(CrystalError, match=says):
        make()


def test_a_document_with_a_missing_key_is_refused():
    values = GAAS.to_dict()
    del values["hall_number"]
    with pytest.raises(CrystalError, match="'hall_number' is missing"):
        Crystal.from_dict(values)


def test_elements():
    assert atomic_number("Ni") == 28
    assert element_symbol(79) == "Au"
    assert atomic_weight("Si") == pytest.approx(28.085)
    with pytest.raises(ElementError):
        element_symbol(99)

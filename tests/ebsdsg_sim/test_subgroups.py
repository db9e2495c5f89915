"""Maximal subgroups agree with published ones and with an independent enumeration."""

from itertools import product

import moyopy
import numpy as np
import pytest

from ebsdsg_sim import subgroups
from ebsdsg_sim.modular import (
    affine_solutions,
    invariant_lattices,
    kinds_of_invariant_lattices,
    shortened,
)
from ebsdsg_sim.subgroups import (
    Step,
    chain,
    explains,
    maximal_k_subgroups,
    maximal_t_subgroups,
    subgroup_graph,
)
from ebsdsg_sim.symmetry import SymmetryError, identify, primitive_operations

PAPER_GROUPS = (221, 223, 225, 227, 229, 230)


def test_graph_of_the_paper():
    # supplementary figure 2 of the paper: klassengleiche subgroups among its six groups
    found = {(s.supergroup, s.subgroup, s.index) for s in subgroup_graph(PAPER_GROUPS)}
    assert found == {
        (221, 225, 2), (221, 229, 4), (223, 230, 4), (225, 221, 4), (229, 221, 2), (229, 223, 2),
    }  # fmt: skip
    assert all(step.kind == "k" for step in subgroup_graph(PAPER_GROUPS))


@pytest.mark.parametrize(
    ("group", "k", "t"),
    [
        # International Tables A1: non-isomorphic klassengleiche, and translationengleiche
        (221, {(225, 2), (226, 2), (229, 4)}, {(200, 2), (207, 2), (215, 2), (123, 3), (166, 4)}),
        (225, {(221, 4), (224, 4)}, {(202, 2), (209, 2), (216, 2), (139, 3), (166, 4)}),
        (227, set(), {(203, 2), (210, 2), (216, 2), (141, 3), (166, 4)}),
        (
            229,
            {(221, 2), (222, 2), (223, 2), (224, 2)},
            {(204, 2), (211, 2), (217, 2), (139, 3), (166, 4)},
        ),
    ],
)
def test_subgroups_of_the_tables(group, k, t):
    found = maximal_k_subgroups(group)
    assert {(s.subgroup, s.index) for s in found if s.kind == "k"} == k
    assert {(s.subgroup, s.index) for s in found if s.kind == "i"} == {(group, 27)}
    assert {(s.subgroup, s.index) for s in maximal_t_subgroups(group)} == t


@pytest.mark.parametrize("group", [1, 2, 5, 9, 14, 19, 33, 41, 62, 76, 82, 92, 144, 146, 161, 198])
@pytest.mark.parametrize("index", [2, 3])
def test_prime_indices_against_an_enumeration_of_all_subgroups(group, index):
    rotations, translations = primitive_operations(group)
    classes = moyopy.enumerate_klassengleiche_subgroups_by_index(
        rotations.tolist(), translations.tolist(), index
    )
    operations = [each.representative.operations for each in classes]
    every = {identify(np.array(o.rotations), np.array(o.translations)) for o in operations}
    # a subgroup of prime index is maximal
    assert {s.subgroup for s in maximal_k_subgroups(group) if s.index == index} == every


def test_enantiomorphs_need_the_prime_5():
    # a screw axis 6_1 on a cell five times as high turns the other way
    assert 170 not in {s.subgroup for s in maximal_k_subgroups(169)}
    assert Step(169, 170, 5, "k") in maximal_k_subgroups(169, (5,))


@pytest.mark.parametrize(
    ("top", "bottom", "k_index", "groups", "kind"),
    [
        (229, 221, 2, [229, 221], "klassengleiche"),
        (221, 225, 2, [221, 225], "klassengleiche"),
        (229, 230, 8, [229, 223, 230], "klassengleiche"),
        (221, 221, 8, [221, 225, 221], "isomorphic"),
        (225, 225, 27, [225, 225], "isomorphic"),
        (227, 216, 1, [227, 216], "translationengleiche"),
        (225, 225, 1, [225], "same"),
        (229, 216, 4, [229, 217, 215, 216], "general"),
        (225, 87, 5, [225, 139, 87, 87], "general"),
        (123, 123, 7, [123, 123], "isomorphic"),
        (169, 170, 35, [169, 169, 170], "klassengleiche"),
    ],
)
def test_chains(top, bottom, k_index, groups, kind):
    found = chain(top, bottom, k_index)
    assert [top, *(s.subgroup for s in found.steps)] == groups
    assert (found.kind, found.k_index) == (kind, k_index)
    orders = [len(primitive_operations(group)[0]) for group in (top, bottom)]
    assert found.t_index == orders[0] // orders[1]
    for step, below in zip(found.steps, groups[1:], strict=True):
        assert step.subgroup == below
        options = maximal_k_subgroups(step.supergroup, (2, 3, 5, 7))
        options += maximal_t_subgroups(step.supergroup)
        assert step in options


@pytest.mark.parametrize(("bottom", "k_index"), [(2, 53), (1, 101), (12, 31), (225, 37**3)])
def test_a_chain_with_a_large_prime_tries_few_lattices(monkeypatch, bottom, k_index):
    tried = []
    types = subgroups._types

    def counted(rotations, translations, basis, prime):
        tried.append(prime)
        return types(rotations, translations, basis, prime)

    monkeypatch.setattr(subgroups, "_types", counted)
    maximal_k_subgroups.cache_clear()
    chain.cache_clear()
    found = chain(225, bottom, k_index)
    assert found.steps[-1] == Step(bottom, bottom, k_index, "i")
    # in P-1 there are p * p + p + 1
    assert 1 <= len(tried) <= 3 * maximal_k_subgroups.cache_info().misses


@pytest.mark.parametrize("prime", [5, 7])
@pytest.mark.parametrize(
    "group", [2, 5, 14, 62, 76, 81, 92, 144, 146, 147, 152, 161, 169, 180, 187, 195, 212, 227]
)
def test_one_lattice_of_each_kind_gives_every_type(group, prime):
    rotations, translations = primitive_operations(group)
    every = {
        (number, round(np.linalg.det(basis)))
        for basis in invariant_lattices(rotations, prime)
        for number in subgroups._types(rotations, translations, basis, prime)
    }
    assert {(s.subgroup, s.index) for s in maximal_k_subgroups(group, (prime,))} == every


def test_one_lattice_of_each_kind():
    def indices(group, prime):
        lattices = kinds_of_invariant_lattices(primitive_operations(group)[0], prime)
        return sorted(round(np.linalg.det(b)) for b in lattices)

    assert indices(1, 53) == [53]
    assert indices(14, 53) == [53, 53]  # along the axis, across it
    assert indices(19, 53) == [53] * 3
    assert indices(75, 7) == [7, 49]  # -1 has no square root modulo 7
    assert indices(75, 5) == [5] * 3
    assert indices(225, 53) == [53**3]
    with pytest.raises(ValueError, match="divides orders"):
        kinds_of_invariant_lattices(primitive_operations(2)[0], 3)


def test_no_chain_where_there_is_none():
    assert chain(227, 225) is None  # no k-subgroup of diamond's group is that of copper
    assert chain(221, 229, 2) is None  # the index is wrong
    assert chain(225, 194) is None  # hexagonal axes are in no cubic group


def test_confusions_of_the_paper():
    # NiAl taken for tungsten, TiC taken for a simple cubic crystal: larger symmetry seen
    assert str(explains(221, 229)) == "Im-3m (229) –k2→ Pm-3m (221)"
    assert explains(225, 221).k_index == 2
    assert explains(225, 227) is None
    assert explains(227, 229).k_index == 4
    assert explains(227, 229, largest=2) is None


def test_groups_that_do_not_exist():
    with pytest.raises(SymmetryError):
        maximal_k_subgroups(231)


@pytest.mark.parametrize("kinds", ["z", "kz", ""])
def test_kinds_that_do_not_exist(kinds):
    with pytest.raises(SymmetryError, match="must be letters of kti"):
        subgroup_graph((221, 225), kinds)


@pytest.mark.parametrize("prime", [2, 3])
def test_solutions_are_all_solutions(prime):
    random = np.random.default_rng(prime)
    matrix = random.integers(0, prime, (3, 5))
    right = matrix @ random.integers(0, prime, 5) % prime
    nothing = np.zeros((5, 0), dtype=np.int64)
    found = {tuple(x) for x in affine_solutions(matrix, right, nothing, prime)}
    every = {
        x for x in product(range(prime), repeat=5) if ((matrix @ x - right) % prime == 0).all()
    }
    assert found == every
    assert not list(affine_solutions(np.zeros((1, 5), int), np.ones(1, int), nothing, prime))


def test_classes_of_solutions():
    ignored = np.array([[1], [1], [0]])
    free = np.zeros((1, 3), dtype=np.int64)
    found = [tuple(x) for x in affine_solutions(free, np.zeros(1, int), ignored, 2)]
    assert len(found) == 4
    assert len({min((a, b, c), ((a + 1) % 2, (b + 1) % 2, c)) for a, b, c in found}) == 4


def test_sublattices_that_cubic_groups_keep():
    def indices(group, prime):
        lattices = invariant_lattices(primitive_operations(group)[0], prime)
        return sorted(round(np.linalg.det(b)) for b in lattices)

    assert indices(221, 2) == [2, 4]  # the face- and body-centred lattices of the doubled cell
    assert indices(225, 2) == [4]
    assert indices(229, 2) == [2]
    assert indices(221, 3) == [27]
    assert indices(1, 2) == [2] * 7


def test_a_skewed_basis_is_shortened():
    skewed = np.array([[1, 7, 3], [0, 1, 5], [0, 0, 1]])
    short = shortened(skewed, np.eye(3))
    assert np.abs(short).sum() == 3
    assert np.linalg.det(short) == pytest.approx(1)

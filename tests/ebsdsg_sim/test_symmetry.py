import gzip
import json

import moyopy
import numpy as np
import pytest
import spglib
from crystals import GAAS, MONOCLINIC, ZNO, reference_crystal

from ebsdsg_sim.asymmetric_unit import check_rebuilt, crystal_from_standard
from ebsdsg_sim.crystal import Crystal, CrystalError
from ebsdsg_sim.standard_structure import distances
from ebsdsg_sim.symmetry import (
    SymmetryError,
    disorder,
    hall_number_for,
    relabel,
    relabel_sensitivity,
    setting,
    space_group_operations,
    standardize,
)

# The 24 groups with two origins, from EMsoft's dialogue (emsoft/INTERFACE.md).
TWO_ORIGINS = [
    48, 50, 59, 68, 70, 85, 86, 88, 125, 126, 129, 130, 133, 134, 137, 138, 141, 142, 201, 203,
    222, 224, 227, 228,
]  # fmt: skip


def test_standard_settings():
    assert hall_number_for(227) == 526
    assert hall_number_for(227, origin_choice=1) == 525
    assert setting(hall_number_for(166)).choice == "H"
    assert setting(hall_number_for(14)).choice.startswith("b")
    both = [g for g in range(1, 231) if hall_number_for(g, 1) != hall_number_for(g, 2)]
    assert both == TWO_ORIGINS


def test_choice_2_has_its_origin_on_an_inversion_centre():
    for group in TWO_ORIGINS:
        rotations, translations = space_group_operations(hall_number_for(group))
        inverse = (rotations == -np.eye(3, dtype=int)).all(axis=(1, 2))
        assert (np.abs(translations[inverse]).sum(axis=1) == 0).any(), group


def test_operations_close_under_multiplication():
    for group in (14, 62, 142, 167, 194, 212, 227, 230):
        rotations, translations = space_group_operations(hall_number_for(group))
        known = {
            (*r.ravel(), *np.round(t * 24).astype(int) % 24)
            for r, t in zip(rotations, translations, strict=True)
        }
        assert len(known) == len(rotations)
        last, shift = rotations[-1], translations[-1]
        products = {
            (*(last @ r).ravel(), *np.round((last @ t + shift) * 24).astype(int) % 24)
            for r, t in zip(rotations, translations, strict=True)
        }
        assert products == known


@pytest.mark.parametrize("bad", [0, 231, 2.5, True])
def test_there_are_230_groups(bad):
    with pytest.raises(SymmetryError):
        hall_number_for(bad)


@pytest.mark.parametrize("c", [GAAS, ZNO, MONOCLINIC], ids=lambda c: c.name)
def test_standardising_a_crystal_gives_it_back(c):
    points = np.concatenate(c.positions)
    species = [
        {site.element: site.occupancy}
        for site, atoms in zip(c.sites, c.positions, strict=True)
        for _ in atoms
    ]
    # An arbitrary origin, rotation and cell choice must not matter.
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    structure = standardize(
        c.lattice @ turn, np.add(points, [0.1, 0.2, 0.3]), species, symprec=0.001
    )
    assert structure.space_group == c.space_group
    assert structure.volume == pytest.approx(c.volume, rel=1e-6)
    again = crystal_from_standard(structure, c.name)
    assert again.n_atoms == c.n_atoms
    assert again.density == pytest.approx(c.density, rel=1e-6)


def test_diamond_goes_to_origin_choice_2(shared):
    si = reference_crystal(shared, "Si")
    structure = standardize(si.lattice, si.positions[0], ["Si"] * 8)
    assert structure.setting.hall_number == 526
    assert structure.setting.origin_choice == 2
    assert (structure.n_atoms, structure.n_atoms_primitive) == (8, 2)
    assert len(structure.orbits) == 1
    assert structure.orbits[0].multiplicity == 8
    wrong = Crystal("Si", si.cell, 227, 525, si.sites)
    message = (
        "Fd-3m needs an origin choice: site Si1 gives density 4.66 g/cm.3 with choice 1, "
        "2.33 g/cm.3 with choice 2"
    )
    with pytest.raises(CrystalError, match=message):
        check_rebuilt(wrong, structure)


def test_an_atom_that_is_lost_is_named(shared):
    nial = reference_crystal(shared, "NiAl")
    structure = standardize(nial.lattice, np.concatenate(nial.positions), ["Ni", "Al"])
    swapped = Crystal(
        "NiAl", nial.cell, 221, nial.hall_number, tuple(
            type(s)(e, s.position) for s, e in zip(nial.sites, ("Al", "Ni"), strict=True)
        )
    )  # fmt: skip
    with pytest.raises(CrystalError, match="atom 1 of the standard cell"):
        check_rebuilt(swapped, structure)


@pytest.mark.parametrize(
    ("name", "true", "new"),
    [("NiAl", 221, 229), ("TiC", 225, 221), ("Ni", 225, 225), ("Si", 227, 227)],
)
def test_relabel_follows_the_paper(shared, name, true, new):
    c = reference_crystal(shared, name)
    species = np.repeat([s.element for s in c.sites], c.multiplicities).tolist()
    structure = standardize(c.lattice, np.concatenate(c.positions), species)
    assert structure.space_group == true
    assert relabel(structure) == new
    assert set(relabel_sensitivity(structure).values()) == {new}


def test_zinc_blende_disorders_to_diamond():
    species = np.repeat([s.element for s in GAAS.sites], GAAS.multiplicities).tolist()
    structure = standardize(GAAS.lattice, np.concatenate(GAAS.positions), species)
    assert (structure.space_group, relabel(structure)) == (216, 227)


def test_partial_occupancies_are_told_apart():
    lattice, points = np.eye(3) * 0.3, [[0, 0, 0], [0.5, 0.5, 0.5]]
    mixed = {"Fe": 0.5, "Al": 0.5}
    same = standardize(lattice, points, [mixed, mixed])
    other = standardize(lattice, points, [mixed, {"Fe": 0.6, "Al": 0.4}])
    assert (same.space_group, other.space_group) == (229, 221)
    assert relabel(other) == 229
    c = crystal_from_standard(same, "FeAl")
    assert [(s.element, s.occupancy) for s in c.sites] == [("Al", 0.5), ("Fe", 0.5)]


def test_snapshot_structures_rebuild_and_keep_their_group(shared):
    with gzip.open(shared / "data/structures/mp_cubic.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for i, line in enumerate(file) if i % 400 == 7]
    for row in rows:
        structure = standardize(
            np.array(row["structure"]["lattice"]["matrix"]) / 10,
            [site["abc"] for site in row["structure"]["sites"]],
            [{e["element"]: e["occu"] for e in s["species"]} for s in row["structure"]["sites"]],
        )
        assert structure.space_group == row["spacegroup_number"], row["material_id"]
        assert structure.volume * 1e3 == pytest.approx(row["volume_conventional"], rel=1e-3)
        crystal_from_standard(structure, row["formula_pretty"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"positions": [[0, 0, float("nan")]]}, "atom 1"),
        ({"positions": [[0, 0, 0], [0, 0, 0]], "species": ["Ni", "Ni"]}, "coincide"),
        ({"species": ["Ni", "Ni"]}, "2 species for 1 positions"),
        ({"species": [{"Ni": 1.4}]}, "at most 1"),
        ({"species": [{"Ni": -0.1}]}, "positive"),
        ({"lattice": np.zeros((3, 3))}, "volume"),
        ({"symprec": -1.0}, "symprec"),
    ],
)
def test_bad_structures_are_refused(change, says):
    arguments = {"lattice": np.eye(3) * 0.35, "positions": [[0, 0, 0]], "species": ["Ni"]}
    with pytest.raises(SymmetryError, match=says):
        standardize(**{**arguments, **change})


def test_standard_settings_of_the_search_are_ours():
    for group in range(1, 231):
        found = moyopy.operations_from_number(group, setting=moyopy.Setting.standard())
        ours = space_group_operations(hall_number_for(group))
        theirs = np.array(found.rotations), np.array(found.translations)
        assert operations(*theirs) == operations(*ours), group


def operations(rotations, translations):
    return {
        (*r.ravel().tolist(), *(np.round(t * 24).astype(int) % 24).tolist())
        for r, t in zip(rotations, translations, strict=True)
    }


def test_search_agrees_with_spglib(shared):
    """Group, setting, cell, atoms and relabelled groups are those of spglib's search."""
    with gzip.open(shared / "data/structures/mp_cubic.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for i, line in enumerate(file) if i % 500 == 77]
    for row in rows:
        name = row["material_id"]
        cell = row["structure"]["lattice"]["matrix"]
        points = [site["abc"] for site in row["structure"]["sites"]]
        species = [site["species"][0]["element"] for site in row["structure"]["sites"]]
        kinds = [sorted(set(species)).index(s) for s in species]
        ours = standardize(np.array(cell) / 10, points, species)
        wanted = hall_number_for(ours.space_group)
        theirs = spglib.get_symmetry_dataset((cell, points, kinds), 0.1, hall_number=wanted)
        assert (theirs.number, theirs.hall_number) == (ours.space_group, wanted), name
        assert ours.lattice * 10 == pytest.approx(theirs.std_lattice, abs=1e-8), name
        assert len(theirs.std_positions) == ours.n_atoms, name
        gaps = distances(ours.positions[:, None] - theirs.std_positions, ours.lattice)
        assert gaps.min(axis=1).max() < 1e-6, name
        same = [sorted(set(species))[theirs.std_types[i]] for i in gaps.argmin(axis=1)]
        assert [next(iter(s)) for s in ours.species] == same, name
        letters = set(zip(species, theirs.wyckoffs, strict=True))
        assert {(next(iter(o.species)), o.wyckoff) for o in ours.orbits} == letters, name
        one = (ours.lattice * 10, ours.positions, [1] * ours.n_atoms)
        for tolerance, group in relabel_sensitivity(ours).items():
            again = spglib.get_symmetry_dataset(one, tolerance * 10)
            assert again.number == group, (name, tolerance)
            primitive = len(set(again.std_mapping_to_primitive.tolist()))
            assert disorder(ours, symprec=tolerance).n_atoms_primitive == primitive


def test_a_supercell_is_standardised_without_a_word(caplog):
    standard = standardize(np.diag([0.72, 0.36, 0.36]), [[0, 0, 0], [0.5, 0, 0]], ["Ni", "Ni"])
    assert standard.space_group == 221
    assert caplog.records == []

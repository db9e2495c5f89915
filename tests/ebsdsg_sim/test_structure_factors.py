import json

import numpy as np
import pytest
from crystals import GAAS, MONOCLINIC, P1, ZNO, as_p1, reference_crystal

from ebsdsg_sim.crystal import Crystal, Site
from ebsdsg_sim.structure_factors import (
    ReflectionRangeError,
    absorption_length,
    crystal_wavelength,
    forward_coefficients,
    fourier_table,
    index_limits,
    site_weights,
    wavelength,
)
from ebsdsg_sim.symmetry import setting, space_group_operations

NAMES = ["Ni", "Ni_B080", "Si", "NiAl", "TiC", "Al3Ni2"]


def complex_columns(table, name):
    return table[f"{name}_re"] + 1j * table[f"{name}_im"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("energy", [10, 15, 20])
def test_reference_structure_factors(shared, name, energy):
    stem = shared / f"reference/structure_factors/{name}_{energy}keV"
    rows = np.genfromtxt(f"{stem}.csv", delimiter=",", names=True)
    facts = json.loads(stem.with_suffix(".json").read_text())
    c = reference_crystal(shared, name)
    table = fourier_table(c, energy, 0.05)
    hkl = np.stack([rows["h"], rows["k"], rows["l"]], axis=1).astype(int)
    elastic, absorptive = table.at(hkl)
    for found, column in ((elastic, "U"), (absorptive, "Uprime")):
        expected = complex_columns(rows, column)
        assert np.abs(found - expected).max() < 2e-5 * table.u0
        strong = np.abs(expected) > 1e-3 * table.u0
        assert (np.abs(found - expected)[strong] / np.abs(expected)[strong]).max() < 1e-3
    assert table.wavelength == pytest.approx(facts["wavelength_nm"], rel=1e-8)
    assert table.inner_potential == pytest.approx(facts["V0_volt"], rel=1e-6)
    assert table.absorption_length == pytest.approx(facts["normal_absorption_length_nm"], rel=1e-6)
    assert absorption_length(c, energy) == pytest.approx(table.absorption_length, rel=1e-9)
    assert crystal_wavelength(c, energy) == pytest.approx(table.wavelength, rel=1e-12)
    assert table.centrosymmetric


@pytest.mark.parametrize("name", NAMES)
def test_emsoft_own_list(shared, name):
    rows = np.loadtxt(shared / f"reference/emsoft/fourier/Ug_{name}_20keV.txt")
    table = fourier_table(reference_crystal(shared, name), 20, 0.05)
    elastic, absorptive = table.at(rows[:, :3].astype(int))
    found, expected = elastic + 1j * absorptive, rows[:, 4] + 1j * rows[:, 5]
    assert np.abs(found - expected).max() < 2e-5 * table.u0
    strong = np.abs(expected) > 1e-2 * table.u0
    assert (np.abs(found - expected)[strong] / np.abs(expected)[strong]).max() < 1e-3


def test_the_exact_form_factors_stay_close_to_emsoft(shared):
    c = reference_crystal(shared, "Si")
    emsoft, exact = (fourier_table(c, 20, 0.05, kind) for kind in ("emsoft", "exact"))
    difference = np.abs(emsoft.elastic - exact.elastic).max()
    assert 0 < difference < 5e-5 * exact.u0


@pytest.mark.parametrize("hall", range(1, 531, 7))
def test_coefficients_have_the_symmetry_of_the_space_group(hall):
    # U at R^T g is U at g times exp(2 pi i g.t): this holds for every operation of every group.
    rotations, translations = space_group_operations(hall)
    seed = np.array([[0.36, 0.02, -0.03], [0.02, 0.49, 0.04], [-0.03, 0.04, 0.64]])
    metric = (np.swapaxes(rotations, 1, 2) @ seed @ rotations).mean(axis=0)
    lengths = np.sqrt(np.diag(metric))
    cosines = metric / np.outer(lengths, lengths)
    angles = np.degrees(np.arccos([cosines[1, 2], cosines[0, 2], cosines[0, 1]]))
    c = Crystal(
        "any",
        (*lengths, *angles),
        setting(hall).space_group,
        hall,
        (Site("Fe", (0.137, 0.229, 0.411), 0.5), Site("O", (0, 0, 0), 0.4)),
    )
    table = fourier_table(c, 20, 0.25)
    limit = np.array(table.limits)
    hkl = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in limit)), -1).reshape(-1, 3)
    elastic, absorptive = table.at(hkl)
    for rotation, translation in zip(rotations, translations, strict=True):
        moved = hkl @ rotation
        inside = (np.abs(moved) <= 2 * limit).all(axis=1)
        inside &= np.linalg.norm(hkl @ c.reciprocal, axis=1) < 1 / 0.25
        phase = np.exp(2j * np.pi * hkl[inside] @ translation)
        for values, again in zip((elastic, absorptive), table.at(moved[inside]), strict=True):
            assert np.abs(again - values[inside] * phase).max() < 1e-8 * table.u0


@pytest.mark.parametrize("c", [GAAS, ZNO, MONOCLINIC, P1], ids=lambda c: c.name)
def test_a_potential_without_inversion_centre_is_hermitian_in_both_parts(c):
    table = fourier_table(c, 20, 0.12)
    assert not table.centrosymmetric
    for part in (table.elastic, table.absorptive):
        assert part[::-1, ::-1, ::-1] == pytest.approx(part.conj(), abs=1e-12 * table.u0)


def test_a_doubled_cell_has_the_same_coefficients():
    double = as_p1(GAAS, (2, 1, 1))
    one, two = (fourier_table(c, 20, 0.12) for c in (GAAS, double))
    assert two.u0 == pytest.approx(one.u0, rel=1e-12)
    for hkl in ([1, 1, 1], [2, 0, 0], [2, -2, 0], [3, 1, -1]):
        h, k, l = hkl  # noqa: E741
        for a, b in zip(one.at([hkl]), two.at([[2 * h, k, l]]), strict=True):
            assert a == pytest.approx(b, abs=1e-9 * one.u0)
    odd, _ = two.at([[1, 1, 1], [3, 0, 0]])
    assert np.abs(odd).max() < 1e-12 * one.u0


def test_weights_at_the_origin_count_the_atoms():
    weights = site_weights(GAAS, 0.1)
    origin = tuple(2 * n for n in weights.limits)
    assert weights.weights[(slice(None), *origin)] == pytest.approx([4 * 31**2, 4 * 33**2])


def test_wavelength_of_a_free_electron():
    # 200 kV: 2.508 pm (De Graef 2003, table 2.2).
    assert wavelength(200) == pytest.approx(2.508e-3, rel=2e-4)


def test_forward_absorption_grows_with_the_debye_waller_factor(shared):
    c = reference_crystal(shared, "Ni")
    _, cold = forward_coefficients(c, 20)
    _, warm = forward_coefficients(c.with_debye_waller(0.01), 20)
    assert warm > cold > 0


def test_impossible_ranges_are_refused():
    with pytest.raises(ReflectionRangeError, match="no reflection"):
        index_limits(GAAS, 1.0)
    with pytest.raises(ReflectionRangeError, match="raise dmin"):
        index_limits(GAAS, 0.003)

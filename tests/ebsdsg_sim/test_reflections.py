import numpy as np
import pytest
import torch
from crystals import GAAS, P1, ZNO, random_directions, reference_crystal

from ebsdsg_sim.reflections import candidates, excitation_errors, select_beams
from ebsdsg_sim.structure_factors import fourier_table

BETHE = (8.0, 50.0, 100.0)


def test_excitation_error_is_zero_on_the_ewald_sphere():
    k = 116.5
    # A point of the sphere of radius k around -k: at angle t from the origin's radius.
    t = torch.linspace(0, 0.2, 9, dtype=torch.float64)
    along, square = k * (torch.cos(t) - 1), 2 * k * k * (1 - torch.cos(t))
    assert excitation_errors(along, square, k).abs().max() < 1e-10
    # Moving the point outwards along the beam by s makes the error -s.
    s = 0.03
    shifted = excitation_errors(along + s, square + 2 * along * s + s * s, k)
    assert shifted == pytest.approx(torch.full_like(shifted, -s), rel=2e-3)


def test_candidates_of_nickel_are_the_reference_count(shared):
    c = reference_crystal(shared, "Ni")
    found = candidates(c, fourier_table(c, 20, 0.05), 0.05, BETHE)
    assert len(found) == 339
    assert found.hkl[0].tolist() == [0, 0, 0]
    assert (found.hkl % 2).sum(1).unique().tolist() == [0, 3]


def test_forbidden_reflections_are_dropped(shared):
    c = reference_crystal(shared, "Si")
    found = candidates(c, fourier_table(c, 20, 0.05), 0.05, BETHE)
    kept = {tuple(hkl) for hkl in found.hkl.tolist()}
    assert (1, 1, 1) in kept
    assert (2, 2, 0) in kept
    assert (2, 0, 0) not in kept  # d glide
    assert (2, 2, 2) not in kept  # special position


@pytest.mark.parametrize("c", [GAAS, ZNO, P1], ids=lambda c: c.name)
def test_the_intervals_are_emsofts_rules(c):
    dmin = 0.08
    table = fourier_table(c, 15, dmin)
    found = candidates(c, table, dmin, BETHE)
    directions = random_directions(20, 3)
    beams = select_beams(found, torch.from_numpy(directions), cells=1000)
    g, k = found.g.numpy(), 1 / table.wavelength
    ug = np.abs(np.add(*(part * f for part, f in zip(table.at(found.hkl.numpy()), (1, 1j),
                                                    strict=True))))  # fmt: skip
    starts = (torch.cumsum(beams.n_strong, 0) - beams.n_strong).tolist()
    for number, direction in enumerate(directions):
        kg = k * direction + g
        s = -np.einsum("ij,ij->i", g, 2 * k * direction + g) / (2 * kg @ direction)
        listed = np.abs(s) <= BETHE[2] * table.wavelength * ug
        listed[0] = True
        limit = table.wavelength * ug[0]
        strong = np.flatnonzero(listed & (np.abs(s) <= BETHE[0] * limit))
        weak = listed & (np.abs(s) > BETHE[0] * limit) & (np.abs(s) <= BETHE[1] * limit)
        assert int(beams.n_strong[number]) == len(strong)
        assert int(beams.n_weak[number]) == weak.sum()
        row = slice(starts[number], starts[number] + len(strong))
        assert beams.strong[row].tolist() == strong.tolist()
        assert beams.strong_errors[row].numpy() == pytest.approx(s[strong], abs=1e-9)
        assert beams.strong[starts[number]] == 0

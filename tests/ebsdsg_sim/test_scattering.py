import csv

import numpy as np
import pytest

from ebsdsg_sim.scattering import (
    complex_form_factor,
    core_absorption,
    damped_expi,
    debye_waller_factor,
    elastic_form_factor,
    gaussians,
    phonon_absorption,
)


def test_form_factors_agree_with_the_check_values(shared):
    with (shared / "reference/physics/form_factors.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 168
    for row in rows:
        z, b, energy = int(row["Z"]), float(row["B_A2"]) / 100, float(row["E_keV"])
        g = np.array([20 * float(row["s_invA"])])
        total = complex_form_factor(z, b, energy, g)[0]
        found = {
            "f_e_A": elastic_form_factor(z, g)[0],
            "debye_waller": debye_waller_factor(b, g)[0],
            "F_phonon": phonon_absorption(z, b, g)[0],
            "F_core": core_absorption(z, energy, g)[0],
            "f_total_re_A": total.real,
            "f_total_im_A": total.imag,
        }
        for name, value in found.items():
            assert value == pytest.approx(float(row[name]), rel=1e-8), (row["symbol"], name)
        # EMsoft's expansion of the elastic part is EMsoft's number, to single precision.
        assert elastic_form_factor(z, g, "emsoft")[0] == pytest.approx(
            float(row["emsoft_f_e_A"]), rel=2e-5
        )


def test_every_element_obeys_the_mott_bethe_limit():
    for z in range(1, 99):
        a, b = gaussians(z)
        assert a.sum() == pytest.approx(0.02395 * z, rel=2e-3)
        assert b.min() > 0


def test_phonon_absorption_is_the_integral_over_the_ewald_sphere():
    z, b = 28, 0.0035
    u2 = 100 * b / (8 * np.pi**2)
    # The integrand falls as 1/Q^3: radii far beyond any real scattering vector are needed.
    nodes, weights = np.polynomial.legendre.leggauss(600)
    radius = 4000 * ((nodes + 1) / 2) ** 6
    measure = weights / 2 * 24000 * ((nodes + 1) / 2) ** 5 * radius
    angle = (np.arange(400) + 0.5) / 400 * np.pi
    for g in (0.5, 6.0):
        big = 2 * np.pi * g / 10
        q = radius[:, None]
        other2 = q**2 + big**2 - 2 * q * big * np.cos(angle)
        f = [elastic_form_factor(z, 10 * np.sqrt(x) / (2 * np.pi)) for x in (q**2, other2)]
        # f(G) in this integral is f_e: 1/s^2 = (4 pi)^2/G^2 is inside it.
        damping = np.exp(-u2 * big**2 / 2) - np.exp(-u2 * (q**2 + other2) / 2)
        value = (f[0] * f[1] * damping).mean(axis=1) * 2 * np.pi @ measure
        assert phonon_absorption(z, b, np.array([g]))[0] == pytest.approx(value, rel=2e-4)


def test_phonon_absorption_at_the_limits():
    assert phonon_absorption(14, 0.0, np.array([0.0, 3.0])).tolist() == [0.0, 0.0]
    near, far = phonon_absorption(14, 0.0046, np.array([0.0, 1e-3]))
    assert near == pytest.approx(far, rel=1e-5)
    assert np.isfinite(phonon_absorption(79, 0.02, np.linspace(0, 150, 301))).all()


def test_damped_exponential_integral_joins_its_series():
    below, above = damped_expi(np.array([50.0, 50.0]), np.array([49.999999, 50.000001]))
    assert below == pytest.approx(above, rel=1e-5)
    # Ei(50) from tables of the exponential integral: 1.058563689713169e20.
    assert damped_expi(np.array([50.0]), np.array([50.0 + 1e-12]))[0] == pytest.approx(
        1.058563689713169e20 * np.exp(-50.0), rel=1e-10
    )
    assert damped_expi(np.array([2000.0]), np.array([1500.0]))[0] == pytest.approx(0, abs=1e-200)

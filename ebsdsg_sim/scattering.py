"""How one atom scatters a fast electron: elastic and absorptive form factors.

Elastic: the four Gaussians of Weickenmeier and Kohl.  Absorptive: thermal diffuse scattering of an
Einstein oscillator, and inner-shell losses in Rose's approximation.  Everything is float64 with
exact exponential integrals; lengths in this module are Angstrom, the unit of the tables
(``g [1/nm]`` becomes ``s = g/20`` and ``G = 4 pi s`` in 1/Angstrom), and it is called with g in
1/nm and B in nm^2.

References: A. Weickenmeier and H. Kohl, *Acta Cryst.* A47 (1991) 590-597; H. Rose, *Optik* 45
(1976) 139 and 187.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
from scipy.special import expi

from ebsdsg_sim.elements import ElementError, read_table

Expansion = Literal["exact", "emsoft"]
"""``"emsoft"`` replaces a Gaussian of the elastic form factor by the first two terms of its series
where B_i s^2 < 0.1, and by A_i/s^2 where B_i s^2 > 20, as EMsoft does: up to 4e-4 of f_e at some s.
"""

EULER = 0.5772156649015329
BOHR_RADIUS = 0.5289
"""Bohr radius [Angstrom] as Weickenmeier, Kohl and EMsoft have it (CODATA: 0.529177)."""
REST_ENERGY = 511.0
"""Rest energy of the electron [keV] in the form factors, as EMsoft has it."""


@cache
def _table() -> np.ndarray:
    rows = [[float(x) for x in row[2:]] for row in read_table("weickenmeier_kohl_1991.csv")]
    table = np.array(rows)
    table.setflags(write=False)
    return table


def gaussians(atomic_number: int) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients A (4,) [1/Angstrom] and B (4,) [Angstrom^2] of an element.

    Raises
    ------
    ElementError
        If the element is not one of Z = 1 to 98.
    """
    table = _table()
    if not 1 <= atomic_number <= len(table):
        raise ElementError(f"atomic number {atomic_number}: no scattering factor beyond Z = 98")
    return table[atomic_number - 1, :4], table[atomic_number - 1, 4:]


def elastic_form_factor(
    atomic_number: int, g: np.ndarray, expansion: Expansion = "exact"
) -> np.ndarray:
    """Elastic form factor of an atom at rest, without relativistic factor.

    Parameters
    ----------
    atomic_number : Z
    g : (...) lengths of scattering vectors [1/nm]
    expansion : see `Expansion`

    Returns
    -------
    (...) f_e [Angstrom]: sum_i A_i (1 - exp(-B_i s^2))/s^2 with s = g/20, and sum_i A_i B_i at 0.
    """
    a, b = gaussians(atomic_number)
    s2 = (np.asarray(g, dtype=float)[..., None] / 20) ** 2
    safe = np.where(s2 > 0, s2, 1.0)
    terms = np.where(s2 > 0, -a * np.expm1(-b * safe) / safe, a * b)
    if expansion == "emsoft":
        terms = np.where(b * s2 < 0.1, a * b * (1 - b * s2 / 2), terms)
        terms = np.where(b * s2 > 20, a / safe, terms)
    return terms.sum(axis=-1)


def debye_waller_factor(debye_waller: float, g: np.ndarray) -> np.ndarray:
    """Damping exp(-B s^2) = exp(-B g^2/4) of a vibrating atom; B [nm^2], g [1/nm]."""
    return np.exp(-debye_waller * np.asarray(g, dtype=float) ** 2 / 4)


def phonon_absorption(atomic_number: int, debye_waller: float, g: np.ndarray) -> np.ndarray:
    """Thermal diffuse part of the absorptive form factor, Einstein model.

    Parameters
    ----------
    atomic_number : Z
    debye_waller : B [nm^2]; 0 gives 0
    g : (n,) lengths of scattering vectors [1/nm]

    Returns
    -------
    (n,) F_ph, dimensionless, independent of the energy.

    Notes
    -----
    F_ph(G) is the integral over the (flat) Ewald sphere of
    f(|Q|) f(|G-Q|) [exp(-u2 G^2/2) - exp(-u2 (Q^2 + |G-Q|^2)/2)], with the mean square
    displacement u2 = B/(8 pi^2); in closed form a double sum over the Gaussians
    (Weickenmeier and Kohl 1991, eq. 9-11).
    """
    g = np.asarray(g, dtype=float)
    if debye_waller == 0:
        return np.zeros_like(g)
    a, b = gaussians(atomic_number)
    a = (4 * np.pi) ** 2 * a
    b = b / (4 * np.pi) ** 2
    u2 = 100 * debye_waller / (8 * np.pi**2)
    g2 = (2 * np.pi * g / 10) ** 2
    out = np.empty_like(g)
    zero = g2 == 0
    out[zero] = _phonon_forward(a, b, u2)
    q = g2[~zero]
    total = np.zeros_like(q)
    for i in range(4):
        for j in range(i, 4):
            pair = np.exp(-u2 * q / 2) * _still(b[i], b[j], q) - _moving(b[i], b[j], u2, q)
            total += (1 if i == j else 2) * a[i] * a[j] * pair
    out[~zero] = np.pi / q * total
    return out


def core_absorption(atomic_number: int, energy: float, g: np.ndarray) -> np.ndarray:
    """Inner-shell part of the absorptive form factor, Rose's approximation.

    Parameters
    ----------
    atomic_number : Z
    energy : electron energy [keV]
    g : (...) lengths of scattering vectors [1/nm]

    Returns
    -------
    (...) F_core, dimensionless, without Debye-Waller factor.

    Notes
    -----
    Wentzel atom with screening radius 0.885 a0 Z^(-1/3) and one mean energy loss of 6 Z eV.
    """
    loss = 0.006 * atomic_number
    theta = loss / (2 * energy) * (2 * energy + 1022) / (energy + 1022)
    radius = 0.885 * BOHR_RADIUS * atomic_number ** (-1 / 3)
    kappa = theta * vacuum_wave_number(energy) * radius
    omega = 2 * np.pi * np.asarray(g, dtype=float) / 10 * radius
    k2, o2 = kappa**2, omega**2
    w = np.sqrt((1 + o2) ** 2 + 4 * k2 * o2)
    p = np.sqrt(o2 + 4 * k2)
    q = np.sqrt(o2 + 4 * (1 + k2))
    root = np.sqrt(1 + k2)
    x1 = omega / ((1 + o2) * p) * np.arcsinh(omega / (2 * kappa))
    x2 = np.log((1 + 2 * k2 + o2 + w) / (2 * kappa * root)) / w
    safe = np.where(omega > 0, omega, 1.0)
    x3 = np.where(omega > 0, np.arcsinh(safe / (2 * root)) / (safe * q), 1 / (4 * (1 + k2)))
    return 16 * np.pi * atomic_number * radius**2 / BOHR_RADIUS**2 * (-x1 + x2 - x3)


def vacuum_wave_number(energy: float) -> float:
    """2 pi / lambda of an electron of that energy [keV] in vacuum [1/Angstrom]."""
    return float(0.5068 * np.sqrt(1022 * energy + energy**2))


def complex_form_factor(
    atomic_number: int,
    debye_waller: float,
    energy: float,
    g: np.ndarray,
    phonon: np.ndarray | None = None,
    expansion: Expansion = "exact",
) -> np.ndarray:
    """Form factor of a vibrating atom: elastic in the real, absorptive in the imaginary part.

    Parameters
    ----------
    atomic_number : Z
    debye_waller : B [nm^2]
    energy : electron energy [keV]
    g : (n,) lengths of scattering vectors [1/nm]
    phonon : (n,) `phonon_absorption` at the same g, which does not depend on the energy; computed
        where not given
    expansion : see `Expansion`

    Returns
    -------
    (n,) complex, [Angstrom], including the factors 4 pi and gamma:
    4 pi gamma DW f_e + i (gamma^2/k0)(F_ph + DW F_core).
    """
    gamma = 1 + energy / REST_ENERGY
    damping = debye_waller_factor(debye_waller, g)
    if phonon is None:
        phonon = phonon_absorption(atomic_number, debye_waller, g)
    elastic = 4 * np.pi * gamma * damping * elastic_form_factor(atomic_number, g, expansion)
    absorptive = phonon + damping * core_absorption(atomic_number, energy, g)
    return elastic + 1j * gamma**2 / vacuum_wave_number(energy) * absorptive


def _phonon_forward(a: np.ndarray, b: np.ndarray, u2: float) -> float:
    x, y = b[:, None], b[None, :]

    def xlogx(v: np.ndarray | float) -> np.ndarray:
        return np.asarray(v * np.log(v))

    still = xlogx(x + y) - xlogx(x) - xlogx(y)
    moving = xlogx(x + y + u2) - xlogx(x + u2) - xlogx(y + u2) + xlogx(u2)
    return float(np.pi * (np.outer(a, a) * (still - moving)).sum())


def _still(x: float, y: float, q: np.ndarray) -> np.ndarray:
    """Pair integral of an atom at rest, G > 0, without the factor pi/G^2; q = G^2."""
    return (
        2 * EULER
        + np.log(x * q)
        + np.log(y * q)
        - 2 * expi(-x * y * q / (x + y))
        + damped_expi(x * q, x * x * q / (x + y))
        - damped_expi(x * q, x * q)
        + damped_expi(y * q, y * y * q / (x + y))
        - damped_expi(y * q, y * q)
    )


def _moving(x: float, y: float, u2: float, q: np.ndarray) -> np.ndarray:
    """Pair integral of a vibrating atom, G > 0, without the factor pi/G^2; q = G^2."""
    xh, yh, total = x + u2 / 2, y + u2 / 2, x + y + u2
    negative = (
        expi(-u2 * q * xh / (2 * (x + u2)))
        + expi(-u2 * q * yh / (2 * (y + u2)))
        - expi(-xh * yh * q / total)
        - expi(-u2 * q / 4)
    )
    half = u2 * q / 2
    return (
        2 * negative
        + 2 * damped_expi(half, half / 2)
        - damped_expi(half, u2 * u2 * q / (4 * (x + u2)))
        - damped_expi(half, u2 * u2 * q / (4 * (y + u2)))
        + damped_expi(xh * q, xh * xh * q / total)
        - damped_expi(xh * q, xh * xh * q / (x + u2))
        + damped_expi(yh * q, yh * yh * q / total)
        - damped_expi(yh * q, yh * yh * q / (y + u2))
    )


def damped_expi(a: np.ndarray, c: np.ndarray) -> np.ndarray:
    """exp(-a) Ei(c) for 0 < c <= a, without overflow.

    Above c = 50 the asymptotic series sum_n n!/c^n of c exp(-c) Ei(c) is summed to 30 terms,
    which is exact to double precision there.
    """
    large = c > 50
    direct = np.exp(-a) * expi(np.where(large, 1.0, c))
    inverse = 1 / np.where(large, c, 50.0)
    series = np.ones_like(inverse)
    for n in range(30, 0, -1):
        series = 1 + n * inverse * series
    return np.where(large, np.exp(np.minimum(c - a, 0.0)) * inverse * series, direct)

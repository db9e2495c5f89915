"""Fourier coefficients of the optical potential, and the wavelength they refract.

A `FourierTable` holds U_g + i U'_g of one crystal at one energy for every difference of two
reflections, as a dense array over (h, k, l), so that the dynamical matrix is filled by index
arithmetic.  A `SiteWeights` table holds, on the same indices, the weights with which backscattering
at each site sees the wave.  Nothing here assumes an inversion centre or a crystal system.

Phases are exp(-2 pi i g.r); conventions of M. De Graef, *Introduction to Conventional Transmission
Electron Microscopy* (2003), chapters 2 and 6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.scattering import Expansion, complex_form_factor, phonon_absorption

VOLT_ANGSTROM = 0.04787801
"""h^2/(2 pi m0 e) [V nm^3/Angstrom], the value EMsoft uses."""
INVERSE_AREA_PER_VOLT = 0.664840340614319
"""2 m0 e/h^2 [1/(V nm^2)]."""
PLANCK = 6.62607015e-34
ELECTRON_MASS = 9.1093837015e-31
ELEMENTARY_CHARGE = 1.602176634e-19
LIGHT_SPEED = 299792458.0
ABSENT = 1e-6
"""Reflections with |U_g| below this fraction of |U_0| are systematically absent."""


class ReflectionRangeError(ValueError):
    """The smallest interplanar spacing leaves no reflection, or more than can be tabulated."""


def wavelength(energy: float, inner_potential: float = 0.0) -> float:
    """Relativistic electron wavelength, refraction-corrected.

    Parameters
    ----------
    energy : electron energy [keV]
    inner_potential : mean inner potential including the factor gamma [V]

    Returns
    -------
    lambda = h/sqrt(2 m0 e (Psi + V0)) [nm], Psi = E (1 + e E/(2 m0 c^2)) in volts (De Graef 2003,
    eq. 2.6 and 2.36).
    """
    volts = energy * 1e3
    ratio = ELEMENTARY_CHARGE / (2 * ELECTRON_MASS * LIGHT_SPEED**2)
    psi = volts * (1 + ratio * volts) + inner_potential
    return PLANCK / math.sqrt(2 * ELECTRON_MASS * ELEMENTARY_CHARGE * psi) * 1e9


def forward_coefficients(crystal: Crystal, energy: float) -> tuple[float, float]:
    """U_0 and U'_0 of a crystal [1/nm^2]: mean inner potential and mean absorption.

    Parameters
    ----------
    crystal : the crystal
    energy : electron energy [keV]
    """
    total = 0j
    for site, atoms in zip(crystal.sites, crystal.positions, strict=True):
        if site.occupancy > 0:
            phonon = _forward_phonon(site.atomic_number, site.debye_waller)
            factor = complex_form_factor(
                site.atomic_number, site.debye_waller, energy, np.zeros(1), phonon
            )
            total += site.occupancy * len(atoms) * complex(factor[0])
    total *= _potential_scale(crystal) * INVERSE_AREA_PER_VOLT
    return total.real, total.imag


def crystal_wavelength(crystal: Crystal, energy: float) -> float:
    """Wavelength inside a crystal [nm], corrected for its mean inner potential; energy in keV."""
    u0, _ = forward_coefficients(crystal, energy)
    return wavelength(energy, u0 / INVERSE_AREA_PER_VOLT)


def absorption_length(
    crystal: Crystal, energy: float, wavelength_energy: float | None = None
) -> float:
    """Normal absorption length xi'_0 = 1/(|U'_0| lambda) [nm].

    Parameters
    ----------
    crystal : the crystal
    energy : electron energy of U'_0 [keV]
    wavelength_energy : electron energy of lambda [keV]; ``energy`` where not given.  EMsoft's depth
        weights use the beam energy here for every energy bin.

    Raises
    ------
    ValueError
        If the crystal does not absorb.
    """
    _, absorption = forward_coefficients(crystal, energy)
    if absorption == 0:
        raise ValueError(f"{crystal.name}: no absorption, hence no absorption length")
    used = energy if wavelength_energy is None else wavelength_energy
    return 1 / (abs(absorption) * crystal_wavelength(crystal, used))


def index_limits(crystal: Crystal, dmin: float) -> tuple[int, int, int]:
    """Largest |h|, |k|, |l| of reflections with a spacing above ``dmin`` [nm].

    The sphere |g| < 1/dmin reaches |h| = |a|/dmin along its tangent plane, in any crystal system.

    Raises
    ------
    ReflectionRangeError
        If no reflection is left, or the table of their differences would need more than 2e7 cells.
    """
    lengths = np.linalg.norm(crystal.lattice, axis=1)
    h, k, l = (int(x / dmin + 1e-9) for x in lengths)  # noqa: E741
    if max(h, k, l) == 0:
        raise ReflectionRangeError(f"{crystal.name}: no reflection has a spacing above {dmin} nm")
    cells = (4 * h + 1) * (4 * k + 1) * (4 * l + 1)
    if cells > 20_000_000:
        raise ReflectionRangeError(
            f"{crystal.name}: {cells:.2g} Fourier coefficients at dmin = {dmin} nm; raise dmin, or "
            "describe the crystal by a smaller cell"
        )
    return h, k, l


@dataclass(frozen=True, eq=False)
class FourierTable:
    """Fourier coefficients of one crystal at one energy.

    Parameters
    ----------
    energy : electron energy [keV]
    wavelength : refraction-corrected wavelength [nm]
    limits : (H, K, L) largest indices of a reflection
    elastic : (4H+1, 4K+1, 4L+1) complex U_g [1/nm^2]; element [h+2H, k+2K, l+2L]
    absorptive : U'_g [1/nm^2], likewise; both are 0 outside the sphere of radius 2/dmin
    """

    energy: float
    wavelength: float
    limits: tuple[int, int, int]
    elastic: np.ndarray
    absorptive: np.ndarray

    @property
    def coefficients(self) -> np.ndarray:
        """U_g + i U'_g, what enters the dynamical matrix [1/nm^2]; the shape of ``elastic``."""
        return self.elastic + 1j * self.absorptive

    @property
    def origin(self) -> tuple[int, int, int]:
        """Array element of g = 000."""
        h, k, l = self.limits  # noqa: E741
        return 2 * h, 2 * k, 2 * l

    @property
    def u0(self) -> float:
        """U_0 [1/nm^2]."""
        return float(self.elastic[self.origin].real)

    @property
    def u0_prime(self) -> float:
        """U'_0 [1/nm^2]."""
        return float(self.absorptive[self.origin].real)

    @property
    def inner_potential(self) -> float:
        """Mean inner potential including gamma [V]."""
        return self.u0 / INVERSE_AREA_PER_VOLT

    @property
    def absorption_length(self) -> float:
        """Normal absorption length at this energy [nm]."""
        return 1 / (abs(self.u0_prime) * self.wavelength)

    @property
    def centrosymmetric(self) -> bool:
        """True when the origin is an inversion centre, so that all U_g and U'_g are real."""
        bound = 1e-9 * self.u0
        parts = (self.elastic.imag, self.absorptive.imag)
        return all(float(np.abs(part).max()) < bound for part in parts)

    def moved(self, origin: np.ndarray) -> FourierTable:
        """The table with the origin of the cell at another point (3,), fractional."""
        phases = _phases(np.asarray(origin, dtype=float)[None], self.limits, sign=1)
        return replace(self, elastic=self.elastic * phases, absorptive=self.absorptive * phases)

    def at(self, hkl: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """U_g and U'_g of reflections (n, 3)."""
        index = tuple((np.asarray(hkl) + np.asarray(self.origin)).T)
        return self.elastic[index], self.absorptive[index]


@dataclass(frozen=True, eq=False)
class SiteWeights:
    """Weights S(g) = sum over a site's atoms of Z^2 occ exp(-B g^2/4) exp(2 pi i g.r).

    Parameters
    ----------
    limits : as in `FourierTable`
    weights : (n_sites, 4H+1, 4K+1, 4L+1) complex; backscattering at a site from the wave psi is
        the sum over g, h of conj(psi_g) psi_h S(h - g)
    """

    limits: tuple[int, int, int]
    weights: np.ndarray

    def moved(self, origin: np.ndarray) -> SiteWeights:
        """The weights with the origin of the cell at another point (3,), fractional."""
        phases = _phases(np.asarray(origin, dtype=float)[None], self.limits, sign=-1)
        return replace(self, weights=self.weights * phases)


def fourier_table(
    crystal: Crystal, energy: float, dmin: float, expansion: Expansion = "emsoft"
) -> FourierTable:
    """Fourier coefficients for all differences of reflections with a spacing above ``dmin`` [nm].

    Parameters
    ----------
    crystal : the crystal
    energy : electron energy [keV]
    dmin : smallest interplanar spacing of a reflection [nm]
    expansion : of the elastic form factor; EMsoft's by default, because a reflection near a
        cut-off is taken or left by its value (`ebsdsg_sim.scattering.Expansion`)

    Raises
    ------
    ReflectionRangeError
        If ``dmin`` leaves nothing, or too much.
    """
    limits = index_limits(crystal, dmin)
    lengths, inverse = _lengths(crystal, limits, dmin)
    scale = _potential_scale(crystal) * INVERSE_AREA_PER_VOLT
    shape = tuple(4 * n + 1 for n in limits)
    elastic = np.zeros(shape, dtype=complex)
    absorptive = np.zeros(shape, dtype=complex)
    for number, site in enumerate(crystal.sites):
        if site.occupancy == 0:
            continue
        phonon = _phonon(crystal, number, limits, dmin)
        factor = complex_form_factor(
            site.atomic_number, site.debye_waller, energy, lengths, phonon, expansion
        )
        factor = np.append(scale * site.occupancy * factor, 0)[inverse]
        phases = _phases(crystal.positions[number], limits, sign=-1)
        elastic += factor.real * phases
        absorptive += factor.imag * phases
    u0 = float(elastic[tuple(2 * n for n in limits)].real)
    return FourierTable(
        energy=float(energy),
        wavelength=wavelength(energy, u0 / INVERSE_AREA_PER_VOLT),
        limits=limits,
        elastic=elastic,
        absorptive=absorptive,
    )


def site_weights(crystal: Crystal, dmin: float) -> SiteWeights:
    """Weights of every site of the asymmetric unit; they do not depend on the energy."""
    limits = index_limits(crystal, dmin)
    lengths, inverse = _lengths(crystal, limits, dmin)
    weights = np.zeros((len(crystal.sites), *(4 * n + 1 for n in limits)), dtype=complex)
    for number, site in enumerate(crystal.sites):
        damping = np.exp(-site.debye_waller * lengths**2 / 4)
        factor = site.atomic_number**2 * site.occupancy * damping
        phases = _phases(crystal.positions[number], limits, sign=1)
        weights[number] = np.append(factor, 0)[inverse] * phases
    return SiteWeights(limits, weights)


def _potential_scale(crystal: Crystal) -> float:
    return VOLT_ANGSTROM / (4 * math.pi * crystal.volume)


@lru_cache(maxsize=4096)
def _forward_phonon(atomic_number: int, debye_waller: float) -> np.ndarray:
    return phonon_absorption(atomic_number, debye_waller, np.zeros(1))


def _lengths(
    crystal: Crystal, limits: tuple[int, int, int], dmin: float
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct |g| inside the sphere 2/dmin, and for each cell of the table its place among them.

    Cells outside the sphere point one past the end.
    """
    return _lengths_in(crystal.reciprocal.tobytes(), limits, dmin)


@lru_cache(maxsize=2)
def _lengths_in(
    reciprocal: bytes, limits: tuple[int, int, int], dmin: float
) -> tuple[np.ndarray, np.ndarray]:
    axes = [np.arange(-2 * n, 2 * n + 1) for n in limits]
    vectors = np.frombuffer(reciprocal).reshape(3, 3)
    metric = vectors @ vectors.T
    h, k, l = np.meshgrid(*axes, indexing="ij", sparse=True)  # noqa: E741
    square = (
        metric[0, 0] * h * h
        + metric[1, 1] * k * k
        + metric[2, 2] * l * l
        + 2 * (metric[0, 1] * h * k + metric[0, 2] * h * l + metric[1, 2] * k * l)
    )
    limit = (2 / dmin) ** 2 * (1 + 1e-9)
    # Equivalent reflections differ in the last bits; a grid of 1e-9 of the range joins them.
    keys = np.where(square <= limit, np.rint(square * (1e9 / limit)), -1).astype(np.int64)
    distinct, inverse = np.unique(keys, return_inverse=True)
    lengths = np.sqrt(np.maximum(distinct, 0) * (limit / 1e9))
    inverse = inverse.reshape(square.shape)
    if distinct[0] == -1:
        inverse = np.where(inverse == 0, len(lengths) - 1, inverse - 1)
        lengths = lengths[1:]
    return lengths, inverse


def _phonon(crystal: Crystal, site: int, limits: tuple[int, int, int], dmin: float) -> np.ndarray:
    """Phonon absorption of a site at the distinct |g|: costly, and the same for every energy."""
    chosen = crystal.sites[site]
    reciprocal = crystal.reciprocal.tobytes()
    return _phonon_of(chosen.atomic_number, chosen.debye_waller, reciprocal, limits, dmin)


@lru_cache(maxsize=64)
def _phonon_of(
    atomic_number: int,
    debye_waller: float,
    reciprocal: bytes,
    limits: tuple[int, int, int],
    dmin: float,
) -> np.ndarray:
    lengths, _ = _lengths_in(reciprocal, limits, dmin)
    return phonon_absorption(atomic_number, debye_waller, lengths)


def _phases(atoms: np.ndarray, limits: tuple[int, int, int], sign: int) -> np.ndarray:
    """Sum over atoms of exp(sign 2 pi i g.r) on the table, as a product of three exponentials."""
    x, y, z = (
        np.exp(sign * 2j * np.pi * atoms[:, axis, None] * np.arange(-2 * n, 2 * n + 1))
        for axis, n in enumerate(limits)
    )
    plane = (x[:, :, None] * y[:, None, :]).reshape(len(atoms), -1)
    return (plane.T @ z).reshape(x.shape[1], y.shape[1], z.shape[1])

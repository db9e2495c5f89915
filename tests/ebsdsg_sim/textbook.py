"""The dynamical calculation as a textbook writes it: one direction, float64, an eigenproblem.

Slow and separate from the package's solver on purpose: reflections are sorted by the full Bethe
rule, every structure factor is summed atom by atom, and the depth integral is an explicit sum over
pairs of Bloch waves.  Only the form factor of a single atom is shared.

M. De Graef, *Introduction to Conventional TEM* (2003), chapter 5; P. G. Callahan and M. De Graef,
*Microsc. Microanal.* 19 (2013) 1255.
"""

import itertools

import numpy as np

from ebsdsg_sim.scattering import complex_form_factor
from ebsdsg_sim.structure_factors import INVERSE_AREA_PER_VOLT, VOLT_ANGSTROM, wavelength


class Textbook:
    def __init__(self, crystal, energy, dmin, bethe, lambda_e, depth_step, thickness):
        self.crystal, self.energy, self.dmin, self.bethe = crystal, energy, dmin, bethe
        self.lambda_e, self.depth_step, self.thickness = lambda_e, depth_step, thickness
        self._ug, self._factors = {}, {}
        self.reciprocal = np.linalg.inv(crystal.lattice).T
        u0, self.u0_prime = (x.real for x in self.potential((0, 0, 0)))
        self.wavelength = wavelength(energy, u0 / INVERSE_AREA_PER_VOLT)
        largest = [int(np.linalg.norm(row) / dmin) + 1 for row in crystal.lattice]
        self.hkl = [
            hkl
            for hkl in itertools.product(*(range(-n, n + 1) for n in largest))
            if np.linalg.norm(hkl @ self.reciprocal) < 1 / dmin
        ]

    def potential(self, hkl):
        """U_g and U'_g, atom by atom."""
        g = np.linalg.norm(np.asarray(hkl) @ self.reciprocal)
        elastic = absorptive = 0j
        for site, atoms in zip(self.crystal.sites, self.crystal.positions, strict=True):
            f = self.form_factor(site.atomic_number, site.debye_waller, round(g, 9))
            for atom in atoms:
                phase = np.exp(-2j * np.pi * np.dot(hkl, atom))
                elastic += site.occupancy * f.real * phase
                absorptive += site.occupancy * f.imag * phase
        scale = VOLT_ANGSTROM * INVERSE_AREA_PER_VOLT / (4 * np.pi * self.crystal.volume)
        return scale * elastic, scale * absorptive

    def form_factor(self, z, debye_waller, g):
        key = z, debye_waller, g
        if key not in self._factors:
            self._factors[key] = complex_form_factor(
                z, debye_waller, self.energy, np.array([g]), None, "emsoft"
            )[0]
        return self._factors[key]

    def ug(self, hkl):
        hkl = tuple(int(x) for x in hkl)
        if hkl not in self._ug:
            elastic, absorptive = self.potential(hkl)
            self._ug[hkl] = elastic + 1j * absorptive
        return self._ug[hkl]

    def beams(self, direction):
        """Strong and weak reflections with their excitation errors, by the full Bethe rule."""
        k = direction / self.wavelength
        u0 = abs(self.ug((0, 0, 0)))
        listed = []
        for hkl in self.hkl:
            g = np.asarray(hkl) @ self.reciprocal
            kg = k + g
            cosine = kg @ direction / np.linalg.norm(kg)
            s = -g @ (2 * k + g) / (2 * np.linalg.norm(kg) * cosine)
            if not any(hkl):
                listed.insert(0, (hkl, 0.0))
                continue
            size = abs(self.ug(hkl))
            if size > 1e-6 * u0 and abs(s) <= self.bethe[2] * self.wavelength * size:
                listed.append((hkl, s))
        strong, weak = [], []
        for hkl, s in listed:
            couplings = [
                abs(self.ug(np.subtract(hkl, other))) * self.wavelength for other, _ in listed
            ]
            ratio = min(abs(s) / c for c in couplings if c > 0)
            if ratio <= self.bethe[0]:
                strong.append((hkl, s))
            elif ratio <= self.bethe[1]:
                weak.append((hkl, s))
        return strong, weak

    def intensities(self, direction):
        """Intensity of every site."""
        strong, weak = self.beams(direction)
        n, lam = len(strong), self.wavelength
        matrix = np.zeros((n, n), dtype=complex)
        for i, (g, sg) in enumerate(strong):
            for j, (h, _) in enumerate(strong):
                if i != j:
                    matrix[i, j] = self.ug(np.subtract(g, h)) - lam / 2 * sum(
                        self.ug(np.subtract(g, w)) * self.ug(np.subtract(w, h)) / sw
                        for w, sw in weak
                    )
            matrix[i, i] = 2 * sg / lam + 1j * self.u0_prime
            matrix[i, i] -= (
                lam / 2 * sum(abs(self.ug(np.subtract(g, w))) ** 2 / sw for w, sw in weak)
            )
        mu, waves = np.linalg.eig(matrix)
        gamma = mu * lam / 2
        alpha = np.linalg.inv(waves)[:, 0]
        depth = self.depth_step * np.arange(1, len(self.lambda_e) + 1)
        pairs = np.zeros((n, n), dtype=complex)
        for j in range(n):
            for k in range(n):
                q = 2j * np.pi * (gamma[k] - np.conj(gamma[j]))
                pairs[j, k] = (
                    np.conj(alpha[j]) * alpha[k] * (self.lambda_e * np.exp(q * depth)).sum()
                )
        density = np.conj(waves) @ pairs @ waves.T * self.depth_step / self.thickness
        return (
            np.array(
                [
                    sum(
                        (density[i, j] * self.weight(site, atoms, np.subtract(h, g))).real
                        for i, (g, _) in enumerate(strong)
                        for j, (h, _) in enumerate(strong)
                    )
                    for site, atoms in zip(self.crystal.sites, self.crystal.positions, strict=True)
                ]
            )
            / self.crystal.n_atoms
        )

    def weight(self, site, atoms, hkl):
        g = np.linalg.norm(hkl @ self.reciprocal)
        phases = np.exp(2j * np.pi * atoms @ hkl).sum()
        return (
            site.atomic_number**2 * site.occupancy * np.exp(-site.debye_waller * g**2 / 4) * phases
        )

"""The crystal: an asymmetric unit and a Hall number, from which every atom follows.

A `Crystal` is what a simulation is made of and half of its identity.  It is frozen and small; the
derived quantities (all atoms, operations, density) are computed when asked for and kept.
Lengths are nm, angles degrees, Debye-Waller factors B nm^2.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ebsdsg_sim.elements import ElementError, atomic_number, atomic_weight
from ebsdsg_sim.standard_structure import distances
from ebsdsg_sim.symmetry import (
    POSITION_TOLERANCE,
    SymmetryError,
    setting,
    space_group_operations,
)

AVOGADRO = 6.02214076e23
DEFAULT_DEBYE_WALLER = 0.004
"""Debye-Waller factor B [nm^2] where none is known; EMsoft's own choice."""


CLOSEST = 0.03
"""Two atoms closer than this [nm] cannot both be there; the shortest bond, H-H, has 0.074."""


class CrystalError(ValueError):
    """A crystal contradicts itself; the message names the site or the cell and what to do."""


@dataclass(frozen=True)
class Site:
    """One site of the asymmetric unit.

    Parameters
    ----------
    element : chemical symbol
    position : fractional coordinates (x, y, z)
    occupancy : fraction of the equivalent positions that hold this element, 0 to 1
    debye_waller : isotropic Debye-Waller factor B = 8 pi^2 <u^2> [nm^2]

    Raises
    ------
    CrystalError
        If a value is not a number or out of range.
    """

    element: str
    position: tuple[float, float, float]
    occupancy: float = 1.0
    debye_waller: float = DEFAULT_DEBYE_WALLER

    def __post_init__(self) -> None:
        try:
            atomic_number(self.element)
        except ElementError as error:
            raise CrystalError(str(error)) from None
        try:
            position = tuple(float(x) for x in self.position)
            occupancy, debye_waller = float(self.occupancy), float(self.debye_waller)
        except (TypeError, ValueError):
            raise CrystalError(f"site {self.element}: {self!r} needs numbers only") from None
        if len(position) != 3 or not all(map(math.isfinite, position)):
            raise CrystalError(
                f"site {self.element}: position {self.position!r} must be three finite numbers"
            )
        if not 0 <= occupancy <= 1:
            raise CrystalError(f"site {self.element}: occupancy {occupancy} must be in [0, 1]")
        if not 0 <= debye_waller <= 0.2:
            raise CrystalError(
                f"site {self.element}: Debye-Waller factor {debye_waller} nm^2 must be in "
                "[0, 0.2]; 1 Angstrom^2 is 0.01 nm^2"
            )
        object.__setattr__(self, "position", position)
        object.__setattr__(self, "occupancy", occupancy)
        object.__setattr__(self, "debye_waller", debye_waller)

    @property
    def atomic_number(self) -> int:
        """Atomic number Z."""
        return atomic_number(self.element)


@dataclass(frozen=True)
class Crystal:
    """A crystal structure given by its asymmetric unit.

    Parameters
    ----------
    name : used in messages and files
    cell : (a, b, c [nm], alpha, beta, gamma [degrees])
    space_group : number, 1 to 230
    hall_number : setting of that space group, 1 to 530
    sites : asymmetric unit; two sites may share a position (partial occupancy)

    Raises
    ------
    CrystalError
        If the cell is impossible or does not fit the space group, the Hall number belongs to
        another space group, or two atoms overlap (:data:`CLOSEST`) whose occupancies add up to more
        than 1.
    """

    name: str
    cell: tuple[float, float, float, float, float, float]
    space_group: int
    hall_number: int
    sites: tuple[Site, ...]

    def __post_init__(self) -> None:
        try:
            cell = tuple(float(x) for x in self.cell)
        except (TypeError, ValueError):
            raise CrystalError(f"{self.name}: cell {self.cell!r} must be six numbers") from None
        object.__setattr__(self, "cell", cell)
        object.__setattr__(self, "sites", tuple(self.sites))
        try:
            object.__setattr__(self, "space_group", operator.index(self.space_group))
            object.__setattr__(self, "hall_number", operator.index(self.hall_number))
        except TypeError:
            raise CrystalError(
                f"{self.name}: space group {self.space_group!r} and Hall number "
                f"{self.hall_number!r} must be integers"
            ) from None
        if len(cell) != 6 or not all(map(math.isfinite, cell)):
            raise CrystalError(f"{self.name}: cell {cell} must be six finite numbers")
        if min(cell[:3]) <= 0.05 or min(cell[3:]) <= 0 or max(cell[3:]) >= 180:
            raise CrystalError(
                f"{self.name}: cell {cell} needs lengths above 0.05 nm and angles between 0 and 180"
            )
        if not self.sites:
            raise CrystalError(f"{self.name}: no atoms")
        try:
            group = setting(self.hall_number).space_group
        except SymmetryError as error:
            raise CrystalError(f"{self.name}: {error}") from None
        if group != self.space_group:
            raise CrystalError(
                f"{self.name}: Hall number {self.hall_number} is a setting of space group {group}, "
                f"not of {self.space_group}"
            )
        if not self.volume > 1e-3:
            raise CrystalError(f"{self.name}: the angles {cell[3:]} do not make a cell")
        self._check_metric()
        self._check_overlap()

    @cached_property
    def lattice(self) -> np.ndarray:
        """(3, 3) rows a, b, c [nm]; Cartesian frame with x along a and z along c*."""
        a, b, c = self.cell[:3]
        # A right angle must give an exact zero, or symmetry is lost in rounding.
        cos_a, cos_b, cos_g = (0.0 if x == 90 else math.cos(math.radians(x)) for x in self.cell[3:])
        sin_g = math.sqrt(1 - cos_g**2)
        cx, cy = cos_b, (cos_a - cos_b * cos_g) / sin_g
        cz2 = 1 - cx * cx - cy * cy
        cz = math.sqrt(cz2) if cz2 > 0 else 0.0
        return np.array([[a, 0, 0], [b * cos_g, b * sin_g, 0], [c * cx, c * cy, c * cz]])

    @cached_property
    def reciprocal(self) -> np.ndarray:
        """(3, 3) rows a*, b*, c* [1/nm], without the factor 2 pi."""
        return np.linalg.inv(self.lattice).T

    @property
    def volume(self) -> float:
        """Volume of the cell [nm^3]."""
        return float(np.linalg.det(self.lattice))

    @property
    def symmetry(self) -> tuple[np.ndarray, np.ndarray]:
        """Rotations (n, 3, 3) int and translations (n, 3) of the Hall number's operations."""
        return space_group_operations(self.hall_number)

    @cached_property
    def inversion_centre(self) -> np.ndarray | None:
        """(3,) fractional position of an inversion centre, the origin if it is one; else None."""
        for rotation, translation in zip(*self.symmetry, strict=True):
            if (rotation == -np.eye(3)).all():
                return (translation - np.rint(translation)) / 2
        return None

    @cached_property
    def point_group(self) -> np.ndarray:
        """(m, 3, 3) Cartesian matrices of the point group, acting on column vectors."""
        rotations = np.unique(self.symmetry[0], axis=0)
        frame = self.lattice.T
        return frame @ rotations @ np.linalg.inv(frame)

    @cached_property
    def positions(self) -> tuple[np.ndarray, ...]:
        """For each site (n, 3) fractional positions in [0, 1) of all its equivalent atoms."""
        return tuple(self._orbit(site) for site in self.sites)

    def atoms(self, site: int) -> np.ndarray:
        """(n, 3) fractional positions of the atoms equivalent to site number ``site`` (from 0)."""
        return self.positions[site]

    @property
    def multiplicities(self) -> tuple[int, ...]:
        """Number of equivalent positions of each site."""
        return tuple(len(atoms) for atoms in self.positions)

    @property
    def n_atoms(self) -> int:
        """Positions in the cell, summed over the sites that are not empty.

        As in EMsoft two elements sharing a position count twice, and occupancies do not count.
        """
        return sum(
            n for n, site in zip(self.multiplicities, self.sites, strict=True) if site.occupancy > 0
        )

    @property
    def mass(self) -> float:
        """Mass of the atoms in one cell [g/mol]."""
        return self._sum(lambda site: atomic_weight(site.element))

    @property
    def density(self) -> float:
        """Density [g/cm^3]."""
        return self.mass / (AVOGADRO * self.volume * 1e-21)

    @property
    def mean_atomic_number(self) -> float:
        """Mean atomic number over the atoms of the cell, weighted by occupancy; NaN if empty."""
        atoms = self._sum(lambda site: 1.0)
        return self._sum(lambda site: float(site.atomic_number)) / atoms if atoms else math.nan

    @property
    def mean_atomic_weight(self) -> float:
        """Mean atomic weight [g/mol] over the cell, weighted by occupancy; NaN if it is empty."""
        atoms = self._sum(lambda site: 1.0)
        return self.mass / atoms if atoms else math.nan

    @property
    def centring(self) -> str:
        """Lattice letter P, A, B, C, I, F or R of the setting."""
        return setting(self.hall_number).hall_symbol.lstrip("-")[0]

    def with_debye_waller(self, debye_waller: float | Sequence[float]) -> Crystal:
        """The same crystal with other Debye-Waller factors B [nm^2]: one for all, or one per site.

        Raises
        ------
        CrystalError
            If the number of values is not the number of sites, or a value is out of range.
        """
        values = (
            [float(debye_waller)] * len(self.sites)
            if isinstance(debye_waller, (int, float))
            else [float(b) for b in debye_waller]
        )
        if len(values) != len(self.sites):
            raise CrystalError(
                f"{self.name}: {len(values)} Debye-Waller factors for {len(self.sites)} sites"
            )
        sites = tuple(
            replace(site, debye_waller=b) for site, b in zip(self.sites, values, strict=True)
        )
        return replace(self, sites=sites)

    def to_dict(self) -> dict[str, Any]:
        """The crystal as plain JSON types."""
        return {
            "name": self.name,
            "cell": list(self.cell),
            "space_group": self.space_group,
            "hall_number": self.hall_number,
            "sites": [
                {
                    "element": site.element,
                    "position": list(site.position),
                    "occupancy": site.occupancy,
                    "debye_waller": site.debye_waller,
                }
                for site in self.sites
            ],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Crystal:
        """Inverse of `to_dict`.

        Raises
        ------
        CrystalError
            If a key is missing or unknown, or a value is out of range.
        """
        try:
            return cls(
                name=values["name"],
                cell=tuple(values["cell"]),
                space_group=values["space_group"],
                hall_number=values["hall_number"],
                sites=tuple(
                    Site(**{**site, "position": tuple(site["position"])})
                    for site in values["sites"]
                ),
            )
        except KeyError as error:
            raise CrystalError(f"crystal document: {error.args[0]!r} is missing") from None
        except TypeError as error:
            raise CrystalError(f"crystal document: {error}") from None

    def _repr_html_(self) -> str:
        from ebsdsg_sim.preview import crystal_card

        return crystal_card(self)

    def _orbit(self, site: Site) -> np.ndarray:
        rotations, translations = self.symmetry
        start = np.asarray(site.position)
        # A position close to a special one (0.333 for 1/3) is put exactly on it: the mean of its
        # images under the operations that leave it in place.
        images = rotations @ start + translations
        shift = images - start
        shift -= np.round(shift)
        start = start + shift[distances(shift, self.lattice) < POSITION_TOLERANCE].mean(axis=0)
        images = (rotations @ start + translations) % 1.0
        images[images > 1 - 1e-9] = 0.0
        # one of each coset of the operations that leave the position in place, in their order
        kept: list[int] = []
        left = np.arange(len(images))
        while len(left):
            kept.append(int(left[0]))
            gaps = distances(images[left] - images[left[0]], self.lattice)
            left = left[gaps >= POSITION_TOLERANCE]
        return images[kept]

    def _sum(self, value: Any) -> float:
        return sum(
            len(atoms) * site.occupancy * value(site)
            for atoms, site in zip(self.positions, self.sites, strict=True)
        )

    def _check_metric(self) -> None:
        metric = self.lattice @ self.lattice.T
        rotations = self.symmetry[0]
        moved = np.swapaxes(rotations, 1, 2) @ metric @ rotations
        scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
        worst = float(np.abs((moved - metric) / scale).max())
        if worst > 1e-4:
            symbol = setting(self.hall_number).international
            raise CrystalError(
                f"{self.name}: cell {self.cell} does not have the symmetry of {symbol} "
                f"(Hall number {self.hall_number}; off by {worst:.1e}): correct the cell, or "
                "choose the setting that belongs to it"
            )

    def _check_overlap(self) -> None:
        points = np.concatenate(self.positions)
        owner = np.repeat(np.arange(len(self.sites)), self.multiplicities)
        occupancy = np.array([site.occupancy for site in self.sites])[owner]
        for number, (site, atoms) in enumerate(zip(self.sites, self.positions, strict=True), 1):
            gaps = distances(points - atoms[0], self.lattice)
            label = f"{self.name}: site {number} ({site.element} at {site.position})"
            shared = float(occupancy[gaps < POSITION_TOLERANCE].sum())
            if shared > 1 + 1e-3:
                raise CrystalError(
                    f"{label}: occupancies of this position add up to {shared:.3f}; "
                    "a position is given twice, or is shared by too much"
                )
            # split positions that are never filled together may be close
            both = site.occupancy + occupancy > 1 + 1e-3
            close = np.flatnonzero((gaps > POSITION_TOLERANCE) & (gaps < CLOSEST) & both)
            if not len(close):
                continue
            nearest = close[gaps[close].argmin()]
            other = int(owner[nearest])
            if other == number - 1:
                raise CrystalError(
                    f"{label}: an equivalent atom is {gaps[nearest]:.4f} nm away; give the special "
                    "position to more digits, or use the right origin choice"
                )
            raise CrystalError(
                f"{label}: site {other + 1} ({self.sites[other].element}) is "
                f"{gaps[nearest]:.4f} nm away, and both are filled; correct the positions, or "
                "lower the occupancies if only one of the two is ever filled"
            )

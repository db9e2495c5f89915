"""The atoms of one cell, checked: what every way into the project ends in.

Whatever is wrong with a structure is said here, once, before any symmetry is searched: a cell that
is flat, coordinates that are not numbers, elements that do not exist, atoms on top of each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ebsdsg_sim.crystal import AVOGADRO
from ebsdsg_sim.elements import ElementError, atomic_number, atomic_weight
from ebsdsg_sim.standard_structure import distances

if TYPE_CHECKING:
    from pymatgen.core import Structure

CLOSEST = 0.05
"""Two atoms nearer than this [nm] are a mistake; the bond of H2 has 0.074 nm."""

SAME_POSITION = 1e-3
"""Two atoms nearer than this [nm] share one position."""

NOTES, STATED = "notes", "stated_space_group"
"""Properties of a pymatgen structure in which a reader leaves what it cannot say otherwise."""

HYDROGEN_ISOTOPES = {"D": "H", "T": "H"}


class StructureError(ValueError):
    """A structure cannot be used; the message says what is wrong with it and where."""


class Atoms:
    """The atoms of one cell, checked: what every way in ends in.

    Parameters
    ----------
    name : used in messages
    lattice : (3, 3) rows a, b, c [nm]
    positions : (n, 3) fractional coordinates
    species : for each atom element -> occupancy

    Attributes
    ----------
    notes : what was changed on the way in.
    stated_space_group : number that the source states, ``None`` if it states none.

    Raises
    ------
    StructureError
        For a degenerate cell, coordinates that are not numbers, unknown elements, occupancies that
        are not in (0, 1] or add up to more than 1, and overlapping atoms.
    """

    def __init__(
        self,
        name: str,
        lattice: np.ndarray,
        positions: np.ndarray,
        species: Iterable[Mapping[str, float]],
    ) -> None:
        self.name = name
        self.notes: list[str] = []
        self.stated_space_group: int | None = None
        self.lattice = np.asarray(lattice, dtype=float)
        self.positions = np.asarray(positions, dtype=float).reshape(-1, 3)
        self.species = [self._known(dict(occupants)) for occupants in species]
        self._check_cell()
        self._check_numbers()
        self._share_positions()
        self._check_gaps()

    @property
    def composition(self) -> dict[str, float]:
        """Atoms of each element in this cell, weighted by occupancy."""
        return total_composition(self.species)

    @property
    def volume(self) -> float:
        """Volume of the cell [nm^3]."""
        return float(abs(np.linalg.det(self.lattice)))

    @property
    def density(self) -> float:
        """Density [g/cm^3]."""
        mass = sum(n * atomic_weight(element) for element, n in self.composition.items())
        return mass / (AVOGADRO * self.volume * 1e-21)

    def _known(self, occupants: dict[str, float]) -> dict[str, float]:
        known: dict[str, float] = {}
        for symbol, occupancy in occupants.items():
            element = HYDROGEN_ISOTOPES.get(symbol, symbol)
            if element != symbol:
                note = f"{symbol} is treated as {element}: electrons see the charge, not the mass"
                if note not in self.notes:
                    self.notes.append(note)
            try:
                atomic_number(element)
            except ElementError as error:
                raise StructureError(f"{self.name}: {error}") from None
            known[element] = known.get(element, 0.0) + float(occupancy)
        return known

    def _check_cell(self) -> None:
        if self.lattice.shape != (3, 3) or not np.isfinite(self.lattice).all():
            raise StructureError(f"{self.name}: the cell must be three vectors of finite numbers")
        lengths = np.linalg.norm(self.lattice, axis=1)
        if lengths.min() < CLOSEST:
            raise StructureError(
                f"{self.name}: the cell has an edge of {lengths.min():.4g} nm; "
                f"edges must be longer than {CLOSEST} nm"
            )
        # 1 for a rectangular cell, 0 for one that is flat
        flatness = self.volume / float(np.prod(lengths))
        if flatness < 0.02:
            raise StructureError(
                f"{self.name}: the cell is degenerate, its volume is {self.volume:.3g} nm^3 for "
                f"edges of {', '.join(f'{x:.4g}' for x in lengths)} nm"
            )
        if np.linalg.det(self.lattice) < 0:
            # a left-handed basis: all vectors reversed describe the same structure right-handed
            self.lattice, self.positions = -self.lattice, -self.positions

    def _check_numbers(self) -> None:
        if not self.species:
            raise StructureError(f"{self.name}: no atoms")
        if len(self.species) != len(self.positions):
            raise StructureError(
                f"{self.name}: {len(self.positions)} positions for {len(self.species)} atoms"
            )
        for i, (position, occupants) in enumerate(
            zip(self.positions, self.species, strict=True), 1
        ):
            label = f"{self.name}: atom {i} ({'/'.join(occupants) or 'empty'})"
            if not np.isfinite(position).all():
                raise StructureError(
                    f"{label} has a coordinate that is not a number: {position.tolist()}"
                )
            values = list(occupants.values())
            if not values or not np.isfinite(values).all() or min(values) <= 0:
                raise StructureError(f"{label}: occupancies {occupants} must be above 0")
            if sum(values) > 1 + 1e-3:
                raise StructureError(
                    f"{label}: occupancies {occupants} add up to {sum(values):.3f}; "
                    "a position holds one atom at most"
                )

    def _share_positions(self) -> None:
        """Merge atoms given separately at one position, as mixed occupancy often is."""
        kept: list[int] = []
        for i in range(len(self.positions)):
            gaps = distances(self.positions[kept] - self.positions[i], self.lattice)
            same = [kept[j] for j in np.flatnonzero(gaps < SAME_POSITION)]
            if not same:
                kept.append(i)
                continue
            first = same[0]
            merged = total_composition([self.species[first], self.species[i]])
            if sum(merged.values()) > 1 + 1e-3:
                raise StructureError(
                    f"{self.name}: atoms {first + 1} and {i + 1} ({'/'.join(merged)}) are at the "
                    f"same position {self.positions[i].round(4).tolist()} and together fill it "
                    f"{sum(merged.values()):.3f} times"
                )
            self.species[first] = merged
        self.positions = self.positions[kept]
        self.species = [self.species[i] for i in kept]

    def _check_gaps(self) -> None:
        occupancy = np.array([sum(occupants.values()) for occupants in self.species])
        for i in range(len(self.positions) - 1):
            gaps = distances(self.positions[i + 1 :] - self.positions[i], self.lattice)
            # half-filled split positions may be close, as they are never filled together
            both = occupancy[i] + occupancy[i + 1 :] > 1 + 1e-3
            close = np.flatnonzero((gaps < CLOSEST) & both)
            if len(close):
                j = i + 1 + int(close[0])
                raise StructureError(
                    f"{self.name}: atoms {i + 1} ({'/'.join(self.species[i])}) and {j + 1} "
                    f"({'/'.join(self.species[j])}) overlap, they are {gaps[close[0]]:.4f} nm apart"
                )


def total_composition(species: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Sum of element -> amount over atoms."""
    total: dict[str, float] = {}
    for occupants in species:
        for element, amount in occupants.items():
            total[element] = total.get(element, 0.0) + amount
    return total


def atoms_of(structure: Structure | Mapping[str, Any], name: str) -> Atoms:
    """Checked atoms of a pymatgen structure or of its dictionary.

    Parameters
    ----------
    structure : ``Structure``, or what its ``as_dict`` gives (Å); the dictionary is read directly,
        without importing pymatgen.
    name : used in messages

    Raises
    ------
    StructureError
        If it is malformed or one of the checks of `Atoms` fails.
    """
    values: Any = structure if isinstance(structure, Mapping) else structure.as_dict()
    try:
        lattice = np.asarray(values["lattice"]["matrix"], dtype=float) / 10
        sites = values["sites"]
        positions = np.array([_three(site["abc"]) for site in sites], dtype=float)
        species = [_occupants(site["species"]) for site in sites]
        notes, stated = _properties(values.get("properties"))
    except (KeyError, TypeError, ValueError) as error:
        raise StructureError(
            f"{name}: not the dictionary of a pymatgen structure ({type(error).__name__}: {error})"
        ) from None
    atoms = Atoms(name, lattice, positions, species)
    atoms.notes = list(dict.fromkeys([*notes, *atoms.notes]))
    atoms.stated_space_group = stated
    return atoms


def _three(position: Any) -> list[float]:
    """Coordinates of an atom."""
    coordinates = [float(x) for x in position]
    if len(coordinates) != 3:
        raise ValueError(f"abc {coordinates} are not three numbers")
    return coordinates


def _properties(properties: Any) -> tuple[list[str], int | None]:
    """What a reader left in a structure: notes, and the space group that its source states."""
    if not isinstance(properties or {}, Mapping):
        raise TypeError("properties are no mapping")
    notes = (properties or {}).get(NOTES) or []
    stated = (properties or {}).get(STATED)
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise TypeError(f"properties.{NOTES} is no list of texts")
    if stated is not None and not isinstance(stated, int):
        raise TypeError(f"properties.{STATED} is no number")
    return notes, stated


def _occupants(species: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Element -> occupancy of a site, oxidation states added together."""
    occupants: dict[str, float] = {}
    for entry in species:
        symbol = str(entry["element"])
        occupants[symbol] = occupants.get(symbol, 0.0) + float(entry["occu"])
    return occupants

"""Space groups: operations from Hall numbers, standard cells, and relabelling.

A Hall number (1 to 530) names a space group *and* its setting: axes and origin.  Everything here
speaks Hall numbers, so that no origin is ever left to chance; where a space group has two origin
choices the inversion centre (choice 2) is the default, and rhombohedral lattices are described on
hexagonal axes.  This is the only module that calls spglib (A. Togo, K. Shinohara and I. Tanaka,
Sci. Technol. Adv. Mater. Methods 4 (2024) 2384822).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import numpy as np
import spglib

from ebsdsg_sim.standard_structure import Orbit, Setting, StandardStructure, distances

POSITION_TOLERANCE = 1e-3
"""Two positions closer than this [nm] are the same atom (0.01 Angstrom)."""

Species = Mapping[str, float]


class SymmetryError(ValueError):
    """A structure has no usable symmetry, or a space-group setting does not exist."""


@cache
def setting(hall_number: int) -> Setting:
    """Space group, symbols and choice of a Hall number.

    Raises
    ------
    SymmetryError
        If the number is not from 1 to 530.
    """
    if isinstance(hall_number, bool) or not 1 <= int(hall_number) <= 530:
        raise SymmetryError(f"Hall number {hall_number!r}: must be an integer from 1 to 530")
    entry = spglib.get_spacegroup_type(int(hall_number))
    if entry is None:
        raise SymmetryError(f"Hall number {hall_number}: this spglib does not know it")
    return Setting(
        hall_number=int(hall_number),
        space_group=int(entry.number),
        hall_symbol=entry.hall_symbol,
        international=entry.international_short,
        choice=entry.choice,
    )


@cache
def _settings_of(space_group: int) -> tuple[Setting, ...]:
    return tuple(s for s in map(setting, range(1, 531)) if s.space_group == space_group)


def hall_number_for(space_group: int, origin_choice: int = 2) -> int:
    """Hall number of a space group's standard axes with an explicit origin choice.

    Parameters
    ----------
    space_group : number in the International Tables, 1 to 230
    origin_choice : 2 puts the origin on an inversion centre in the 24 groups that have two
        choices (227 gives Hall number 526, not spglib's default 525); the others ignore it.

    Returns
    -------
    Hall number; unique axis b for monoclinic groups, hexagonal axes for rhombohedral lattices.

    Raises
    ------
    SymmetryError
        If the group or the choice does not exist.
    """
    if isinstance(space_group, bool) or space_group not in range(1, 231):
        raise SymmetryError(f"space group {space_group!r}: must be an integer from 1 to 230")
    if origin_choice not in (1, 2):
        raise SymmetryError(f"origin choice {origin_choice!r}: must be 1 or 2")
    settings = _settings_of(int(space_group))
    for candidate in settings:
        if candidate.choice == str(origin_choice):
            return candidate.hall_number
    return settings[0].hall_number


@cache
def space_group_operations(hall_number: int) -> tuple[np.ndarray, np.ndarray]:
    """All operations x' = R x + t of a setting, centring translations included.

    Returns
    -------
    rotations : (n, 3, 3) int64, acting on fractional coordinates (columns)
    translations : (n, 3) float64 in [0, 1), rounded to the exact multiples of 1/24

    Raises
    ------
    SymmetryError
        If the Hall number does not exist.
    """
    entry = spglib.get_symmetry_from_database(setting(hall_number).hall_number)
    if entry is None:
        raise SymmetryError(f"Hall number {hall_number}: this spglib does not know it")
    rotations = np.asarray(entry["rotations"], dtype=np.int64)
    translations = (np.round(np.asarray(entry["translations"]) * 24) % 24) / 24
    rotations.setflags(write=False)
    translations.setflags(write=False)
    return rotations, translations


def standardize(
    lattice: np.ndarray,
    positions: np.ndarray,
    species: Sequence[str | Species],
    *,
    symprec: float = 0.01,
    origin_choice: int = 2,
) -> StandardStructure:
    """Find the symmetry of a structure and bring it to its standard conventional cell.

    Parameters
    ----------
    lattice : (3, 3) rows a, b, c [nm]
    positions : (n, 3) fractional coordinates
    species : for each atom an element symbol, or element -> occupancy where the site is shared or
        partly empty
    symprec : distance up to which atoms count as symmetry-equivalent [nm]; 0.01 nm is the
        0.1 Angstrom of the Materials Project's symmetry search
    origin_choice : see `hall_number_for`

    Returns
    -------
    StandardStructure

    Raises
    ------
    SymmetryError
        If the input is malformed, two atoms coincide, or no symmetry is found.
    """
    lattice, positions, occupants = _checked(lattice, positions, species)
    kinds = _kinds(occupants)
    dataset = _dataset(lattice, positions, kinds, symprec)
    wanted = hall_number_for(dataset.number, origin_choice)
    if dataset.hall_number != wanted:
        dataset = _dataset(lattice, positions, kinds, symprec, hall_number=wanted)
    std_lattice = np.asarray(dataset.std_lattice) / 10.0
    std_positions = np.asarray(dataset.std_positions) % 1.0
    std_positions[std_positions > 1 - 1e-12] = 0.0
    by_kind = {kind: occupant for kind, occupant in zip(kinds, occupants, strict=True)}
    std_species = tuple(dict(by_kind[int(kind)]) for kind in dataset.std_types)
    letter = dict(zip(dataset.mapping_to_primitive.tolist(), dataset.wyckoffs, strict=True))
    letters = [letter[int(i)] for i in dataset.std_mapping_to_primitive]
    return StandardStructure(
        setting=setting(int(dataset.hall_number)),
        lattice=std_lattice,
        positions=std_positions,
        species=std_species,
        orbits=_orbits(std_lattice, std_positions, std_species, letters, wanted),
        transformation=np.asarray(dataset.transformation_matrix),
        origin_shift=np.asarray(dataset.origin_shift),
        n_atoms_input=len(positions),
        n_atoms_primitive=len(set(dataset.std_mapping_to_primitive.tolist())),
        volume_input=float(abs(np.linalg.det(lattice))),
        symprec=float(symprec),
    )


def relabel(structure: StandardStructure, *, symprec: float = 0.001) -> int:
    """Space group of a structure after compositional disordering: all atoms become one element.

    The symmetrised cell is used, because on a raw relaxed cell the answer depends on the tolerance.
    A partly occupied position counts as an atom.

    Parameters
    ----------
    structure : from `standardize`
    symprec : tolerance of the second symmetry search [nm]

    Returns
    -------
    Space-group number, never of lower order than the structure's own.

    Raises
    ------
    SymmetryError
        If the search fails at this tolerance.
    """
    kinds = [1] * structure.n_atoms
    return int(_dataset(structure.lattice, structure.positions, kinds, symprec).number)


def relabel_sensitivity(
    structure: StandardStructure, tolerances: Iterable[float] = (1e-4, 1e-3, 1e-2)
) -> dict[float, int]:
    """Relabelled space group at several tolerances [nm]; all equal means the label is firm."""
    return {float(tol): relabel(structure, symprec=tol) for tol in tolerances}


def _checked(
    lattice: np.ndarray, positions: np.ndarray, species: Sequence[str | Species]
) -> tuple[np.ndarray, np.ndarray, list[dict[str, float]]]:
    lattice = np.asarray(lattice, dtype=float)
    positions = np.asarray(positions, dtype=float)
    if lattice.shape != (3, 3) or not np.isfinite(lattice).all():
        raise SymmetryError("lattice: must be three finite rows a, b, c [nm]")
    if abs(np.linalg.det(lattice)) < 1e-3:
        raise SymmetryError(
            f"lattice: volume {abs(np.linalg.det(lattice)):.3g} nm^3 cannot hold an atom"
        )
    if positions.ndim != 2 or positions.shape[1:] != (3,) or len(positions) == 0:
        raise SymmetryError(f"positions: shape {positions.shape}, must be (n, 3) with n > 0")
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if len(bad):
        raise SymmetryError(f"positions: atom {bad[0] + 1} has a coordinate that is not a number")
    if len(species) != len(positions):
        raise SymmetryError(f"{len(species)} species for {len(positions)} positions")
    occupants = [
        {s: 1.0} if isinstance(s, str) else {k: float(v) for k, v in s.items()} for s in species
    ]
    for number, occupant in enumerate(occupants, 1):
        total = sum(occupant.values())
        if not occupant or min(occupant.values()) < 0 or not 0 < total <= 1 + 1e-3:
            raise SymmetryError(
                f"atom {number}: occupancies {occupant} must be positive and sum to at most 1"
            )
    return lattice, positions, occupants


def _kinds(occupants: Sequence[Species]) -> list[int]:
    keys = [tuple(sorted((k, round(v, 6)) for k, v in o.items())) for o in occupants]
    index = {key: i + 1 for i, key in enumerate(sorted(set(keys)))}
    return [index[key] for key in keys]


def _dataset(
    lattice: np.ndarray,
    positions: np.ndarray,
    kinds: Sequence[int],
    symprec: float,
    hall_number: int = 0,
) -> spglib.SpglibDataset:
    """Symmetry data set of spglib, which wants Angstrom; its errors become ours."""
    if not (np.isfinite(symprec) and symprec > 0):
        raise SymmetryError(f"symprec = {symprec!r}: must be a positive length [nm]")
    reason = ""
    dataset = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            dataset = spglib.get_symmetry_dataset(
                ((lattice * 10).tolist(), positions.tolist(), kinds),
                symprec=symprec * 10,
                hall_number=hall_number,
            )
    except spglib.SpglibError as error:
        reason = f" ({error})"
    if dataset is None:
        raise SymmetryError(
            f"no symmetry found for {len(positions)} atoms at symprec {symprec} nm{reason}: "
            "two atoms coincide, or the tolerance is larger than the structure allows"
        )
    return dataset


def _orbits(
    lattice: np.ndarray,
    positions: np.ndarray,
    species: Sequence[dict[str, float]],
    letters: Sequence[str],
    hall_number: int,
) -> tuple[Orbit, ...]:
    rotations, translations = space_group_operations(hall_number)
    order = np.lexsort(np.round(positions, 6).T[::-1])
    left = np.ones(len(positions), dtype=bool)
    orbits = []
    for first in order:
        if not left[first]:
            continue
        images = rotations @ positions[first] + translations
        gaps = distances(images[:, None] - positions[None], lattice)
        members = np.unique(np.argmin(gaps, axis=1))
        worst = float(gaps.min(axis=1).max())
        if worst > POSITION_TOLERANCE or any(species[i] != species[first] for i in members):
            symbol = setting(hall_number).international
            raise SymmetryError(
                f"{symbol} (Hall number {hall_number}) does not map atom {first + 1} of the "
                f"standard cell onto atoms of its kind: an image misses by {worst:.2g} nm; "
                "use a smaller symprec"
            )
        left[members] = False
        x, y, z = positions[first]
        orbits.append(
            Orbit(
                species=species[first],
                position=(float(x), float(y), float(z)),
                wyckoff=letters[first],
                members=tuple(int(i) for i in members),
            )
        )
    return tuple(orbits)

"""Space groups: operations from Hall numbers, standard cells, and relabelling.

A Hall number (1 to 530) names a space group *and* its setting: axes and origin.  Everything here
speaks Hall numbers, so that no origin is ever left to chance; where a space group has two origin
choices the inversion centre (choice 2) is the default, and rhombohedral lattices are described on
hexagonal axes.  This is the only module that calls spglib, for its table of the 530 settings
(A. Togo, K. Shinohara and I. Tanaka, Sci. Technol. Adv. Mater. Methods 4 (2024) 2384822), and
moyopy (K. Shinohara, github.com/spglib/moyo), which searches symmetry with the same settings,
origins and cells an order of magnitude faster.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import cache

import moyopy
import numpy as np
import spglib

from ebsdsg_sim.cell_contents import Species, SymmetryError, checked, kinds
from ebsdsg_sim.standard_structure import (
    Disordered,
    Orbit,
    Setting,
    StandardStructure,
    distances,
)

# of a supercell it warns that operations of the given cell are left out; they are not used here
logging.getLogger("moyo").setLevel(logging.ERROR)

POSITION_TOLERANCE = 1e-3
"""Two positions closer than this [nm] are the same atom (0.01 Angstrom)."""


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
        full=entry.international_full,
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
    lattice, positions, occupants = checked(lattice, positions, species)
    kind_of = kinds(occupants)
    dataset = _dataset(lattice, positions, kind_of, symprec)
    wanted = hall_number_for(dataset.number, origin_choice)
    if dataset.hall_number != wanted:
        dataset = _dataset(lattice, positions, kind_of, symprec, hall_number=wanted)
    std = dataset.std_cell
    std_lattice = np.asarray(std.basis) / 10.0
    std_positions = np.asarray(std.positions) % 1.0
    std_positions[std_positions > 1 - 1e-12] = 0.0
    by_kind = dict(zip(kind_of, occupants, strict=True))
    std_species = tuple(dict(by_kind[kind]) for kind in std.numbers)
    transformation = np.linalg.inv(np.asarray(dataset.std_linear))
    origin_shift = -transformation @ np.asarray(dataset.std_origin_shift)
    # the search names the Wyckoff position of each atom given, not of each atom of the new cell
    moved = positions @ transformation.T + origin_shift
    nearest = distances(moved[:, None] - std_positions[None], std_lattice).argmin(axis=1)
    return StandardStructure(
        setting=setting(wanted),
        lattice=std_lattice,
        positions=std_positions,
        species=std_species,
        orbits=_orbits(
            std_lattice,
            std_positions,
            std_species,
            dict(zip(nearest.tolist(), dataset.wyckoffs, strict=True)),
            wanted,
        ),
        transformation=transformation,
        origin_shift=origin_shift,
        n_atoms_input=len(positions),
        n_atoms_primitive=len(dataset.prim_std_cell.numbers),
        volume_input=float(abs(np.linalg.det(lattice))),
        symprec=float(symprec),
    )


def disorder(structure: StandardStructure, *, symprec: float = 0.001) -> Disordered:
    """Symmetry of a structure after compositional disordering: all atoms become one element.

    The symmetrised cell is used, because on a raw relaxed cell the answer depends on the tolerance.
    A partly occupied position counts as an atom.

    Parameters
    ----------
    structure : from `standardize`
    symprec : tolerance of the second symmetry search [nm]

    Returns
    -------
    Space group, and the atoms left in the primitive cell.

    Raises
    ------
    SymmetryError
        If the search fails at this tolerance.
    """
    found = _dataset(structure.lattice, structure.positions, [1] * structure.n_atoms, symprec)
    return Disordered(int(found.number), len(found.prim_std_cell.numbers))


def relabel(structure: StandardStructure, *, symprec: float = 0.001) -> int:
    """Space-group number of the disordered structure, never of lower order than its own.

    See `disorder` for parameters and errors.
    """
    return disorder(structure, symprec=symprec).space_group


def relabel_sensitivity(
    structure: StandardStructure, tolerances: Iterable[float] = (1e-4, 1e-3, 1e-2)
) -> dict[float, int]:
    """Relabelled space group at several tolerances [nm]; all equal means the label is firm."""
    return {float(tol): relabel(structure, symprec=tol) for tol in tolerances}


def primitive_operations(space_group: int) -> tuple[np.ndarray, np.ndarray]:
    """One operation for each element of a group's point group, on a primitive basis.

    Parameters
    ----------
    space_group : 1 to 230, in the setting of `hall_number_for`

    Returns
    -------
    rotations : (n, 3, 3) int64
    translations : (n, 3) float64 in [0, 1)
    """
    hall = moyopy.Setting.hall_number(hall_number_for(space_group))
    found = moyopy.operations_from_number(space_group, setting=hall, primitive=True)
    return np.asarray(found.rotations, dtype=np.int64), np.asarray(found.translations) % 1.0


@cache
def point_group_order(space_group: int) -> int:
    """Number of operations of a group's point group."""
    return len(primitive_operations(space_group)[0])


def identify(rotations: np.ndarray, translations: np.ndarray) -> int:
    """Number of the space group that operations on a primitive basis make.

    Parameters
    ----------
    rotations : (n, 3, 3) integers, each element of the point group once
    translations : (n, 3)

    Raises
    ------
    SymmetryError
        If they do not form a space group.
    """
    try:
        return int(moyopy.SpaceGroup(rotations.tolist(), translations.tolist()).number)
    except ValueError as error:
        raise SymmetryError(f"{len(rotations)} operations form no space group ({error})") from None


def translationengleiche_subgroups(space_group: int) -> tuple[tuple[int, int], ...]:
    """Maximal subgroups that keep all translations: (number, index), each type once."""
    rotations, translations = primitive_operations(space_group)
    classes = moyopy.enumerate_translationengleiche_subgroups(
        rotations.tolist(), translations.tolist()
    )
    found = set()
    for each in classes:
        subgroup = each.representative
        if subgroup.depth == 1:
            operations = subgroup.operations
            number = identify(np.array(operations.rotations), np.array(operations.translations))
            found.add((number, int(subgroup.translationengleiche_index)))
    return tuple(sorted(found))


def _dataset(
    lattice: np.ndarray,
    positions: np.ndarray,
    kind_of: Sequence[int],
    symprec: float,
    hall_number: int | None = None,
) -> moyopy.MoyoDataset:
    """Symmetry data set of moyopy, which wants Angstrom; its errors become ours."""
    if not (np.isfinite(symprec) and symprec > 0):
        raise SymmetryError(f"symprec = {symprec!r}: must be a positive length [nm]")
    try:
        return moyopy.MoyoDataset(
            moyopy.Cell((lattice * 10).tolist(), positions.tolist(), list(kind_of)),
            symprec=symprec * 10,
            setting=(
                moyopy.Setting.standard()
                if hall_number is None
                else moyopy.Setting.hall_number(hall_number)
            ),
        )
    except ValueError as error:
        raise SymmetryError(
            f"no symmetry found for {len(positions)} atoms at symprec {symprec} nm ({error}): "
            "two atoms coincide, or the tolerance is larger than the structure allows"
        ) from None


def _orbits(
    lattice: np.ndarray,
    positions: np.ndarray,
    species: Sequence[dict[str, float]],
    letters: dict[int, str],
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
                wyckoff=next(letters[i] for i in members.tolist() if i in letters),
                members=tuple(int(i) for i in members),
            )
        )
    return tuple(orbits)

"""What EMmkxtal asks about a crystal, and the answers, which follow from the crystal alone.

:mod:`.dialogue` gives them; the file that comes out is compared with the crystal
(:mod:`.xtal_file`), because EMmkxtal replaces and truncates answers without a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ebsdsg_flows.engines.emsoft.failures import (
    INEXPRESSIBLE,
)
from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.emsoft_layout import MasterPatternFileError, origin_setting
from ebsdsg_sim.symmetry import setting

if TYPE_CHECKING:
    pass

LARGEST_SOURCE = 512
LARGEST_ATOMIC_NUMBER = 98
LARGEST_SITES = 250
"""Length of EMsoft's lists of sites, ``maxpasym`` (EMsoft 5.0, ``Source/EMsoftLib/local.f90``)."""
SYSTEMS = ((2, 7), (15, 6), (74, 3), (142, 2), (167, 5), (194, 4), (230, 1))
"""Last space group of EMmkxtal's crystal systems: triclinic 7, monoclinic 6, orthorhombic 3,
tetragonal 2, trigonal 5, hexagonal 4, cubic 1."""

TWO_ORIGINS = frozenset(
    {48, 50, 59, 68, 70, 85, 86, 88, 125, 126, 129, 130}
    | {133, 134, 137, 138, 141, 142, 201, 203, 222, 224, 227, 228}
)
"""Groups for which EMmkxtal asks which origin is meant."""

SYSTEM = "crystal system --->"
HEXAGONAL = "0 for hexagonal setting :"
LENGTHS = ("a [nm] =", "b [nm] =", "c [nm] =")
ANGLES = ("alpha [deg] =", "beta  [deg] =", "gamma [deg] =")
GROUP = "Enter space group number :"
ORIGIN = "Which setting do you wish to use (1/2)"
ATOM = "->  Atomic number :"
SITE = "Fractional coordinates, site occupation, and Debye-Waller Factor [nm^2] :"
ANOTHER = "Another atom ? (y/n)"
FILE = "Enter output file name (*.xtal)"
SOURCE = "Enter the source for this data [max. 512 characters]"
PROMPTS = (SYSTEM, HEXAGONAL, *LENGTHS, *ANGLES, GROUP, ORIGIN, ATOM, SITE, ANOTHER, FILE, SOURCE)
WYCKOFF = ("Atomic number, site occupation, Debye-Waller factor :", "Wyckoff position :")
"""What EMmkxtal asks when it was called with ``-w``; never answered."""

_FREE: dict[int, tuple[str, ...]] = {
    1: (LENGTHS[0],),
    2: (LENGTHS[0], LENGTHS[2]),
    3: LENGTHS,
    4: (LENGTHS[0], LENGTHS[2]),
    5: (LENGTHS[0], LENGTHS[2]),
    6: (*LENGTHS, ANGLES[1]),
    7: (*LENGTHS, *ANGLES),
}
"""Lattice parameters asked for in each crystal system."""


@dataclass(frozen=True)
class Step:
    """One question and its answer.

    Parameters
    ----------
    prompt : text on the screen that asks for it.
    answer : what is typed.
    echo : numbers that the program must repeat after it, if it does so.
    """

    prompt: str
    answer: str
    echo: tuple[float, ...] = ()


def answers(crystal: Crystal, file_name: str, source: str) -> list[Step]:
    """The whole dialogue about a crystal.

    Parameters
    ----------
    crystal : in the standard axes of its group; trigonal ones hexagonal or rhombohedral.
    file_name : of the file to write, without a folder.
    source : text stored in the file.

    Returns
    -------
    Questions in the order in which EMmkxtal asks them.

    Raises
    ------
    EngineFailure
        If EMsoft cannot express the crystal, or would replace one of its values unasked.
    """
    check_expressible(crystal)
    system = crystal_system(crystal.space_group)
    steps = [Step(SYSTEM, str(system))]
    free = _FREE[system]
    if system == 5:
        steps.append(Step(HEXAGONAL, "1" if rhombohedral(crystal) else "0"))
        free = (LENGTHS[0], ANGLES[0]) if rhombohedral(crystal) else free
    values = dict(zip((*LENGTHS, *ANGLES), crystal.cell, strict=True))
    steps += [Step(prompt, _number(values[prompt])) for prompt in free]
    steps.append(Step(GROUP, str(crystal.space_group)))
    if crystal.space_group in TWO_ORIGINS:
        steps.append(Step(ORIGIN, str(origin_setting(crystal))))
    for index, site in enumerate(crystal.sites):
        steps.append(Step(ATOM, str(site.atomic_number)))
        # the position as the orbit has it: 0.333 is already 1/3 there, and inside the cell
        numbers = (*fractional(crystal, index), site.occupancy, site.debye_waller)
        steps.append(Step(SITE, ",".join(_number(v) for v in numbers), numbers))
        steps.append(Step(ANOTHER, "y" if index + 1 < len(crystal.sites) else "n"))
    steps.append(Step(FILE, quoted(file_name)))
    steps.append(Step(SOURCE, quoted(source)))
    return steps


def crystal_system(space_group: int) -> int:
    """EMsoft's number of the crystal system of a space group."""
    return next(number for last, number in SYSTEMS if space_group <= last)


def rhombohedral(crystal: Crystal) -> bool:
    """Whether a crystal is described on rhombohedral axes."""
    return setting(crystal.hall_number).choice == "R"


def fractional(crystal: Crystal, site: int) -> tuple[float, float, float]:
    """Position of a site on its special position and inside the cell, to nine digits."""
    x, y, z = (round(float(v), 9) % 1.0 for v in crystal.atoms(site)[0])
    return (x, y, z)


def check_expressible(crystal: Crystal) -> None:
    """Refuse what EMsoft cannot be told.

    Raises
    ------
    EngineFailure
        If the axes are not the standard ones, there are too many sites, a site has occupancy 0 or
        Debye-Waller factor 0 (EMsoft would silently make them 1 and 0.004 nm^2), or an element has
        no scattering factors.
    """
    try:
        if not rhombohedral(crystal):
            origin_setting(crystal)
    except MasterPatternFileError as error:
        raise INEXPRESSIBLE.failure(str(error)) from None
    if len(crystal.sites) > LARGEST_SITES:
        raise INEXPRESSIBLE.failure(
            f"{crystal.name} has {len(crystal.sites)} sites, EMsoft can do with {LARGEST_SITES}"
        )
    for number, site in enumerate(crystal.sites, 1):
        label = f"{crystal.name}: site {number} ({site.element})"
        if site.occupancy == 0:
            raise INEXPRESSIBLE.failure(f"{label} has occupancy 0, which EMsoft would make 1")
        if site.debye_waller == 0:
            raise INEXPRESSIBLE.failure(
                f"{label} has Debye-Waller factor 0, which EMsoft would make 0.004 nm^2"
            )
        if site.atomic_number > LARGEST_ATOMIC_NUMBER:
            raise INEXPRESSIBLE.failure(f"{label}: EMsoft's scattering factors end at Z = 98")


def quoted(text: str) -> str:
    """Text for a Fortran list-directed read, which ends at a blank, comma or slash otherwise.

    Raises
    ------
    EngineFailure
        If the text is empty, too long, or holds characters outside printable ASCII.
    """
    if not text.strip() or len(text) > LARGEST_SOURCE:
        raise INEXPRESSIBLE.failure(
            f"the text {text[:40]!r} is empty or longer than {LARGEST_SOURCE} characters"
        )
    if not (text.isascii() and text.isprintable()):
        raise INEXPRESSIBLE.failure(f"the text {text[:40]!r} is not printable ASCII")
    return "'" + text.replace("'", "''") + "'"


def _number(value: float) -> str:
    """Plain decimal notation, as many digits as carry information."""
    text = f"{value:.9f}".rstrip("0")
    return text + "0" if text.endswith(".") else text

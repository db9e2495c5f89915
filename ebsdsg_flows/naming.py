"""Names of structures: formula, point group, and the prototype without its elements."""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections.abc import Mapping
from math import gcd

from ebsdsg_sim.symmetry import StandardStructure, hall_number_for

# last space-group number of each point group, International Tables for Crystallography A
_POINT_GROUPS = (
    (1, "1"), (2, "-1"), (5, "2"), (9, "m"), (15, "2/m"), (24, "222"), (46, "mm2"), (74, "mmm"),
    (80, "4"), (82, "-4"), (88, "4/m"), (98, "422"), (110, "4mm"), (122, "-42m"), (142, "4/mmm"),
    (146, "3"), (148, "-3"), (155, "32"), (161, "3m"), (167, "-3m"), (173, "6"), (174, "-6"),
    (176, "6/m"), (182, "622"), (186, "6mm"), (190, "-62m"), (194, "6/mmm"), (199, "23"),
    (206, "m-3"), (214, "432"), (220, "-43m"), (230, "m-3m"),
)  # fmt: skip

# last space-group number of each crystal family, and its letter in a Pearson symbol
_FAMILIES = ((2, "a"), (15, "m"), (74, "o"), (142, "t"), (194, "h"), (230, "c"))


def point_group_symbol(space_group: int) -> str:
    """Hermann–Mauguin symbol of the point group of a space group (1 to 230)."""
    return _POINT_GROUPS[bisect_left(_POINT_GROUPS, (space_group, ""))][1]


def has_two_origins(space_group: int) -> bool:
    """Whether a space group is one of the 24 with two origin choices."""
    return hall_number_for(space_group, 1) != hall_number_for(space_group, 2)


def reduced_formula(composition: Mapping[str, float]) -> str:
    """Reduced formula in the Materials Project's order of elements, such as ``AlNi3``."""
    from pymatgen.core import Composition

    with warnings.catch_warnings():
        # the noble gases have no electronegativity; their place in the formula is pymatgen's affair
        warnings.filterwarnings("ignore", message="No Pauling electronegativity")
        return str(Composition(dict(composition)).reduced_formula)


def pearson_symbol(structure: StandardStructure) -> str:
    """Pearson symbol: family, centring and atoms of the conventional cell, such as ``cF8``."""
    group = structure.space_group
    family = _FAMILIES[bisect_left(_FAMILIES, (group, ""))][1]
    centring = structure.setting.hall_symbol.lstrip("-")[0]
    return f"{family}{'S' if centring in 'ABC' else centring}{structure.n_atoms}"


def prototype(structure: StandardStructure) -> str:
    """Arrangement of a structure without its elements, such as ``AB_cF8_225_4_4`` for rock salt.

    Reduced formula with letters, Pearson symbol, space-group number and, species by species, the
    multiplicities of the orbits.  Species are ordered by their number, so that CsCl and ClCs, or
    AlNi3 and Fe3Ga, share one name; a mixed or partly empty position counts as a species of its
    own.  It is like the labels of the AFLOW library (M. J. Mehl et al., Comput. Mater. Sci. 136
    (2017) S1) with multiplicities for Wyckoff letters, because the letters change with the choice
    among equivalent origins (diamond is 227 a or b).
    """
    orbits: dict[tuple[tuple[str, float], ...], list[int]] = {}
    for orbit in structure.orbits:
        kind = tuple(sorted(orbit.species.items()))
        orbits.setdefault(kind, []).append(orbit.multiplicity)
    divisor = gcd(*(sum(multiplicities) for multiplicities in orbits.values()))
    species = sorted((sum(m) // divisor, sorted(m)) for m in orbits.values())
    formula = "".join(
        f"{_species_letter(i)}{count if count > 1 else ''}" for i, (count, _) in enumerate(species)
    )
    sites = "_".join(".".join(map(str, multiplicities)) for _, multiplicities in species)
    return f"{formula}_{pearson_symbol(structure)}_{structure.space_group}_{sites}"


def _species_letter(index: int) -> str:
    """A to Z, then AA, AB ..."""
    first, second = divmod(index, 26)
    return (chr(64 + first) if first else "") + chr(65 + second)

"""CIF files, read strictly.

A CIF says where atoms are by an asymmetric unit and symmetry operations.  Files without operations
name the space group only, which for 24 groups leaves the origin open; then the density and the
formula units in the file decide, or the file is refused.  Every fault is one `StructureError`.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ebsdsg_flows.atom_labels import element_of_label, element_of_type
from ebsdsg_flows.atoms import NOTES, STATED, Atoms, StructureError
from ebsdsg_flows.cif_symmetry import SymmetryChoice, symmetry_choices
from ebsdsg_sim.standard_structure import distances
from stores.documents import Source

if TYPE_CHECKING:
    from pymatgen.core import Structure

SPECIAL_POSITION = 0.005
"""Images of an atom nearer than this [nm] are one atom on a special position; 0.333 is 1/3."""

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?(\(\d+\))?")


@dataclass(frozen=True)
class CifStructure:
    """What a CIF file holds.

    Parameters
    ----------
    structure : pymatgen structure, all atoms of the cell
    identifier : name of the file and the beginning of its hash
    source : for the document
    symmetry : operations that the file states, or means
    wyckoff : Wyckoff letter of each atom of the asymmetric unit, empty where the file gives none

    Notes
    -----
    The space group that the file states and what was changed on reading go with the structure, as
    its properties, into the notes of the document.
    """

    structure: Structure
    identifier: str
    source: Source
    symmetry: SymmetryChoice
    wyckoff: tuple[str, ...]


def read_cif(path: str | Path, *, block: str | None = None) -> CifStructure:
    """Read the structure of a CIF file.

    Parameters
    ----------
    path : the file
    block : name of the data block, needed if several hold atoms

    Raises
    ------
    StructureError
        If the file is missing, is not a CIF, holds no structure or several, a number is missing or
        not a number, the symmetry is not stated or leaves the origin open, or the atoms overlap.
    """
    path = Path(path)
    if not path.is_file():
        raise StructureError(f"{path}: no such file")
    content = path.read_bytes()
    name, data = _block(path.name, content.decode("utf-8", errors="replace"), block)
    try:
        lattice = _lattice(name, data)
        sites = _sites(name, data)
        choices = symmetry_choices(name, data, _cell(name, data))
    except (KeyError, TypeError, IndexError) as error:
        raise StructureError(
            f"{name}: the file is broken ({type(error).__name__} {error})"
        ) from None
    candidates = [_expand(name, lattice, sites, choice) for choice in choices]
    best = 0 if len(candidates) == 1 else _decide(name, data, choices, candidates)
    if choices[best].note:
        candidates[best].notes.append(choices[best].note)
    letters = data.get("_atom_site_Wyckoff_symbol") or data.get("_atom_site_Wyckoff_label")
    return CifStructure(
        structure=_to_pymatgen(lattice, candidates[best], choices[best].space_group),
        identifier=f"{path.stem}-{hashlib.sha256(content).hexdigest()[:8]}",
        source=Source(kind="cif", identifier=path.name, reference=_reference(data)),
        symmetry=choices[best],
        wyckoff=tuple(map(str, letters)) if isinstance(letters, list) else ("",) * len(sites),
    )


def _block(file: str, text: str, wanted: str | None) -> tuple[str, dict[str, Any]]:
    """Name for messages and items of the data block that holds the structure."""
    from pymatgen.io.cif import CifFile

    try:
        blocks = CifFile.from_str(text).data
    except Exception as error:  # the tokenizer fails in many ways, all of them mean this
        raise StructureError(f"{file}: not readable as CIF ({error})") from None
    named = {str(key): block.data for key, block in blocks.items()}
    full = {key: data for key, data in named.items() if "_atom_site_fract_x" in data}
    if wanted is not None:
        if wanted not in full:
            raise StructureError(f"{file}: no structure in a block {wanted!r}; see {sorted(full)}")
        return f"{file}#{wanted}", full[wanted]
    if not full:
        raise StructureError(
            f"{file}: holds no structure: "
            + ("no data block" if not named else "no _atom_site_fract_x in any data block")
        )
    if len(full) > 1:
        raise StructureError(
            f"{file}: holds {len(full)} structures ({', '.join(full)}); give them a file each"
        )
    return file, next(iter(full.values()))


def number(name: str, what: str, text: Any) -> float:
    """A finite CIF number, with or without its standard uncertainty in parentheses.

    Raises
    ------
    StructureError
        If it is missing (``?`` or ``.``) or something else.
    """
    value = str(text).strip()
    if not _NUMBER.fullmatch(value):
        raise StructureError(f"{name}: {what} is {value!r}, which is not a number")
    result = float(value.split("(")[0])
    if not math.isfinite(result):
        raise StructureError(f"{name}: {what} is {value!r}, which is not finite")
    return result


def _cell(name: str, data: dict[str, Any]) -> tuple[float, ...]:
    """(a, b, c [nm], alpha, beta, gamma [degrees]), checked to make a cell."""
    keys = [f"_cell_length_{x}" for x in "abc"] + [
        f"_cell_angle_{x}" for x in ("alpha", "beta", "gamma")
    ]
    missing = [key for key in keys if key not in data]
    if missing:
        raise StructureError(f"{name}: {', '.join(missing)} missing")
    values = [number(name, key, data[key]) for key in keys]
    for key, value in zip(keys[:3], values[:3], strict=True):
        if value <= 0:
            raise StructureError(f"{name}: {key} = {value} must be positive")
    for key, value in zip(keys[3:], values[3:], strict=True):
        if not 0 < value < 180:
            raise StructureError(f"{name}: {key} = {value} must be between 0 and 180 degrees")
    alpha, beta, gamma = (math.cos(math.radians(x)) for x in values[3:])
    if 1 - alpha**2 - beta**2 - gamma**2 + 2 * alpha * beta * gamma <= 1e-6:
        raise StructureError(f"{name}: the angles {values[3:]} do not make a cell")
    return (*(x / 10 for x in values[:3]), *values[3:])


def _lattice(name: str, data: dict[str, Any]) -> np.ndarray:
    """(3, 3) rows a, b, c [nm]."""
    from pymatgen.core import Lattice

    a, b, c, alpha, beta, gamma = _cell(name, data)
    return np.asarray(Lattice.from_parameters(a, b, c, alpha, beta, gamma).matrix)


def _sites(name: str, data: dict[str, Any]) -> list[tuple[str, np.ndarray, float]]:
    """Element symbol, fractional position and occupancy of each atom of the asymmetric unit."""
    axes = [data.get(f"_atom_site_fract_{x}") for x in "xyz"]
    if any(not isinstance(axis, list) or len(axis) != len(axes[0] or []) for axis in axes):
        raise StructureError(f"{name}: the atom loop needs _atom_site_fract_x, _y and _z")
    n = len(axes[0] or [])
    labels = data.get("_atom_site_label") or data.get("_atom_site_type_symbol")
    types = data.get("_atom_site_type_symbol")
    if not isinstance(labels, list) or (types and not isinstance(types, list)):
        raise StructureError(
            f"{name}: the atom loop needs _atom_site_type_symbol or _atom_site_label"
        )
    occupancies = data.get("_atom_site_occupancy") or ["1"] * n
    flags = data.get("_atom_site_calc_flag") or [""] * n
    sites = []
    for i in range(n):
        if flags[i] in ("dum", "dummy"):
            continue
        what = f"atom {labels[i]}"
        position = np.array(
            [number(name, f"{what}: _atom_site_fract_{x}", axes[j][i]) for j, x in enumerate("xyz")]  # type: ignore[index]
        )
        text = str(occupancies[i]).strip()
        occupancy = 1.0 if text in (".", "?") else number(name, f"{what}: occupancy", text)
        if not 0 <= occupancy <= 1 + 1e-3:
            raise StructureError(f"{name}: {what}: occupancy {occupancy:g} must be between 0 and 1")
        if occupancy > 0:
            element = element_of_type(str(types[i])) if types else element_of_label(str(labels[i]))
            if element is None:
                raise StructureError(
                    f"{name}: {types[i]!r} is not a known element"
                    if types
                    else f"{name}: the label {labels[i]!r} does not name an element: add "
                    "_atom_site_type_symbol to the atom loop"
                )
            sites.append((element, position, occupancy))
    return sites


def _expand(
    name: str,
    lattice: np.ndarray,
    sites: list[tuple[str, np.ndarray, float]],
    choice: SymmetryChoice,
) -> Atoms:
    """All atoms of the cell."""
    positions: list[np.ndarray] = []
    species: list[dict[str, float]] = []
    for element, start, occupancy in sites:
        images = choice.rotations @ start + choice.translations
        shift = images - start
        shift -= np.round(shift)
        # the mean over the operations that leave the atom in place puts 0.333 on 1/3
        near = distances(shift, lattice) < SPECIAL_POSITION
        exact = start + (shift[near].mean(axis=0) if near.any() else 0.0)
        images = (choice.rotations @ exact + choice.translations) % 1.0
        kept: list[np.ndarray] = []
        for image in images:
            if not kept or distances(np.array(kept) - image, lattice).min() > SPECIAL_POSITION:
                kept.append(image)
        positions += kept
        species += [{element: occupancy}] * len(kept)
    return Atoms(name, lattice, np.array(positions), species)


def _decide(
    name: str, data: dict[str, Any], choices: list[SymmetryChoice], candidates: list[Atoms]
) -> int:
    """Number of the origin choice that gives the density or the formula units of the file."""
    counts = [sum(atoms.composition.values()) for atoms in candidates]
    if "_exptl_crystal_density_diffrn" in data:
        stated = number(
            name, "_exptl_crystal_density_diffrn", data["_exptl_crystal_density_diffrn"]
        )
        fits = [abs(atoms.density / stated - 1) < 0.05 for atoms in candidates]
    elif "_cell_formula_units_Z" in data and "_chemical_formula_sum" in data:
        from pymatgen.core import Composition

        try:
            formula = Composition(str(data["_chemical_formula_sum"]).replace(" ", ""))
        except ValueError as error:
            raise StructureError(f"{name}: _chemical_formula_sum: {error}") from None
        expected = formula.num_atoms * number(
            name, "_cell_formula_units_Z", data["_cell_formula_units_Z"]
        )
        fits = [abs(count / expected - 1) < 0.01 for count in counts]
    else:
        fits = []
    if fits.count(True) == 1:
        return fits.index(True)
    densities = ", ".join(
        f"{atoms.density:.2f} g/cm^3 with {choice.label}"
        for atoms, choice in zip(candidates, choices, strict=True)
    )
    raise StructureError(
        f"{name}: {choices[0].symbol} needs an origin choice: the atoms give {densities}; "
        "add the symmetry operations to the file, or _exptl_crystal_density_diffrn"
    )


def _to_pymatgen(lattice: np.ndarray, atoms: Atoms, stated: int | None) -> Structure:
    from pymatgen.core import Lattice, Structure

    properties = {NOTES: atoms.notes, STATED: stated}
    return Structure(Lattice(lattice * 10), atoms.species, atoms.positions, properties=properties)


def _reference(data: dict[str, Any]) -> str:
    """Database code or title that the file gives."""
    for key in ("_cod_database_code", "_database_code_ICSD", "_publ_section_title"):
        value = data.get(key)
        if isinstance(value, str) and value.strip(" ?.'\n"):
            label = {"_cod_database_code": "COD ", "_database_code_ICSD": "ICSD "}.get(key, "")
            return f"{label}{' '.join(value.split())}"
    return ""

"""From any structure to the one form that is simulated and labelled.

A structure comes in as a pymatgen ``Structure``, its dictionary, or a CIF file; it is checked,
brought to its standard conventional cell with a stated origin choice, rebuilt from its asymmetric
unit alone and compared with what came in, and given its two labels: its space group and the group
after compositional disordering.  What comes out is a `StructureDocument`; nothing is stored here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ebsdsg_flows.atoms import Atoms, StructureError, atoms_of, total_composition
from ebsdsg_flows.descent import descent
from ebsdsg_flows.naming import has_two_origins, point_group_symbol, prototype, reduced_formula
from ebsdsg_sim.asymmetric_unit import crystal_from_standard
from ebsdsg_sim.crystal import DEFAULT_DEBYE_WALLER, Crystal, CrystalError
from ebsdsg_sim.elements import atomic_number
from ebsdsg_sim.standard_structure import Setting, StandardStructure
from ebsdsg_sim.symmetry import (
    SymmetryError,
    disorder,
    hall_number_for,
    setting,
    standardize,
)
from stores.documents import (
    ElementStatistics,
    Relabel,
    Source,
    SpaceGroup,
    StructureDocument,
    ToleranceResult,
    crystal_hash,
)
from stores.identity import content_hash

if TYPE_CHECKING:
    from pymatgen.core import Structure

SYMPREC = 0.1
"""Tolerance with which a cell is symmetrised [Å], the Materials Project's."""

RELABEL_SYMPREC = 0.01
"""Tolerance of the relabelled group [Å]; the cell is symmetrised before."""

RELABEL_TOLERANCES = (0.001, 0.01, 0.1)
"""Tolerances at which the relabelled group is compared [Å]."""

LABELLING = 2
"""Version of what is done here; documents of another one are made again by the builder.

2: the descent from the relabelled group is found for every factor between the cells.
"""


OriginProvider = Literal["spglib", "findsym"]
"""Who chooses axes and origin among the equivalent ones; both in the standard settings."""

BY_FINDSYM = "axes and origin by FINDSYM; up to the normaliser it is the crystal that spglib gives"


def structure_document(
    structure: Structure | Mapping[str, Any] | Atoms,
    material_id: str,
    *,
    source: Source | Mapping[str, str] | None = None,
    licence: str = "unknown",
    symprec: float = SYMPREC,
    origin_choice: int = 2,
    origin: OriginProvider = "spglib",
    debye_waller: float | Mapping[str, float] = DEFAULT_DEBYE_WALLER,
    relabel_tolerances: Iterable[float] = RELABEL_TOLERANCES,
) -> StructureDocument:
    """Standardise, check and label a structure.

    Parameters
    ----------
    structure : pymatgen ``Structure``, its dictionary, or checked `Atoms`
    material_id : identifier, the key of the document
    source : where it came from (``kind``, ``identifier``, ``reference``); ``None`` is this program
    licence : on what terms
    symprec : tolerance of the symmetry search [Å], as the Materials Project gives it
    origin_choice : origin of the 24 groups with two; 2 is on an inversion centre
    origin : ``findsym`` lets FINDSYM choose among the equivalent descriptions (its origin choice
        is 2) and compares its answer with that of the other, ``spglib``
    debye_waller : Debye–Waller factor B [nm^2], one for all or by element symbol (elements that
        are not named get 0.004)
    relabel_tolerances : tolerances at which the relabelled group is compared [Å]; the label is
        the answer at 0.01 Å

    Returns
    -------
    Document whose ``crystal`` is accepted by ``Crystal.from_dict``.

    Raises
    ------
    StructureError
        If the structure is malformed, has no symmetry at this tolerance, or does not come back
        from its asymmetric unit with the same number of atoms, composition and density, or FINDSYM
        describes another crystal.
    ebsdsg_flows.findsym.FindsymMissing
        If FINDSYM is asked for and not there.
    """
    atoms = structure if isinstance(structure, Atoms) else atoms_of(structure, material_id)
    tolerances = sorted({*relabel_tolerances, RELABEL_SYMPREC})
    try:
        standard = standardize(
            atoms.lattice,
            atoms.positions,
            atoms.species,
            symprec=symprec / 10,
            origin_choice=origin_choice,
        )
        if origin == "findsym":
            from ebsdsg_flows.findsym import described_by_findsym

            standard = described_by_findsym(atoms, standard)
        crystal = _crystal(standard, atoms, debye_waller)
        disordered = {t: disorder(standard, symprec=t / 10) for t in tolerances}
    except (SymmetryError, CrystalError) as error:
        text = str(error)
        named = text if text.startswith(atoms.name) else f"{atoms.name}: {text}"
        raise StructureError(named) from None
    _check_conserved(atoms, standard, crystal)
    values = crystal.to_dict()
    composition = _composition(crystal)
    group = standard.setting
    labels = {tolerance: found.space_group for tolerance, found in disordered.items()}
    number = labels[RELABEL_SYMPREC]
    return StructureDocument(
        key=material_id,
        material_id=material_id,
        formula=reduced_formula(composition),
        elements=sorted(composition),
        composition=composition,
        crystal=values,
        crystal_hash=crystal_hash(values),
        space_group=SpaceGroup(
            number=group.space_group,
            symbol=group.international,
            hall_number=group.hall_number,
            origin_choice=group.origin_choice if has_two_origins(group.space_group) else None,
            point_group=point_group_symbol(group.space_group),
        ),
        relabel=Relabel(
            number=number,
            symbol=setting(hall_number_for(number)).international,
            symprec=RELABEL_SYMPREC,
            by_tolerance=[
                ToleranceResult(symprec=tolerance, number=n) for tolerance, n in labels.items()
            ],
            sensitive=len(set(labels.values())) > 1,
            descent=descent(standard, disordered[RELABEL_SYMPREC]),
        ),
        volume_conventional=round(standard.volume * 1e3, 6),
        volume_primitive=round(
            standard.volume * 1e3 * standard.n_atoms_primitive / standard.n_atoms, 6
        ),
        n_atoms=standard.n_atoms,
        n_atoms_primitive=standard.n_atoms_primitive,
        n_sites=len(crystal.sites),
        density=round(crystal.density, 6),
        mean_atomic_number=round(crystal.mean_atomic_number, 6),
        prototype=prototype(standard),
        symprec=symprec,
        element_statistics=_element_statistics(composition),
        labelling=LABELLING,
        input_hash=input_hash(
            atoms,
            symprec=symprec,
            origin_choice=origin_choice,
            origin=origin,
            debye_waller=debye_waller,
            relabel_tolerances=tolerances,
        ),
        source=source_of(source, material_id),
        licence=licence,
        notes=_notes(atoms, group, symprec) + ([BY_FINDSYM] if origin == "findsym" else []),
    )


def input_hash(
    atoms: Atoms,
    *,
    symprec: float = SYMPREC,
    origin_choice: int = 2,
    origin: OriginProvider = "spglib",
    debye_waller: float | Mapping[str, float] = DEFAULT_DEBYE_WALLER,
    relabel_tolerances: Iterable[float] = RELABEL_TOLERANCES,
) -> str:
    """Hash of all that a structure's document is made from.

    Parameters
    ----------
    atoms : the cell as given
    symprec, origin_choice, origin, debye_waller, relabel_tolerances : of `structure_document`

    Returns
    -------
    64 hexadecimal digits; a document with this ``input_hash`` is what would be made again.
    """
    return content_hash(
        {
            "lattice": atoms.lattice.tolist(),
            "positions": atoms.positions.tolist(),
            "species": atoms.species,
            "notes": atoms.notes,
            "stated_space_group": atoms.stated_space_group,
            "symprec": symprec,
            "origin_choice": origin_choice,
            "origin": origin,
            "debye_waller": debye_waller,
            "relabel_tolerances": sorted({*relabel_tolerances, RELABEL_SYMPREC}),
            "labelling": LABELLING,
        }
    )


def _element_statistics(composition: Mapping[str, float]) -> ElementStatistics:
    numbers = sorted(atomic_number(element) for element in composition)
    return ElementStatistics(
        n_elements=len(numbers),
        lightest=numbers[0],
        heaviest=numbers[-1],
        difference=numbers[-1] - numbers[0],
    )


def _crystal(
    standard: StandardStructure, atoms: Atoms, debye_waller: float | Mapping[str, float]
) -> Crystal:
    """The crystal of a standard structure, with numbers rounded so that its hash is firm."""
    if isinstance(debye_waller, Mapping):
        absent = sorted(set(debye_waller) - set(atoms.composition))
        if absent:
            raise StructureError(
                f"{atoms.name}: Debye-Waller factors for {', '.join(absent)}, "
                f"but the structure holds {', '.join(sorted(atoms.composition))}"
            )
    exact = crystal_from_standard(standard, reduced_formula(total_composition(standard.species)))
    values = exact.to_dict()
    # 1e-10 nm and 1e-10 of a cell edge are below any measurement and above rounding errors of
    # another machine's linear algebra
    values["cell"] = [round(x, 10) for x in values["cell"]]
    for site in values["sites"]:
        site["position"] = [round(x, 10) % 1.0 for x in site["position"]]
        site["occupancy"] = round(site["occupancy"], 10)
        site["debye_waller"] = (
            debye_waller.get(site["element"], DEFAULT_DEBYE_WALLER)
            if isinstance(debye_waller, Mapping)
            else debye_waller
        )
    return Crystal.from_dict(values)


def _check_conserved(atoms: Atoms, standard: StandardStructure, crystal: Crystal) -> None:
    """The rebuilt crystal holds the atoms that came in: composition, atom count, density."""
    scale = standard.volume / atoms.volume
    if abs(standard.n_atoms / (len(atoms.positions) * scale) - 1) > 0.01:
        raise StructureError(
            f"{atoms.name}: {len(atoms.positions)} atoms in {atoms.volume:.5f} nm^3 became "
            f"{standard.n_atoms} in {standard.volume:.5f} nm^3; use another symprec"
        )
    if abs(crystal.density / atoms.density - 1) > 0.01:
        raise StructureError(
            f"{atoms.name}: density {atoms.density:.4f} g/cm^3 became {crystal.density:.4f} when "
            f"rebuilt from the asymmetric unit in Hall number {crystal.hall_number}"
        )
    before, after = atoms.composition, _composition(crystal)
    total_before, total_after = sum(before.values()), sum(after.values())
    for element in before:
        if abs(before[element] / total_before - after.get(element, 0) / total_after) > 1e-6:
            raise StructureError(
                f"{atoms.name}: the content of {element} changed from "
                f"{before[element] / total_before:.6f} to {after.get(element, 0) / total_after:.6f}"
            )


def _composition(crystal: Crystal) -> dict[str, float]:
    """Atoms of each element in the conventional cell, alphabetically."""
    total = total_composition(
        {site.element: multiplicity * site.occupancy}
        for site, multiplicity in zip(crystal.sites, crystal.multiplicities, strict=True)
    )
    return {element: round(total[element], 6) for element in sorted(total)}


def _notes(atoms: Atoms, group: Setting, symprec: float) -> list[str]:
    """What was changed on the way in, and whether the source stated another space group."""
    stated = atoms.stated_space_group
    if stated is None or stated == group.space_group:
        return atoms.notes
    return [
        *atoms.notes,
        f"the source says space group {stated}; its atoms have {group.international} "
        f"({group.space_group}) at a tolerance of {symprec} Å",
    ]


def source_of(source: Source | Mapping[str, str] | None, material_id: str) -> Source:
    """The source given, or this program where there is none."""
    if isinstance(source, Source):
        return source
    return Source(**(source or {"kind": "python", "identifier": material_id}))


def document_from_cif(path: str | Path, **options: Any) -> StructureDocument:
    """Standardise, check and label the structure of a CIF file.

    Parameters
    ----------
    path : file with one structure
    **options : of `structure_document`

    Returns
    -------
    Document; its key is the file's name with the beginning of its hash.

    Raises
    ------
    StructureError
        If the file is missing or broken, or its structure cannot be used.
    """
    from ebsdsg_flows.cif import read_cif

    found = read_cif(path)
    return structure_document(
        found.structure, **{"material_id": found.identifier, "source": found.source, **options}
    )

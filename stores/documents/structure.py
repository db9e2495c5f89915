"""A crystal structure, standardised, with the labels that a classifier learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from stores.documents.base import Document, GroupNumber, Hash, Name, Part, Time
from stores.identity import content_hash


def crystal_identity(crystal: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a crystal dictionary that makes it what it is: all but its name.

    Parameters
    ----------
    crystal : dictionary of ``ebsdsg_sim.crystal.Crystal.to_dict`` (cell, space group, Hall number,
        sites); ``name`` is a label and left out.
    """
    return {key: value for key, value in crystal.items() if key != "name"}


def crystal_hash(crystal: Mapping[str, Any]) -> str:
    """Content hash of a crystal: cell, group, setting and sites, whatever it is called."""
    return content_hash(crystal_identity(crystal))


def label_reason(true: int, relabelled: int, symbol: str) -> str:
    """Why a structure has its relabelled group, in words.

    Parameters
    ----------
    true, relabelled : space-group numbers.
    symbol : of the relabelled group.
    """
    if relabelled == true:
        return "with all atoms alike the group is the same"
    return (
        f"with all atoms alike the positions have {symbol}: "
        "the difference of the elements is all that lowers the symmetry"
    )


class SpaceGroup(Part):
    """A space group in a stated setting.

    Attributes
    ----------
    number : in the International Tables.
    symbol : Hermann–Mauguin, short.
    hall_number : 1 to 530, fixes setting and origin.
    origin_choice : 1 or 2 for the 24 groups that have two origins, else ``None``.
    point_group : Hermann–Mauguin symbol of the point group.
    """

    number: GroupNumber
    symbol: Name
    hall_number: int = Field(ge=1, le=530)
    origin_choice: int | None = Field(default=None, ge=1, le=2)
    point_group: Name


class ToleranceResult(Part):
    """Group number found with one tolerance [Å]."""

    symprec: float = Field(gt=0)
    number: GroupNumber


class Descent(Part):
    """How a structure's space group lies below that of its disordered form.

    Attributes
    ----------
    kind : ``same``; ``klassengleiche`` (translations were lost), ``isomorphic`` (to a group of the
        same type), ``translationengleiche`` (the point group was reduced), ``general`` (both), or
        ``unknown``: no chain of maximal subgroups with these indices was found.
    k_index : primitive cells of the disordered form in one of the structure.
    t_index : order of the disordered point group over that of the structure.
    groups : numbers from the disordered group down to the structure's, one maximal subgroup at a
        time; empty if ``unknown``.
    text : the same in words.
    """

    kind: Literal[
        "same", "klassengleiche", "isomorphic", "translationengleiche", "general", "unknown"
    ]
    k_index: int = Field(ge=1)
    t_index: int = Field(ge=1)
    groups: list[GroupNumber]
    text: Name


class Relabel(Part):
    """Space group after compositional disordering (every atom made the same element).

    Attributes
    ----------
    number, symbol : the group at ``symprec``.
    symprec : tolerance of the answer [Å].
    by_tolerance : group number at every tolerance tried.
    sensitive : whether the answer depends on the tolerance.
    descent : why the label changed; ``None`` in documents made before this was recorded.
    """

    number: GroupNumber
    symbol: Name
    symprec: float = Field(gt=0)
    by_tolerance: list[ToleranceResult]
    sensitive: bool
    descent: Descent | None = None

    @model_validator(mode="after")
    def _sensitivity_follows(self) -> Self:
        numbers = {self.number} | {result.number for result in self.by_tolerance}
        if self.sensitive != (len(numbers) > 1):
            raise ValueError("sensitive contradicts by_tolerance")
        return self


class ElementStatistics(Part):
    """Atomic numbers of a structure's elements, whatever their amounts.

    Attributes
    ----------
    n_elements : number of different elements.
    lightest, heaviest : smallest and largest atomic number.
    difference : of these two; for two elements it is the paper's ΔZ.
    """

    n_elements: int = Field(ge=1)
    lightest: int = Field(ge=1)
    heaviest: int = Field(ge=1)
    difference: int = Field(ge=0)


class Source(Part):
    """Where a structure came from.

    Attributes
    ----------
    kind : ``materials project``, ``cif``, ``jsonl``, ``demo``, ``python``.
    identifier : identifier there.
    reference : file name, database version, URL or citation.
    """

    kind: Name
    identifier: Name
    reference: str = ""


class StructureDocument(Document):
    """One structure in its standardised conventional cell; the key is its material id.

    Attributes
    ----------
    formula : reduced formula.
    elements : symbols in alphabetical order.
    composition : atoms of each element in the conventional cell.
    crystal : ``Crystal.to_dict`` (lengths in nm): asymmetric unit and setting fix everything.
    crystal_hash : content hash of the crystal without its name.
    volume_conventional, volume_primitive : cell volumes [Å³].
    n_atoms, n_atoms_primitive : atomic positions in either cell, partial occupancy counting as one.
    n_sites : positions of the asymmetric unit.
    density : [g/cm³].
    mean_atomic_number : mean over the atoms of the cell, weighted by occupancy.
    prototype : composition-free name of the arrangement, such as ``AB_cP2_221_1_1``.
    symprec : tolerance with which the cell was symmetrised [Å].
    element_statistics : lightest and heaviest element; ``None`` in older documents.
    labelling : version of the way in which labels are found; 0 in older documents.
    input_hash : content hash of the atoms given, the tolerances and ``labelling``: a document with
        the same one need not be made again.
    built_from : ``last_updated`` of the source entry that it was built from, if it was.
    """

    collection: ClassVar[str] = "structures"

    material_id: Name
    formula: Name
    elements: list[Name]
    composition: dict[str, float]
    crystal: dict[str, Any]
    crystal_hash: Hash
    space_group: SpaceGroup
    relabel: Relabel
    volume_conventional: float = Field(gt=0)
    volume_primitive: float = Field(gt=0)
    n_atoms: int = Field(ge=1)
    n_atoms_primitive: int = Field(ge=1)
    n_sites: int = Field(ge=1)
    density: float = Field(gt=0)
    mean_atomic_number: float = Field(gt=0)
    prototype: str | None = None
    symprec: float = Field(gt=0)
    element_statistics: ElementStatistics | None = None
    labelling: int = Field(default=0, ge=0)
    input_hash: Hash | None = None
    built_from: Time | None = None
    source: Source
    licence: Name
    notes: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.key != self.material_id:
            raise ValueError(f"key {self.key!r} is not the material_id {self.material_id!r}")
        if self.crystal_hash != crystal_hash(self.crystal):
            raise ValueError("crystal_hash is not the hash of the crystal: it was edited by hand")
        for field in ("space_group", "hall_number"):
            ours = (
                self.space_group.number if field == "space_group" else self.space_group.hall_number
            )
            if self.crystal.get(field) != ours:
                raise ValueError(f"crystal.{field} is {self.crystal.get(field)}, not {ours}")
        return self

    def _summary(self) -> dict[str, Any]:
        return {
            "formula": self.formula,
            "space_group": f"{self.space_group.symbol} ({self.space_group.number})",
            "relabelled": self.relabel.number,
            "atoms": self.n_atoms,
        }

    @property
    def why(self) -> str:
        """Why the relabelled group is what it is, in words, with the way down to the true one."""
        reason = label_reason(self.space_group.number, self.relabel.number, self.relabel.symbol)
        way = self.relabel.descent
        return reason if way is None or way.kind == "same" else f"{reason}; {way.text}, {way.kind}"

    def _facts(self) -> dict[str, Any]:
        group, lengths, angles = (
            self.space_group,
            self.crystal["cell"][:3],
            self.crystal["cell"][3:],
        )
        answers = [
            f"{answer.number} at {answer.symprec:g} Å" for answer in self.relabel.by_tolerance
        ]
        return {
            "formula": self.formula,
            "space group": f"{group.symbol} ({group.number}), Hall number {group.hall_number}",
            "relabelled": f"{self.relabel.symbol} ({self.relabel.number})",
            "why": self.why,
            "by tolerance": ", ".join(answers) if self.relabel.sensitive else None,
            "cell": f"{', '.join(f'{x:.5g}' for x in lengths)} nm; "
            f"{', '.join(f'{x:g}' for x in angles)}°; {self.volume_conventional:.2f} Å³",
            "atoms": f"{self.n_atoms} in the cell, {self.n_sites} sites, {self.density:.2f} g/cm³",
            "prototype": self.prototype,
            "source": f"{self.source.kind}: {self.source.reference or self.source.identifier}",
            "licence": self.licence,
            "notes": "; ".join(self.notes),
        }


class UnusableStructureDocument(Document):
    """An entry that no structure could be made of, and why; the key is its material id.

    Attributes
    ----------
    reason : what is wrong with it.
    kind : ``withdrawn`` by its source, ``refused`` (its atoms are impossible or have no symmetry),
        or ``defect`` (of this program).
    formula : as its source gives it.
    symprec : tolerance tried [Å].
    source, licence : as of :class:`StructureDocument`.
    built_from : ``last_updated`` of the entry; a newer entry is tried again by itself.
    """

    collection: ClassVar[str] = "unusable_structures"

    material_id: Name
    reason: Name
    kind: Literal["withdrawn", "refused", "defect"]
    formula: str = ""
    symprec: float = Field(gt=0)
    source: Source
    licence: Name
    built_from: Time | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.key != self.material_id:
            raise ValueError(f"key {self.key!r} is not the material_id {self.material_id!r}")
        return self

    def _summary(self) -> dict[str, Any]:
        return {"kind": self.kind, "reason": self.reason}

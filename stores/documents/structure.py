"""A crystal structure, standardised, with the labels that a classifier learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from stores.documents.base import Document, GroupNumber, Hash, Name, Part
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


class Relabel(Part):
    """Space group after compositional disordering (every atom made the same element).

    Attributes
    ----------
    number, symbol : the group at ``symprec``.
    symprec : tolerance of the answer [Å].
    by_tolerance : group number at every tolerance tried.
    sensitive : whether the answer depends on the tolerance.
    """

    number: GroupNumber
    symbol: Name
    symprec: float = Field(gt=0)
    by_tolerance: list[ToleranceResult]
    sensitive: bool

    @model_validator(mode="after")
    def _sensitivity_follows(self) -> Self:
        numbers = {self.number} | {result.number for result in self.by_tolerance}
        if self.sensitive != (len(numbers) > 1):
            raise ValueError("sensitive contradicts by_tolerance")
        return self


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

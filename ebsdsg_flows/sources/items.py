"""What every source gives: items, and entries that cannot be used with their reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from ebsdsg_flows.atoms import StructureError, atoms_of

if TYPE_CHECKING:
    from pymatgen.core import Structure

DEMO = "demo"
MATERIALS_PROJECT = "materials_project"
IMPORTED = "imported"
NAMED = frozenset({DEMO, MATERIALS_PROJECT, IMPORTED})
"""Sources that are names and not paths."""

NON_COMMERCIAL = "CC-BY-NC-4.0 (Materials Project, GNoME)"
"""Licence of the entries that a query takes only with ``include_gnome``."""


class SourceError(ValueError):
    """A source does not exist, is of no known kind, or holds no usable structure."""


@dataclass(frozen=True)
class SourceItem:
    """One structure of a source, checked but not standardised.

    Parameters
    ----------
    material_id : identifier, unique within the source
    values : pymatgen's dictionary of the structure as the source gives it
    source : ``kind``, ``identifier`` and ``reference`` of its origin
    licence : on what terms
    space_group, volume : what the source says about the conventional cell [Å^3], if it does
    formula : reduced formula, if the source gives it
    database_version, last_updated : of the source, if it has them
    """

    material_id: str
    values: Mapping[str, Any]
    source: dict[str, str]
    licence: str
    space_group: int | None = field(default=None, compare=False)
    volume: float | None = field(default=None, compare=False)
    formula: str | None = field(default=None, compare=False)
    database_version: str | None = field(default=None, compare=False)
    last_updated: datetime | None = field(default=None, compare=False)

    @cached_property
    def structure(self) -> Structure:
        """The structure as pymatgen's object, made when first asked for."""
        from pymatgen.core import Structure

        return Structure.from_dict(dict(self.values))


@dataclass(frozen=True)
class Refused:
    """An entry of a source that cannot be used, and why."""

    material_id: str
    reason: str


@dataclass(frozen=True)
class Outside:
    """An entry that is not wanted by what it says of itself; its structure was not looked at."""

    material_id: str


Wanted = Callable[[str, int | None, float | None], bool]
"""Whether an entry can be wanted that states an identifier, a space group and a volume [Å^3]; what
it does not state is None."""


def every_entry(material_id: str, space_group: int | None, volume: float | None) -> bool:
    """The :data:`Wanted` that leaves nothing out."""
    return True


class Limits(Protocol):
    """Which entries are taken; ``ebsdsg_flows.campaign.StructureQuery`` says it."""

    @property
    def groups(self) -> tuple[int, ...]:
        """True space groups kept; empty keeps all."""

    @property
    def materials(self) -> tuple[str, ...]:
        """Identifiers kept; empty keeps all."""

    @property
    def max_volume(self) -> Mapping[int, float]:
        """Largest conventional cell by space group [Å^3]."""


class Query(Limits, Protocol):
    """What `read_sources` needs to know; ``ebsdsg_flows.campaign.StructureQuery`` is one."""

    @property
    def source(self) -> str:
        """A name of :data:`NAMED`, or a path."""

    @property
    def symprec(self) -> float:
        """Tolerance of the symmetry search [Å]."""

    @property
    def include_gnome(self) -> bool:
        """Whether imported entries under :data:`NON_COMMERCIAL` are taken."""


def passes(limits: Limits, group: int, volume: float | None) -> bool | None:
    """Whether a space group and a volume are taken; None if an unknown volume decides.

    Parameters
    ----------
    limits : with its groups and largest volumes
    group, volume : of the conventional cell [Å^3]
    """
    if limits.groups and group not in limits.groups:
        return False
    limit = limits.max_volume.get(group)
    if limit is None:
        return True
    return None if volume is None else volume < limit


def wanted_by(limits: Limits) -> Wanted:
    """What can be within limits, judged by what an entry states."""
    materials = frozenset(limits.materials)

    def wanted(material_id: str, space_group: int | None, volume: float | None) -> bool:
        if materials and material_id not in materials:
            return False
        return space_group is None or passes(limits, space_group, volume) is not False

    return wanted


def item_of_row(
    row: Any, name: str, *, kind: str, label: str, wanted: Wanted = every_entry
) -> SourceItem | Outside:
    """Item of a mapping with ``material_id``, ``structure`` and what else it says.

    Parameters
    ----------
    row : optional are ``formula_pretty``, ``spacegroup_number``, ``volume_conventional`` [Å^3],
        ``source`` (text), ``licence``, ``database_version`` and ``last_updated`` (time or ISO text)
    name : of the source, for its reference
    kind : of the source
    label : names the row in messages until its identifier is known
    wanted : of a row that it refuses the structure is not looked at

    Raises
    ------
    StructureError
        If the row is malformed or its atoms cannot be used.
    """
    if not isinstance(row, Mapping):
        raise StructureError(f"{label}: must be a JSON object")
    identifier = row.get("material_id")
    if not isinstance(identifier, str) or not identifier:
        raise StructureError(f"{label}: has no material_id")
    group, volume = row.get("spacegroup_number"), row.get("volume_conventional")
    if group is not None and (not isinstance(group, int) or not 1 <= group <= 230):
        raise StructureError(f"{identifier}: spacegroup_number {group!r} is not from 1 to 230")
    if volume is not None and (not isinstance(volume, int | float) or not volume > 0):
        raise StructureError(f"{identifier}: volume_conventional {volume!r} is not above 0")
    if not wanted(identifier, group, volume):
        return Outside(identifier)
    structure = row.get("structure")
    if structure is None:
        raise StructureError(f"{identifier}: has no structure")
    if not isinstance(structure, Mapping) and hasattr(structure, "as_dict"):
        structure = structure.as_dict()
    atoms_of(structure, identifier)
    stated = row.get("source")
    reference = stated if isinstance(stated, str) and stated else name
    version = row.get("database_version")
    return SourceItem(
        material_id=identifier,
        values=structure,
        source={"kind": kind, "identifier": identifier, "reference": reference},
        licence=str(row.get("licence") or "unknown"),
        space_group=group,
        volume=float(volume) if volume is not None else None,
        formula=str(row["formula_pretty"]) if row.get("formula_pretty") else None,
        database_version=str(version) if version else None,
        last_updated=_time(row.get("last_updated"), identifier),
    )


def _time(value: Any, identifier: str) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise StructureError(f"{identifier}: last_updated {value!r} is not a time") from None

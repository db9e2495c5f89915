"""What the Materials Project says of an entry: a line of its list, and the entry itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from ebsdsg_flows.atoms import StructureError, atoms_of
from ebsdsg_flows.imports.cell_limits import conventional_volume
from ebsdsg_flows.sources import NON_COMMERCIAL
from stores.documents import Origin, SourceStructureDocument, entry_hash
from stores.documents.base import explain

KIND = "materials project"
CITATION = "A. Jain et al., APL Materials 1, 011002 (2013), doi:10.1063/1.4812323"
FREE = "CC-BY-4.0 (Materials Project)"
NON_COMMERCIAL_MARK = "BY-NC"
GNOME_BATCH = "gnome_r2scan_statics"

LIST_FIELDS = (
    "material_id",
    "symmetry",
    "volume",
    "composition",
    "last_updated",
    "deprecated",
    "deprecation_reasons",
)
ENTRY_FIELDS = (*LIST_FIELDS, "formula_pretty", "structure", "builder_meta")


@dataclass(frozen=True)
class ListedEntry:
    """One line of a list of summaries.

    Attributes
    ----------
    material_id : identifier.
    space_group : number.
    volume : of the cell as given [Å^3].
    composition : element to atoms in that cell, if said.
    last_updated : by the Materials Project, in UTC at millisecond resolution, if said.
    deprecated : whether it is withdrawn.
    reasons : why.
    """

    material_id: str
    space_group: int
    volume: float
    composition: Mapping[str, float] | None
    last_updated: datetime | None
    deprecated: bool
    reasons: tuple[str, ...]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> ListedEntry:
        """Line from a summary.

        Raises
        ------
        StructureError
            If group, volume, composition or the time of the last update are missing or malformed.
        """
        identifier = str(row["material_id"])
        try:
            space_group, volume = int(row["symmetry"]["number"]), float(row["volume"])
            if not 1 <= space_group <= 230:
                raise ValueError(f"space group {space_group} is not from 1 to 230")
            if not 0 < volume < math.inf:
                raise ValueError(f"volume {volume} is not a finite number above 0")
            return cls(
                material_id=identifier,
                space_group=space_group,
                volume=volume,
                composition=_composition(row.get("composition")),
                last_updated=_time(row.get("last_updated")),
                deprecated=bool(row.get("deprecated", False)),
                reasons=tuple(str(r) for r in row.get("deprecation_reasons") or ()),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise StructureError(
                f"{identifier}: the summary is malformed ({type(error).__name__}: {error})"
            ) from None


def licence_of(row: Mapping[str, Any]) -> str:
    """Licence of an entry: the Materials Project's own, or that of the GNoME entries.

    Raises
    ------
    StructureError
        If what says it is malformed.
    """
    meta = row.get("builder_meta") or {}
    if not isinstance(meta, Mapping):
        raise StructureError(
            f"{row['material_id']}: the summary is malformed (builder_meta is no mapping), its "
            "licence cannot be told"
        )
    return NON_COMMERCIAL if meta.get("license") == NON_COMMERCIAL_MARK else FREE


def entry_of_row(
    row: Mapping[str, Any], *, version: str, endpoint: str, superseded_by: str | None = None
) -> SourceStructureDocument:
    """Document of a summary.

    Parameters
    ----------
    row : with the fields :data:`ENTRY_FIELDS`.
    version : of the database.
    endpoint : address of the server.
    superseded_by : what replaces it, if it is withdrawn and something does.

    Raises
    ------
    StructureError
        If the summary is malformed or its atoms cannot be used.
    """
    listed = ListedEntry.of(row)
    identifier, structure = listed.material_id, row.get("structure")
    if not isinstance(structure, Mapping):
        raise StructureError(f"{identifier}: the summary has no structure")
    volume = conventional_volume(atoms_of(structure, identifier), listed.space_group)
    licence = licence_of(row)
    try:
        return SourceStructureDocument(
            key=identifier,
            material_id=identifier,
            structure=dict(structure),
            formula_pretty=row.get("formula_pretty") or "",
            source=Origin(
                kind=KIND,
                identifier=identifier,
                reference=endpoint,
                database_version=version,
                last_updated=listed.last_updated,
            ),
            licence=licence,
            citation=CITATION,
            deprecated=listed.deprecated,
            deprecation_reasons=list(listed.reasons),
            superseded_by=superseded_by if listed.deprecated else None,
            space_group=listed.space_group,
            volume_conventional=round(volume, 6),
            entry_hash=entry_hash(
                structure,
                space_group=listed.space_group,
                deprecated=listed.deprecated,
                licence=licence,
            ),
        )
    except ValidationError as error:
        raise StructureError(explain("entry", identifier, error)) from None
    except ValueError as error:
        raise StructureError(f"{identifier}: {error}") from None


def _composition(value: Any) -> dict[str, float] | None:
    """Atoms of each element, if said."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise TypeError("composition is no mapping")
    composition = {str(element): float(amount) for element, amount in value.items()}
    if not all(0 < amount < math.inf for amount in composition.values()):
        raise ValueError(f"composition {composition} has amounts that are not above 0")
    return composition


def _time(value: Any) -> datetime | None:
    """Time of a summary: ISO text, or MongoDB's extended JSON ``{"$date": …}``."""
    if isinstance(value, Mapping):
        value = value["$date"]
    if value is None:
        return None
    time = datetime.fromisoformat(value)
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)

"""One imported entry becomes a labelled structure, or a reason why it cannot be used."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

from ebsdsg_flows.atoms import StructureError
from ebsdsg_flows.structures import structure_document
from stores.documents import Source, UnusableStructureDocument

logger = logging.getLogger(__name__)

ORIGIN_FIELDS = ("kind", "identifier", "reference")


def label_entry(entry: Mapping[str, Any], symprec: float) -> dict[str, Any]:
    """Structure document of one entry, or the document that says why there is none.

    Parameters
    ----------
    entry : values of a `stores.documents.SourceStructureDocument`
    symprec : tolerance of the symmetry search [Å]

    Returns
    -------
    ``{"structure": values}`` or ``{"unusable": values}``, ready for the database.  No database is
    asked here, so that it can run in any process.
    """
    key = entry["key"]
    source = origin(entry)
    kind: Literal["withdrawn", "refused", "defect"] = "refused"
    try:
        if not entry.get("deprecated"):
            document = structure_document(
                entry["structure"], key, source=source, licence=entry["licence"], symprec=symprec
            )
            return {"structure": document.to_mongo() | {"built_from": entry["last_updated"]}}
        kind, reason = "withdrawn", withdrawal(entry)
    except StructureError as error:
        reason = str(error)
    except Exception as error:  # a defect met in one entry must not stop the other thousands
        logger.exception("defect while labelling %s", key)
        kind, reason = "defect", f"{key}: {type(error).__name__}: {error}"
    unusable = UnusableStructureDocument(
        key=key,
        material_id=key,
        reason=reason,
        kind=kind,
        formula=entry.get("formula_pretty") or "",
        symprec=symprec,
        source=source,
        licence=entry["licence"],
    )
    return {"unusable": unusable.to_mongo() | {"built_from": entry["last_updated"]}}


def label_entries(entries: list[dict[str, Any]], symprec: float) -> list[dict[str, Any]]:
    """`label_entry` of several, for a process of a pool."""
    return [label_entry(entry, symprec) for entry in entries]


def origin(entry: Mapping[str, Any]) -> Source:
    """Where an entry came from, with the version of the database that it was read from."""
    source = Source(**{name: entry["source"].get(name, "") for name in ORIGIN_FIELDS})
    version = entry["source"].get("database_version")
    if version:
        source.reference = f"{source.reference}, database {version}".removeprefix(", ")
    return source


def withdrawal(entry: Mapping[str, Any]) -> str:
    """Why a withdrawn entry is not used, and what replaces it."""
    reasons = ", ".join(entry.get("deprecation_reasons") or []) or "no reason given"
    other = entry.get("superseded_by")
    return f"{entry['key']}: withdrawn by its source ({reasons})" + (
        f"; {other} replaces it" if other else ""
    )

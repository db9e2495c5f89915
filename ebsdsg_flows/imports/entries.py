"""Entries on their way into the database: only what is new or changed is written.

An entry is compared by the hash of its content, so that an import that finds nothing new leaves
``last_updated`` alone and the incremental builders downstream have nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ebsdsg_flows.atoms import StructureError
from ebsdsg_flows.sources import SourceItem
from stores.documents import Origin, SourceStructureDocument, entry_hash
from stores.documents.base import explain
from stores.states import now

if TYPE_CHECKING:
    from stores.collections import Stores

COMPARED = ("entry_hash", "superseded_by")
HELD = {
    "_id": False,
    "key": True,
    "entry_hash": True,
    "superseded_by": True,
    "deprecated": True,
    "space_group": True,
    "volume_conventional": True,
    "source.kind": True,
    "source.last_updated": True,
    "created": True,
}


def held_entries(stores: Stores, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What is needed to judge the entries of some keys that are in the database already."""
    found = stores.source_structures.find({"key": {"$in": list(keys)}}, HELD)
    return {values["key"]: values for values in found}


def held_elsewhere(held: Mapping[str, Any], kind: str) -> str | None:
    """Reason against taking an entry that another source gave, ``None`` if there is none."""
    if held["source"]["kind"] == kind:
        return None
    return (
        f"is held from another source ({held['source']['kind']}); import with --replace to take "
        "this one instead"
    )


def write_entries(
    stores: Stores, documents: Sequence[SourceStructureDocument], *, replace: bool = False
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Write those of some entries that are new or changed.

    Parameters
    ----------
    stores : open database.
    documents : entries, each key once.
    replace : take entries that are held from another kind of source, too.

    Returns
    -------
    results : key to ``new``, ``changed`` or ``unchanged``.
    refused : key and reason.
    """
    from pymongo import UpdateOne

    held = held_entries(stores, [document.key for document in documents])
    results: dict[str, str] = {}
    refused: list[tuple[str, str]] = []
    new: list[SourceStructureDocument] = []
    updates: list[UpdateOne] = []
    for document in documents:
        old = held.get(document.key)
        if old is None:
            new.append(document)
            results[document.key] = "new"
            continue
        reason = held_elsewhere(old, document.source.kind)
        if reason is not None and not replace:
            refused.append((document.key, f"{document.key} {reason}"))
            continue
        if reason is None and all(old[name] == getattr(document, name) for name in COMPARED):
            results[document.key] = "unchanged"
            stated = document.source.last_updated
            if stated != old["source"].get("last_updated"):
                # the source touched it without changing it: remembered, so as not to ask again
                updates.append(
                    UpdateOne({"key": document.key}, {"$set": {"source.last_updated": stated}})
                )
            continue
        values = {**document.to_mongo(), "last_updated": now()}
        values.pop("created")
        updates.append(UpdateOne({"key": document.key}, {"$set": values}))
        results[document.key] = "changed"
    stores.add_many(new)
    if updates:
        stores.source_structures.bulk_write(updates, ordered=False)
    return results, refused


def withdraw(
    stores: Stores, key: str, *, superseded_by: str | None, reason: str, version: str | None
) -> bool:
    """Mark an entry that its source no longer has; it stays as it was otherwise.

    Parameters
    ----------
    stores : open database.
    key : of the entry.
    superseded_by : what replaces it, if anything does.
    reason : in one sentence.
    version : of the database in which it was found missing.

    Returns
    -------
    Whether there is such an entry.
    """
    held = stores.get(SourceStructureDocument, key)
    if held is None:
        return False
    changes: dict[str, Any] = {
        "deprecated": True,
        "superseded_by": superseded_by,
        "deprecation_reasons": [reason],
        "entry_hash": entry_hash(
            held.structure, space_group=held.space_group, deprecated=True, licence=held.licence
        ),
    }
    if all(getattr(held, name) == changes[name] for name in (*COMPARED, "deprecated")):
        return True
    stores.source_structures.update_one(
        {"key": key},
        {"$set": {**changes, "source.database_version": version, "last_updated": now()}},
    )
    return True


def entry_of_item(item: SourceItem) -> SourceStructureDocument:
    """Document of an item of any source.

    Raises
    ------
    StructureError
        If the item does not make a valid document.
    """
    try:
        formula = item.formula or item.structure.composition.reduced_formula
    except Exception as error:  # pymatgen fails in many ways, all of them mean this
        raise StructureError(
            f"{item.material_id}: pymatgen cannot read the structure "
            f"({type(error).__name__}: {error})"
        ) from None
    try:
        return SourceStructureDocument(
            key=item.material_id,
            material_id=item.material_id,
            structure=dict(item.values),
            formula_pretty=formula,
            source=Origin(
                kind=item.source["kind"],
                identifier=item.source["identifier"],
                reference=item.source.get("reference", ""),
                database_version=item.database_version,
                last_updated=item.last_updated,
            ),
            licence=item.licence,
            space_group=item.space_group,
            volume_conventional=item.volume,
            entry_hash=entry_hash(
                item.values,
                space_group=item.space_group,
                deprecated=False,
                licence=item.licence,
            ),
        )
    except ValidationError as error:
        raise StructureError(explain("entry", item.material_id, error)) from None
    except ValueError as error:
        raise StructureError(f"{item.material_id}: {error}") from None


def keys_withdrawable(
    stores: Stores,
    kind: str,
    group: int | None,
    keys: Iterable[str],
    *,
    limit: float | None = None,
    without_licence: str | None = None,
) -> list[str]:
    """Entries of a source that are not among those it lists now, and are not marked yet.

    Parameters
    ----------
    stores : open database.
    kind : of the source.
    group : space group of the list, ``None`` for a list of all groups.
    keys : listed identifiers.
    limit : volume [Å^3] of the conventional cell up to which the list is complete.
    without_licence : licence of entries that are not listed, although they are still there.
    """
    condition: dict[str, Any] = {"source.kind": kind, "deprecated": False}
    if group is not None:
        condition["space_group"] = group
    if limit is not None:
        condition["volume_conventional"] = {"$lt": limit}
    if without_licence is not None:
        condition["licence"] = {"$ne": without_licence}
    listed = set(keys)
    found = stores.source_structures.find(condition, {"key": True})
    return sorted(values["key"] for values in found if values["key"] not in listed)

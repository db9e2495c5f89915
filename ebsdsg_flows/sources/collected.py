"""Structures that were imported before: the entries in the database."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ebsdsg_flows.sources.items import (
    MATERIALS_PROJECT,
    NON_COMMERCIAL,
    Query,
    Refused,
    SourceError,
    SourceItem,
)
from stores.documents import SourceStructureDocument

if TYPE_CHECKING:
    from stores.collections import Stores

KINDS = {MATERIALS_PROJECT: "materials project"}
"""Name of a source in a campaign file to the kind of its entries."""

logger = logging.getLogger(__name__)


def collected_items(query: Query, stores: Stores) -> Iterator[SourceItem | Refused]:
    """Imported entries of a source and of the groups and materials of a query, by identifier.

    Parameters
    ----------
    query : its source is ``materials_project`` (what was imported from there) or ``imported`` (all)
    stores : open database

    Raises
    ------
    SourceError
        If nothing was imported from there.

    Notes
    -----
    Entries that their source has withdrawn are refused, with what replaces them; so are those whose
    licence the query does not take, which an import for another campaign may have brought.  That an
    import did not end complete is logged as a warning.
    """
    condition: dict[str, object] = {}
    if query.source in KINDS:
        condition["source.kind"] = KINDS[query.source]
        _warn_if_incomplete(stores, KINDS[query.source])
    if stores.source_structures.find_one(condition, {"_id": True}) is None:
        raise SourceError(
            f"nothing was imported yet for the source {query.source!r}: run "
            "`ebsdsg import` with the campaign file (or a file, folder or store) first"
        )
    if query.groups:
        # entries without a group may have the wanted one
        condition["space_group"] = {"$in": [*query.groups, None]}
    if query.materials:
        condition["key"] = {"$in": list(query.materials)}
    for values in stores.source_structures.find(condition, {"_id": False}).sort("key", 1):
        entry = SourceStructureDocument.from_mongo(values)
        if entry.deprecated:
            replaced = f"; {entry.superseded_by} replaces it" if entry.superseded_by else ""
            reason = ", ".join(entry.deprecation_reasons) or "no reason given"
            yield Refused(entry.key, f"{entry.key}: withdrawn by its source ({reason}){replaced}")
            continue
        if entry.licence == NON_COMMERCIAL and not query.include_gnome:
            reason = f"{entry.key}: {NON_COMMERCIAL}; set include_gnome to take it"
            yield Refused(entry.key, reason)
            continue
        origin = entry.source
        reference = f"{origin.reference}, database {origin.database_version}"
        yield SourceItem(
            material_id=entry.material_id,
            values=entry.structure,
            source={
                "kind": origin.kind,
                "identifier": origin.identifier,
                "reference": reference if origin.database_version else origin.reference,
            },
            licence=entry.licence,
            space_group=entry.space_group,
            volume=entry.volume_conventional,
            formula=entry.formula_pretty,
            database_version=origin.database_version,
            last_updated=origin.last_updated,
        )


def _warn_if_incomplete(stores: Stores, kind: str) -> None:
    last = stores.imports.find_one(
        {"source": kind}, {"state": True, "missing": True}, sort=[("created", -1)]
    )
    if last is not None and last["state"] != "completed":
        logger.warning(
            "the last import from the %s is not complete (%s, %d parts missing): "
            "`ebsdsg import ... --resume` reads the rest",
            kind,
            last["state"],
            len(last["missing"]),
        )

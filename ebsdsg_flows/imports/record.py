"""The document of an import: begun, continued where it stopped, and ended with what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.imports.errors import ImportFailed
from stores.documents import ImportDocument, Missing, Refusal
from stores.identity import content_hash
from stores.owners import is_gone, this_process
from stores.states import State, now, transition

if TYPE_CHECKING:
    from stores.collections import Stores

KEPT_REFUSALS = 1000
"""Refusals with their reasons that an import's document keeps; all are counted."""


class ImportRecord:
    """One import as it goes on, saved after each step.

    Made by :func:`begin`.

    Attributes
    ----------
    document : as last saved.
    resumed : whether it continues an earlier one.
    """

    def __init__(self, stores: Stores, document: ImportDocument, *, resumed: bool) -> None:
        self.document = document
        self.resumed = resumed
        self._stores = stores

    def count(self, name: str, amount: int = 1) -> None:
        """Add to one of the counts; saved with the next step."""
        counts = self.document.counts
        counts[name] = counts.get(name, 0) + amount

    def refuse(self, identifier: str, reason: str) -> None:
        """Count an entry that cannot be taken and keep its reason."""
        self.count("refused")
        if len(self.document.refused) < KEPT_REFUSALS:
            self.document.refused.append(Refusal(identifier=identifier, reason=reason))

    def save(self, *names: str) -> None:
        """Save counts, refusals and the named fields of the document."""
        values = self.document.to_mongo()
        changed = {name: values[name] for name in ("counts", "refused", *names)}
        self._stores.imports.update_one(
            {"key": self.document.key}, {"$set": {**changed, "last_updated": now()}}
        )

    def end(self, missing: Sequence[Missing]) -> ImportDocument:
        """End the import: completed if nothing is missing, else failed.

        Returns
        -------
        The document.
        """
        values = self.document.model_copy(update={"missing": list(missing)}).to_mongo()
        fields = {
            name: values[name]
            for name in ("counts", "refused", "missing", "listings", "pending", "database_version")
        }
        done = transition(
            self._stores.imports,
            self.document.key,
            State.RUNNING,
            State.FAILED if missing else State.COMPLETED,
            fields={**fields, "ended": now()},
        )
        self.document = ImportDocument.from_mongo(done)
        return self.document


def begin(
    stores: Stores, source: str, query: Mapping[str, Any], *, resume: bool | None
) -> ImportRecord:
    """Begin an import, or continue the last one of the same question if that did not end complete.

    Parameters
    ----------
    stores : open database.
    source, query : the question.
    resume : ``True`` insists on something to continue, ``False`` starts afresh, ``None`` continues
        if it can.

    Raises
    ------
    ImportFailed
        If the same import is running, or there is nothing to continue and there must be.
    """
    question = content_hash({"source": source, "query": dict(query)})
    last = stores.imports.find_one({"query_hash": question}, {"_id": False}, sort=[("created", -1)])
    old = None if last is None else ImportDocument.from_mongo(last)
    if old is not None and old.state is State.RUNNING:
        us = this_process()
        elsewhere = old.owner is not None and old.owner.host != us.host
        if old.owner is not None and not is_gone(old.owner) and not (elsewhere and resume is False):
            raise ImportFailed(
                f"this import runs at present: process {old.owner.pid} on {old.owner.host} "
                f"(import {old.key}); wait for it or end it"
                + ("; if that machine is gone for good, import with --afresh" if elsewhere else "")
            )
        transition(stores.imports, old.key, State.RUNNING, State.LOST)
        old.state = State.LOST
    fields: dict[str, Any] = {"owner": this_process().model_dump(), "started": now()}
    if old is not None and old.state is not State.COMPLETED and resume is not False:
        if old.state is not State.WAITING:
            transition(stores.imports, old.key, old.state, State.WAITING)
        running = transition(
            stores.imports,
            old.key,
            State.WAITING,
            State.RUNNING,
            fields={**fields, "missing": []},
            unset=["ended"],
            increment={"attempts": 1},
        )
        return ImportRecord(stores, ImportDocument.from_mongo(running), resumed=True)
    if resume:
        raise ImportFailed(
            "nothing to resume: "
            + ("there was no such import" if old is None else "the last such import is complete")
        )
    document = ImportDocument(source=source, query=dict(query), query_hash=question)
    stores.add(document)
    running = transition(
        stores.imports,
        document.key,
        State.WAITING,
        State.RUNNING,
        fields=fields,
        increment={"attempts": 1},
    )
    return ImportRecord(stores, ImportDocument.from_mongo(running), resumed=False)

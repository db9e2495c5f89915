"""The entries of the Materials Project: fetched in batches, with what became of those gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ebsdsg_flows.atoms import StructureError
from ebsdsg_flows.imports.attempt import Attempt
from ebsdsg_flows.imports.entries import (
    held_elsewhere,
    held_entries,
    withdraw,
    write_entries,
)
from ebsdsg_flows.imports.errors import NoAnswer
from ebsdsg_flows.imports.summary_rows import ENTRY_FIELDS, KIND, entry_of_row, licence_of
from ebsdsg_flows.sources import NON_COMMERCIAL
from stores.documents import Missing, SourceStructureDocument


class Entries:
    """What is pending of an import.

    Parameters
    ----------
    attempt : what the parts of the import share.
    size : structures asked for at once.
    replace : take entries that are held from another kind of source, too.
    """

    def __init__(self, attempt: Attempt, size: int, *, replace: bool) -> None:
        self.attempt = attempt
        self.size = size
        self.replace = replace

    def missing(self, reason: str) -> list[Missing]:
        """What is still pending, with the reason of each or else the given one."""
        by_reason: dict[str, list[str]] = {}
        for identifier in self.attempt.pending:
            why = self.attempt.reasons.get(identifier, reason)
            by_reason.setdefault(why, []).append(identifier)
        return [Missing(what="entries", ids=ids, reason=why) for why, ids in by_reason.items()]

    def fetch(self) -> None:
        """Fetch the structures of everything that is pending."""
        ids = list(self.attempt.pending)
        for start in range(0, len(ids), self.size):
            self.attempt.display.show("entries", start, len(ids))
            batch = ids[start : start + self.size]
            try:
                self._fetch_batch(batch)
            except NoAnswer as error:
                for identifier in batch:
                    if identifier in self.attempt.pending:
                        self.attempt.reasons[identifier] = str(error)
            self.attempt.save()
        self.attempt.display.show("entries", len(ids) - len(self.attempt.pending), len(ids))

    def _fetch_batch(self, ids: Sequence[str]) -> None:
        rows, _ = self.attempt.ask(
            lambda: self.attempt.client.page(
                {"material_ids": ",".join(ids)}, ENTRY_FIELDS, skip=0, limit=len(ids)
            )
        )
        given = {str(row.get("material_id")): row for row in rows}
        gone = [i for i in ids if i not in given or given[i].get("deprecated")]
        self._take([given[i] for i in ids if i not in gone], {})
        if gone:
            successors = self.attempt.ask(lambda: self.attempt.client.successors(gone))
            self._take([given[i] for i in gone if i in given], successors)
            for identifier in (i for i in gone if i not in given):
                self._withdraw(identifier, successors.get(identifier))

    def _take(self, rows: Iterable[Mapping[str, Any]], successors: Mapping[str, str]) -> None:
        """Write entries, and count what became of each; none is done before it is written."""
        documents: list[SourceStructureDocument] = []
        refused: list[tuple[str, str]] = []
        rows = list(rows)
        held = held_entries(self.attempt.stores, [str(row["material_id"]) for row in rows])
        for row in rows:
            identifier = str(row["material_id"])
            replaced = successors.get(identifier)
            try:
                if licence_of(row) == NON_COMMERCIAL and not self.attempt.query.include_gnome:
                    raise StructureError(
                        f"{identifier}: {NON_COMMERCIAL}; set include_gnome to take it"
                    )
                document = entry_of_row(
                    row,
                    version=self.attempt.version,
                    endpoint=self.attempt.client.endpoint,
                    superseded_by=replaced,
                )
            except StructureError as error:
                refused.append((identifier, str(error)))
                continue
            if document.deprecated and identifier not in held:
                reasons = ", ".join(document.deprecation_reasons) or "no reason given"
                withdrawn = f"{identifier}: withdrawn by the Materials Project ({reasons})"
                instead = f"; {replaced} replaces it" if replaced else ""
                refused.append((identifier, withdrawn + instead))
                continue
            documents.append(document)
        results, not_replaced = write_entries(self.attempt.stores, documents, replace=self.replace)
        for identifier, reason in (*refused, *not_replaced):
            self.attempt.record.refuse(identifier, reason)
            self.attempt.pending.pop(identifier, None)
        for document in documents:
            if (result := results.get(document.key)) is not None:
                self.attempt.record.count(self._counted_as(document, result))
                self.attempt.pending.pop(document.key, None)

    def _counted_as(self, document: SourceStructureDocument, result: str) -> str:
        if document.deprecated:
            return "deprecated"
        limit = self.attempt.query.max_volume.get(document.space_group or 0)
        volume = document.volume_conventional
        return "outside" if limit and volume and volume >= limit else result

    def _withdraw(self, identifier: str, successor: str | None) -> None:
        """Mark an entry that the database does not have any more."""
        reason = f"not in database {self.attempt.version}"
        held = held_entries(self.attempt.stores, [identifier]).get(identifier)
        if held is not None and held_elsewhere(held, KIND) is None:
            withdraw(
                self.attempt.stores,
                identifier,
                superseded_by=successor,
                reason=reason,
                version=self.attempt.version,
            )
            self.attempt.record.count("deprecated")
        else:
            self.attempt.record.refuse(
                identifier,
                f"{identifier}: {reason}" + (f"; {successor} replaces it" if successor else ""),
            )
        self.attempt.pending.pop(identifier, None)

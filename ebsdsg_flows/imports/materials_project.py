"""An import from the Materials Project: list, compare, fetch what is new, ask for what is gone.

The list of each space group is read page by page without structures, which is cheap.  Entries that
are held and were not updated since need nothing more; those that cannot be within the limits on
the conventional cell are left; the structures of the others are fetched in batches.  Entries that
are held but not listed any more are asked for by their identifiers.  Every step is saved, so an
import goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any, TypeVar

from ebsdsg_flows.atoms import StructureError
from ebsdsg_flows.imports.cell_limits import largest_volume_to_list, smallest_conventional_volume
from ebsdsg_flows.imports.display import ImportDisplay
from ebsdsg_flows.imports.entries import (
    held_elsewhere,
    held_entries,
    keys_withdrawable,
    withdraw,
    write_entries,
)
from ebsdsg_flows.imports.errors import NoAnswer, Rejected
from ebsdsg_flows.imports.record import ImportRecord, begin
from ebsdsg_flows.imports.summary_rows import (
    ENTRY_FIELDS,
    GNOME_BATCH,
    KIND,
    LIST_FIELDS,
    NON_COMMERCIAL,
    ListedEntry,
    entry_of_row,
    licence_of,
)
from stores.documents import ImportDocument, Listing, Missing

if TYPE_CHECKING:
    from ebsdsg_flows.campaign import StructureQuery
    from ebsdsg_flows.imports.client import MaterialsProject
    from stores.collections import Stores
    from stores.documents import SourceStructureDocument

GIVE_UP_AFTER = 3
"""Requests in a row that got no answer, each after all its attempts, before an import stops."""

T = TypeVar("T")


class _Stop(Exception):
    """The server is not there any more; the message says what it said last."""


def import_materials_project(
    stores: Stores,
    query: StructureQuery,
    client: MaterialsProject,
    *,
    resume: bool | None = None,
    replace: bool = False,
    display: ImportDisplay | None = None,
    page_size: int = 1000,
    batch_size: int = 100,
) -> ImportDocument:
    """Bring the entries of the Materials Project that a query asks for into the database.

    Parameters
    ----------
    stores : open database.
    query : groups, limits on the conventional cell, and identifiers if only some are wanted.
    client : connection.
    resume, replace : see :func:`~ebsdsg_flows.imports.record.begin` and
        :func:`~ebsdsg_flows.imports.entries.write_entries`.
    display : of the progress.
    page_size : entries on a page of a list (the server gives 1000 at most).
    batch_size : structures asked for at once.

    Returns
    -------
    The import's document: completed, or failed with what is missing.

    Raises
    ------
    ImportFailed
        If the same import runs elsewhere, or there is nothing to resume.
    KeyboardInterrupt
        After the import was recorded as it stands.
    """
    question = {
        "groups": sorted(query.groups),
        "materials": sorted(query.materials),
        "max_volume": {str(g): v for g, v in sorted(query.max_volume.items())},
        "include_gnome": query.include_gnome,
        "endpoint": client.endpoint,
        "page_size": page_size,
        "batch_size": batch_size,
    }
    record = begin(stores, KIND, question, resume=resume)
    run = _Run(stores, query, client, record, display or ImportDisplay(quiet=True), replace)
    return run.run(page_size, batch_size)


class _Run:
    """One attempt at an import."""

    def __init__(
        self,
        stores: Stores,
        query: StructureQuery,
        client: MaterialsProject,
        record: ImportRecord,
        display: ImportDisplay,
        replace: bool,
    ) -> None:
        self.stores = stores
        self.query = query
        self.client = client
        self.record = record
        self.display = display
        self.replace = replace
        self.document = record.document
        self.pending = dict.fromkeys(record.document.pending)
        self.version = ""
        self.reasons: dict[object, str] = {}
        self.failures = 0

    def run(self, page_size: int, batch_size: int) -> ImportDocument:
        """Import; whatever happens, the document then says what is missing."""
        reason = "not reached"
        try:
            self._agree_on_version()
            for listing in self._listings():
                self._list(listing, batch_size if self.query.materials else page_size)
            self._ask_for_unlisted(page_size)
            self._fetch(batch_size)
        except (_Stop, Rejected) as error:
            reason = str(error)
        except BaseException as error:
            reason = "interrupted" if isinstance(error, KeyboardInterrupt) else repr(error)[:300]
            self.record.end(self._missing(reason, page_size, batch_size))
            raise
        return self.record.end(self._missing(reason, page_size, batch_size))

    def _ask(self, call: Callable[[], T]) -> T:
        """Answer of a request; stops the import when nothing has been answered for long."""
        try:
            answer = call()
        except NoAnswer as error:
            self.failures += 1
            if self.failures >= GIVE_UP_AFTER:
                raise _Stop(f"{error}; {self.failures} requests in a row had no answer") from None
            raise
        self.failures = 0
        return answer

    def _agree_on_version(self) -> None:
        """Start the lists again if the database is another one than that of the first attempt."""
        try:
            self.version = self.client.database_version()
        except NoAnswer as error:
            raise _Stop(str(error)) from None
        document = self.document
        if document.database_version not in (None, self.version):
            self.display.say(
                f"the database is {self.version} now and was {document.database_version}: "
                "the lists are read again"
            )
            document.listings, document.counts, document.refused = [], {}, []
            self.pending.clear()
        document.database_version = self.version
        self._save("database_version")

    def _save(self, *names: str) -> None:
        self.document.pending = list(self.pending)
        self.record.save("listings", "pending", *names)

    # -- lists -------------------------------------------------------------------------------

    def _listings(self) -> Iterator[Listing]:
        """The list of each group, or one for the identifiers that were asked for."""
        known = {listing.group: listing for listing in self.document.listings}
        one = bool(self.query.materials) or not self.query.groups
        for group in (None,) if one else self.query.groups:
            if group not in known:
                known[group] = Listing(group=group)
                self.document.listings.append(known[group])
        yield from list(self.document.listings)

    def _criteria(self, group: int | None) -> dict[str, Any]:
        if group is None:
            # the client takes a query without any criterion for a download of everything
            criteria: dict[str, Any] = {"volume_min": 0.0}
        else:
            criteria = {"spacegroup_number": group}
            if group in self.query.max_volume:
                criteria["volume_max"] = largest_volume_to_list(self.query.max_volume[group], group)
        if not self.query.include_gnome:
            criteria["batch_id_not_eq"] = GNOME_BATCH
        return criteria

    def _list(self, listing: Listing, size: int) -> None:
        """Read the pages of a list that were not read yet."""
        page = 1
        while listing.total is None or page <= ceil(listing.total / size):
            if page not in listing.pages_done:
                self._show_list(listing, size)
                try:
                    self._read_page(listing, page, size)
                except NoAnswer as error:
                    self.reasons[listing.group, page] = str(error)
                    if listing.total is None:
                        return
            page += 1
        seen = len(set(listing.listed))
        if not self.query.materials and _is_complete(listing, size) and seen < listing.total:
            listing.pages_done.clear()
            self._save()
            self.reasons[listing.group, None] = (
                f"the list changed while it was read: {seen} of {listing.total} entries were seen"
            )
        self._show_list(listing, size)

    def _read_page(self, listing: Listing, page: int, size: int) -> None:
        skip = (page - 1) * size
        if self.query.materials:
            wanted = sorted(self.query.materials)[skip : skip + size]
            rows, _ = self._ask(
                lambda: self.client.page(
                    {"material_ids": ",".join(wanted)}, LIST_FIELDS, skip=0, limit=size
                )
            )
            listing.total = len(self.query.materials)
            given = {str(row.get("material_id")) for row in rows}
            # what is not listed is asked for once more, with what replaces it
            self.pending.update(dict.fromkeys(i for i in wanted if i not in given))
        else:
            rows, total = self._ask(
                lambda: self.client.page(
                    self._criteria(listing.group), LIST_FIELDS, skip=skip, limit=size
                )
            )
            listing.total = total
            if len(rows) < min(size, total - skip):
                raise NoAnswer(
                    f"page {page} has {len(rows)} entries instead of {min(size, total - skip)}"
                )
        self._judge(rows, listing)
        listing.pages_done.append(page)
        self._save()

    def _judge(self, rows: Sequence[Mapping[str, Any]], listing: Listing) -> None:
        """Decide for each listed entry whether its structure is needed."""
        seen = set(listing.listed)
        held = held_entries(self.stores, [str(row.get("material_id")) for row in rows])
        for i, row in enumerate(rows, 1):
            identifier = str(row.get("material_id") or f"entry {i} of a page without material_id")
            if identifier in seen:
                continue
            seen.add(identifier)
            listing.listed.append(identifier)
            try:
                entry = ListedEntry.of({**row, "material_id": identifier})
            except StructureError as error:
                self.record.refuse(identifier, str(error))
                continue
            result = self._result_without_structure(entry, held.get(identifier))
            if result is None:
                self.pending[identifier] = None
            else:
                self.record.count(result)

    def _result_without_structure(
        self, entry: ListedEntry, held: Mapping[str, Any] | None
    ) -> str | None:
        """``unchanged``, ``deprecated`` or ``outside``; ``None`` if the structure is needed."""
        limit = self.query.max_volume.get(entry.space_group)
        if held is None:
            smallest = smallest_conventional_volume(
                entry.volume, entry.space_group, entry.composition
            )
            outside = limit is not None and smallest >= limit and not entry.deprecated
            return "outside" if outside else None
        same = (
            held_elsewhere(held, KIND) is None
            and entry.last_updated is not None
            and held["source"].get("last_updated") == entry.last_updated
            and held["space_group"] == entry.space_group
            and held["deprecated"] == entry.deprecated
        )
        if not same:
            return None
        if entry.deprecated:
            return "deprecated"
        volume = held["volume_conventional"]
        return "outside" if limit is not None and volume >= limit else "unchanged"

    def _ask_for_unlisted(self, size: int) -> None:
        """Add what is held and should have been listed, but was not."""
        if self.query.materials:
            return
        for listing in self.document.listings:
            if _is_complete(listing, size):
                gone = keys_withdrawable(
                    self.stores,
                    KIND,
                    listing.group,
                    listing.listed,
                    limit=self.query.max_volume.get(listing.group or 0),
                    without_licence=None if self.query.include_gnome else NON_COMMERCIAL,
                )
                self.pending.update(dict.fromkeys(gone))
        self._save()

    # -- entries -----------------------------------------------------------------------------

    def _fetch(self, size: int) -> None:
        """Fetch the structures of everything that is pending."""
        ids = list(self.pending)
        for start in range(0, len(ids), size):
            self.display.show("entries", start, len(ids))
            batch = ids[start : start + size]
            try:
                self._fetch_batch(batch)
            except NoAnswer as error:
                for identifier in batch:
                    if identifier in self.pending:
                        self.reasons[identifier] = str(error)
            self._save()
        self.display.show("entries", len(ids) - len(self.pending), len(ids))

    def _fetch_batch(self, ids: Sequence[str]) -> None:
        rows, _ = self._ask(
            lambda: self.client.page(
                {"material_ids": ",".join(ids)}, ENTRY_FIELDS, skip=0, limit=len(ids)
            )
        )
        given = {str(row.get("material_id")): row for row in rows}
        gone = [i for i in ids if i not in given or given[i].get("deprecated")]
        self._take([given[i] for i in ids if i not in gone], {})
        if gone:
            successors = self._ask(lambda: self.client.successors(gone))
            self._take([given[i] for i in gone if i in given], successors)
            for identifier in (i for i in gone if i not in given):
                self._withdraw(identifier, successors.get(identifier))

    def _take(self, rows: Iterable[Mapping[str, Any]], successors: Mapping[str, str]) -> None:
        """Write entries, and count what became of each."""
        documents: list[SourceStructureDocument] = []
        rows = list(rows)
        held = held_entries(self.stores, [str(row["material_id"]) for row in rows])
        for row in rows:
            identifier = str(row["material_id"])
            replaced = successors.get(identifier)
            self.pending.pop(identifier, None)
            if licence_of(row) == NON_COMMERCIAL and not self.query.include_gnome:
                self.record.refuse(
                    identifier, f"{identifier}: {NON_COMMERCIAL}; set include_gnome to take it"
                )
                continue
            try:
                document = entry_of_row(
                    row,
                    version=self.version,
                    endpoint=self.client.endpoint,
                    superseded_by=replaced,
                )
            except StructureError as error:
                self.record.refuse(identifier, str(error))
                continue
            if document.deprecated and identifier not in held:
                reasons = ", ".join(document.deprecation_reasons) or "no reason given"
                self.record.refuse(
                    identifier,
                    f"{identifier}: withdrawn by the Materials Project ({reasons})"
                    + (f"; {replaced} replaces it" if replaced else ""),
                )
                continue
            documents.append(document)
        results, refused = write_entries(self.stores, documents, replace=self.replace)
        for identifier, reason in refused:
            self.record.refuse(identifier, reason)
        for document in documents:
            if (result := results.get(document.key)) is not None:
                self.record.count(self._counted_as(document, result))

    def _counted_as(self, document: SourceStructureDocument, result: str) -> str:
        if document.deprecated:
            return "deprecated"
        limit = self.query.max_volume.get(document.space_group or 0)
        volume = document.volume_conventional
        return "outside" if limit and volume and volume >= limit else result

    def _withdraw(self, identifier: str, successor: str | None) -> None:
        """Mark an entry that the database does not have any more."""
        self.pending.pop(identifier, None)
        reason = f"not in database {self.version}"
        held = held_entries(self.stores, [identifier]).get(identifier)
        if held is not None and held_elsewhere(held, KIND) is None:
            withdraw(
                self.stores,
                identifier,
                superseded_by=successor,
                reason=reason,
                version=self.version,
            )
            self.record.count("deprecated")
        else:
            self.record.refuse(
                identifier,
                f"{identifier}: {reason}" + (f"; {successor} replaces it" if successor else ""),
            )

    # -- what is missing ---------------------------------------------------------------------

    def _missing(self, reason: str, page_size: int, batch_size: int) -> list[Missing]:
        """What was not read, with the reason of each part or else the given one."""
        self.document.pending = list(self.pending)
        size = batch_size if self.query.materials else page_size
        missing = []
        for listing in self._listings():
            last = 1 if listing.total is None else ceil(listing.total / size)
            whole = self.reasons.get((listing.group, None), reason)
            missing += [
                Missing(
                    what="listing",
                    group=listing.group,
                    page=page,
                    reason=self.reasons.get((listing.group, page), whole),
                )
                for page in range(1, last + 1)
                if page not in listing.pages_done
            ]
        by_reason: dict[str, list[str]] = {}
        for identifier in self.pending:
            by_reason.setdefault(self.reasons.get(identifier, reason), []).append(identifier)
        missing += [Missing(what="entries", ids=ids, reason=r) for r, ids in by_reason.items()]
        return missing

    def _show_list(self, listing: Listing, size: int) -> None:
        done = sum(len(known.pages_done) for known in self.document.listings)
        open_lists = [known for known in self.document.listings if known.total is None]
        pages = sum(ceil((known.total or 0) / size) for known in self.document.listings)
        self.display.show(
            "lists",
            done,
            pages + len(open_lists),
            "" if listing.group is None else f"space group {listing.group}",
        )


def _is_complete(listing: Listing, size: int) -> bool:
    return listing.total is not None and len(listing.pages_done) >= ceil(listing.total / size)

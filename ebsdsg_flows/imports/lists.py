"""The lists of the Materials Project: read page by page, without structures, and judged.

An entry that is held and was not updated since needs nothing more, and one that cannot be within
the limits on the conventional cell is left; the structures of the others are pending.  Entries
that are held but not listed any more are pending too: they may have moved, or be gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

from ebsdsg_flows.atoms import StructureError
from ebsdsg_flows.imports.attempt import Attempt
from ebsdsg_flows.imports.cell_limits import largest_volume_to_list, smallest_conventional_volume
from ebsdsg_flows.imports.entries import held_elsewhere, held_entries, keys_withdrawable
from ebsdsg_flows.imports.errors import NoAnswer
from ebsdsg_flows.imports.summary_rows import GNOME_BATCH, KIND, LIST_FIELDS, ListedEntry
from ebsdsg_flows.sources import NON_COMMERCIAL
from stores.documents import Listing, Missing


class Lists:
    """The lists that an import reads: one for each group, or one of chosen identifiers.

    Parameters
    ----------
    attempt : what the parts of the import share.
    size : entries on a page.
    """

    def __init__(self, attempt: Attempt, size: int) -> None:
        self.attempt = attempt
        self.size = size

    def read(self) -> None:
        """Read the pages that were not read yet; those that fail keep their reason.

        Raises
        ------
        ServerGone, Rejected
        """
        for listing in self.listings():
            self._read(listing)
        self._add_unlisted()

    def missing(self, reason: str) -> list[Missing]:
        """Pages that were not read, each with its own reason or else the given one."""
        missing = []
        for listing in self.listings():
            last = 1 if listing.total is None else self._pages(listing.total)
            whole = self.attempt.reasons.get((listing.group, None), reason)
            missing += [
                Missing(
                    what="listing",
                    group=listing.group,
                    page=page,
                    reason=self.attempt.reasons.get((listing.group, page), whole),
                )
                for page in range(1, last + 1)
                if page not in listing.pages_done
            ]
        return missing

    def listings(self) -> Iterator[Listing]:
        """The list of each group, or one for the identifiers that were asked for."""
        known = {listing.group: listing for listing in self.attempt.document.listings}
        one = bool(self.attempt.query.materials) or not self.attempt.query.groups
        for group in (None,) if one else self.attempt.query.groups:
            if group not in known:
                known[group] = Listing(group=group)
                self.attempt.document.listings.append(known[group])
        yield from list(self.attempt.document.listings)

    def _criteria(self, group: int | None) -> dict[str, Any]:
        if group is None:
            # the client takes a query without any criterion for a download of everything
            criteria: dict[str, Any] = {"volume_min": 0.0}
        else:
            criteria = {"spacegroup_number": group}
            if group in self.attempt.query.max_volume:
                criteria["volume_max"] = largest_volume_to_list(
                    self.attempt.query.max_volume[group], group
                )
        if not self.attempt.query.include_gnome:
            criteria["batch_id_not_eq"] = GNOME_BATCH
        return criteria

    def _read(self, listing: Listing) -> None:
        """Read the pages of a list that were not read yet."""
        page = 1
        while listing.total is None or page <= self._pages(listing.total):
            if page not in listing.pages_done:
                self._show(listing)
                try:
                    self._read_page(listing, page)
                except NoAnswer as error:
                    self.attempt.reasons[listing.group, page] = str(error)
                    if listing.total is None:
                        return
            page += 1
        seen = len(set(listing.listed))
        if not self.attempt.query.materials and self._is_complete(listing) and seen < listing.total:
            listing.pages_done.clear()
            self.attempt.save()
            self.attempt.reasons[listing.group, None] = (
                f"the list changed while it was read: {seen} of {listing.total} entries were seen"
            )
        self._show(listing)

    def _read_page(self, listing: Listing, page: int) -> None:
        skip = (page - 1) * self.size
        if self.attempt.query.materials:
            wanted = sorted(self.attempt.query.materials)[skip : skip + self.size]
            rows, _ = self.attempt.ask(
                lambda: self.attempt.client.page(
                    {"material_ids": ",".join(wanted)}, LIST_FIELDS, skip=0, limit=self.size
                )
            )
            listing.total = len(self.attempt.query.materials)
            given = {str(row.get("material_id")) for row in rows}
            # what is not listed is asked for once more, with what replaces it
            self.attempt.pending.update(dict.fromkeys(i for i in wanted if i not in given))
        else:
            rows, total = self.attempt.ask(
                lambda: self.attempt.client.page(
                    self._criteria(listing.group), LIST_FIELDS, skip=skip, limit=self.size
                )
            )
            listing.total = total
            if len(rows) < min(self.size, total - skip):
                raise NoAnswer(
                    f"page {page} has {len(rows)} entries instead of {min(self.size, total - skip)}"
                )
        self._judge(rows, listing)
        listing.pages_done.append(page)
        self.attempt.save()

    def _judge(self, rows: Sequence[Mapping[str, Any]], listing: Listing) -> None:
        """Decide for each listed entry whether its structure is needed."""
        seen = set(listing.listed)
        held = held_entries(self.attempt.stores, [str(row.get("material_id")) for row in rows])
        for i, row in enumerate(rows, 1):
            identifier = str(row.get("material_id") or f"entry {i} of a page without material_id")
            if identifier in seen:
                continue
            seen.add(identifier)
            try:
                entry = ListedEntry.of({**row, "material_id": identifier})
            except StructureError as error:
                self.attempt.record.refuse(identifier, str(error))
            else:
                result = self._result_without_structure(entry, held.get(identifier))
                if result is None:
                    self.attempt.pending[identifier] = None
                else:
                    self.attempt.record.count(result)
            # last: an entry whose judgement is interrupted is judged when the page is read again
            listing.listed.append(identifier)

    def _result_without_structure(
        self, entry: ListedEntry, held: Mapping[str, Any] | None
    ) -> str | None:
        """``unchanged``, ``deprecated`` or ``outside``; ``None`` if the structure is needed."""
        limit = self.attempt.query.max_volume.get(entry.space_group)
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

    def _add_unlisted(self) -> None:
        """Add what is held and should have been listed, but was not."""
        if self.attempt.query.materials:
            return
        for listing in self.attempt.document.listings:
            if self._is_complete(listing):
                gone = keys_withdrawable(
                    self.attempt.stores,
                    KIND,
                    listing.group,
                    listing.listed,
                    limit=self.attempt.query.max_volume.get(listing.group or 0),
                    without_licence=None if self.attempt.query.include_gnome else NON_COMMERCIAL,
                )
                self.attempt.pending.update(dict.fromkeys(gone))
        self.attempt.save()

    def _show(self, listing: Listing) -> None:
        done = sum(len(known.pages_done) for known in self.attempt.document.listings)
        open_lists = [known for known in self.attempt.document.listings if known.total is None]
        pages = sum(self._pages(known.total or 0) for known in self.attempt.document.listings)
        self.attempt.display.show(
            "lists",
            done,
            pages + len(open_lists),
            "" if listing.group is None else f"space group {listing.group}",
        )

    def _pages(self, total: int) -> int:
        return ceil(total / self.size)

    def _is_complete(self, listing: Listing) -> bool:
        return listing.total is not None and len(listing.pages_done) >= self._pages(listing.total)

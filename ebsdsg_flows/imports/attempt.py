"""One attempt at an import from the Materials Project: what its parts share.

The reader of the lists fills `pending`, the fetcher of the entries empties it; both ask through
`ask`, which ends the attempt when the server is not there any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ebsdsg_flows.imports.display import ImportDisplay
from ebsdsg_flows.imports.errors import NoAnswer
from ebsdsg_flows.imports.record import ImportRecord

if TYPE_CHECKING:
    from ebsdsg_flows.campaign import StructureQuery
    from ebsdsg_flows.imports.client import MaterialsProject
    from stores.collections import Stores

GIVE_UP_AFTER = 3
"""Requests in a row that got no answer, each after all its attempts, before an import stops."""

T = TypeVar("T")


class ServerGone(Exception):
    """The server is not there any more; the message says what it said last."""


class Attempt:
    """What the parts of one attempt share.

    Parameters
    ----------
    stores : open database.
    query : what is wanted.
    client : connection.
    record : of the import.
    display : of the progress.

    Attributes
    ----------
    pending : identifiers whose structures are needed, in order.
    reasons : why a page (group and number; ``None`` for all pages) or an identifier is missing.
    version : of the database.
    """

    def __init__(
        self,
        stores: Stores,
        query: StructureQuery,
        client: MaterialsProject,
        record: ImportRecord,
        display: ImportDisplay,
    ) -> None:
        self.stores = stores
        self.query = query
        self.client = client
        self.record = record
        self.document = record.document
        self.display = display
        self.pending: dict[str, None] = dict.fromkeys(record.document.pending)
        self.reasons: dict[object, str] = {}
        self.version = ""
        self._failures = 0

    def agree_on_version(self) -> None:
        """Ask which database answers; if it is not that of the first attempt, start again.

        Raises
        ------
        ServerGone
            If there is no answer.
        Rejected
            If the server says no.
        """
        try:
            self.version = self.client.database_version()
        except NoAnswer as error:
            raise ServerGone(str(error)) from None
        document = self.document
        if document.database_version not in (None, self.version):
            self.display.say(
                f"the database is {self.version} now and was {document.database_version}: "
                "the lists are read again"
            )
            document.listings, document.counts, document.refused = [], {}, []
            self.pending.clear()
        document.database_version = self.version
        self.save("database_version")

    def ask(self, call: Callable[[], T]) -> T:
        """Answer of a request.

        Raises
        ------
        NoAnswer
            If all attempts at it failed.
        ServerGone
            If that was the case with the requests before it, too.
        Rejected
            If the server says no.
        """
        try:
            answer = call()
        except NoAnswer as error:
            self._failures += 1
            if self._failures >= GIVE_UP_AFTER:
                raise ServerGone(
                    f"{error}; {self._failures} requests in a row had no answer"
                ) from None
            raise
        self._failures = 0
        return answer

    def save(self, *names: str) -> None:
        """Save how far it is, and the named fields of the document."""
        self.document.pending = list(self.pending)
        self.record.save("listings", "pending", *names)

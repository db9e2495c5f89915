"""Cursors: results that are fetched in batches."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bson import Int64
from bson.raw_bson import RawBSONDocument

from .errors import DatabaseError
from .wire import COMMAND_OVERHEAD, MAX_DOCUMENT, encode

FIRST_BATCH = 101
"""Documents of a first batch when the client names no size, as in MongoDB."""
BATCH_BYTES = 16 * 1024 * 1024
IDLE_SECONDS = 600
"""A cursor nobody asks for is closed after this time, as in MongoDB."""


@dataclass
class Cursor:
    """One open result.

    Attributes
    ----------
    namespace : collection it came from
    remaining : encoded documents still to be sent
    expires : False if the client asked for no time-out
    touched : monotonic time of the last use
    """

    namespace: str
    remaining: Iterator[bytes]
    expires: bool = True
    touched: float = field(default_factory=time.monotonic)


class Cursors:
    """All open cursors of a server."""

    def __init__(self) -> None:
        self._open: dict[int, Cursor] = {}

    def __len__(self) -> int:
        return len(self._open)

    def reply(
        self,
        namespace: str,
        documents: Iterable[dict[str, Any]],
        batch_size: int | None = None,
        *,
        single_batch: bool = False,
        expires: bool = True,
    ) -> dict[str, Any]:
        """Reply with the first batch, leaving a cursor open if there is more.

        Parameters
        ----------
        namespace : ``database.collection``
        documents : results; must not depend on later changes of the collection
        batch_size : documents in the first batch; None for the usual 101
        single_batch : close after this batch
        expires : close when idle
        """
        batch, remaining = take(
            map(encode, documents), FIRST_BATCH if batch_size is None else batch_size
        )
        number = 0
        if not single_batch:
            ahead = next(remaining, None)
            if ahead is not None:
                number = self._new_number()
                self._open[number] = Cursor(namespace, itertools.chain([ahead], remaining), expires)
        return {"cursor": {"firstBatch": batch, "id": Int64(number), "ns": namespace}}

    def _new_number(self) -> int:
        # random, as MongoDB's are: after a restart of the server an old number must lead nowhere,
        # not to the cursor of somebody else
        while True:
            number = secrets.randbits(62) | 1
            if number not in self._open:
                return number

    def more(self, number: int, namespace: str, batch_size: int | None) -> dict[str, Any]:
        """Reply with the next batch.

        Raises
        ------
        DatabaseError
            If the cursor is unknown, closed or timed out (43).
        """
        cursor = self._open.pop(number, None)
        if cursor is None:
            raise DatabaseError(43, f"cursor id {number} not found")
        if cursor.namespace != namespace:
            self._open[number] = cursor
            raise DatabaseError(13, f"cursor {number} belongs to {cursor.namespace}")
        batch, remaining = take(cursor.remaining, batch_size or None)
        ahead = next(remaining, None)
        if ahead is not None:
            cursor.remaining = itertools.chain([ahead], remaining)
            cursor.touched = time.monotonic()
            self._open[number] = cursor
        left = number if ahead is not None else 0
        return {"cursor": {"nextBatch": batch, "id": Int64(left), "ns": namespace}}

    def kill(self, numbers: list[int]) -> dict[str, Any]:
        """Close cursors; the reply tells which were there."""
        killed = [number for number in numbers if self._open.pop(number, None) is not None]
        return {
            "cursorsKilled": [Int64(number) for number in killed],
            "cursorsNotFound": [Int64(number) for number in numbers if number not in killed],
            "cursorsAlive": [],
            "cursorsUnknown": [],
        }

    def close_idle(self) -> None:
        """Close cursors that nobody asked for in the last ten minutes."""
        limit = time.monotonic() - IDLE_SECONDS
        for number, cursor in list(self._open.items()):
            if cursor.expires and cursor.touched < limit:
                del self._open[number]


def take(
    encoded: Iterator[bytes], count: int | None
) -> tuple[list[RawBSONDocument], Iterator[bytes]]:
    """Documents of one batch (at most `count` and 16 MB, at least one) and what is left.

    Raises
    ------
    DatabaseError
        If a document is larger than a client takes (10334): stages can make such ones.
    """
    batch: list[RawBSONDocument] = []
    size = 0
    while count is None or len(batch) < count:
        data = next(encoded, None)
        if data is None:
            break
        if batch and size + len(data) > BATCH_BYTES:
            encoded = itertools.chain([data], encoded)
            break
        if len(data) > MAX_DOCUMENT + COMMAND_OVERHEAD:
            raise DatabaseError(
                10334,
                f"BSONObj size: {len(data)} is larger than the {MAX_DOCUMENT} bytes of a document; "
                "take fewer documents together, or fewer of their fields",
            )
        batch.append(RawBSONDocument(data))
        size += len(data)
    return batch, encoded

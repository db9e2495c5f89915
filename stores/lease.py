"""A lease: of several processes that want to do the same chore, one does it at a time.

It ends by itself some time after its holder has died; who does not get it is told so at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from stores.states import now

if TYPE_CHECKING:
    from stores.collections import Stores

COLLECTION = "leases"


class Lease:
    """A lease that this process holds; made by :func:`take`."""

    def __init__(self, stores: Stores, name: str, holder: str, duration: timedelta) -> None:
        self._leases = stores.database[COLLECTION]
        self._mine = {"_id": name, "holder": holder}
        self._duration = duration

    def renew(self) -> bool:
        """Prolong it from now; ``False`` if it ran out and somebody else took it."""
        until = now() + self._duration
        return self._leases.update_one(self._mine, {"$set": {"until": until}}).matched_count == 1

    def give_back(self) -> None:
        """End it, so that another process need not wait."""
        self._leases.delete_one(self._mine)


@contextmanager
def take(stores: Stores, name: str, duration: timedelta) -> Iterator[Lease | None]:
    """Hold a lease for the time of a block.

    Parameters
    ----------
    stores : open database.
    name : what the lease is for.
    duration : after which it ends unless it is renewed.

    Yields
    ------
    The lease, or ``None`` if another process holds it.
    """
    from pymongo.errors import DuplicateKeyError

    lease = Lease(stores, name, uuid4().hex, duration)
    time = now()
    try:
        stores.database[COLLECTION].update_one(
            {"_id": name, "until": {"$lt": time}},
            {"$set": {"holder": lease._mine["holder"], "until": time + duration}},
            upsert=True,
        )
    except DuplicateKeyError:  # it exists and has not ended
        yield None
        return
    try:
        yield lease
    finally:
        lease.give_back()

"""The databases of one server and the rule that a command happens completely or not at all.

Commands run one after another in one thread, so each is atomic for the others. What a command
changes in memory is written as one journal transaction before it is acknowledged; if that fails,
memory is put back.
"""

from __future__ import annotations

import datetime as dt
import gc
import itertools
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .collection import Changes, Collection
from .cursors import Cursors
from .errors import DatabaseError
from .expiry import expired, unusable
from .indexes import IndexDefinition
from .journal import Batch, Journal

log = logging.getLogger(__name__)

SESSION_MINUTES = 30


class Engine:
    """All collections, their journal and the open cursors.

    Parameters
    ----------
    path : SQLite file; its documents are read into memory here
    """

    def __init__(self, path: Path) -> None:
        self.journal = Journal(path)
        self.cursors = Cursors()
        self.collections: dict[str, Collection] = {}
        gc.disable()  # nothing of what is loaded now is garbage
        try:
            for collection in self.journal.collections():
                self.collections[collection.namespace] = collection
                for name in unusable(collection.indexes):
                    log.warning(
                        "%s: the TTL index %s has no usable time and deletes nothing; drop it",
                        collection.namespace,
                        name,
                    )
        finally:
            gc.enable()
        gc.freeze()
        highest = max((c.number for c in self.collections.values()), default=0)
        self._collection_numbers = itertools.count(highest + 1)
        self._document_numbers = itertools.count(self.journal.last_document + 1)
        self._batch = Batch()
        self._undo: list[Callable[[], None]] = []
        self.unsynchronised = False
        self.description: dict[str, Any] = {}
        """What the server process says about itself in ``serverStatus``."""

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()

    # -- commands ----------------------------------------------------------------------------

    def run(
        self, action: Callable[[], dict[str, Any]], retry: tuple[bytes, int] | None, durable: bool
    ) -> dict[str, Any]:
        """Run one command as a whole.

        Parameters
        ----------
        action : does the work in memory and returns the reply
        retry : session and transaction number of a retryable write, or None
        durable : the client wants its write on the disk itself

        Returns
        -------
        The reply; of a write that was done before and is sent again, the reply of then.

        Raises
        ------
        DatabaseError
            Whatever the command was refused for; nothing of it is left.
        """
        if retry is not None:
            known = self.journal.retried_reply(retry[0])
            if known is not None and known[0] == retry[1]:
                return known[1]
            if known is not None and known[0] > retry[1]:
                raise DatabaseError(
                    225, f"transaction number {retry[1]} is older than {known[0]} of its session"
                )
        self._batch, self._undo = Batch(), []
        try:
            reply = action()
            if retry is not None:
                self._batch.retry = (*retry, reply)
            if self._batch:
                self.journal.commit(self._batch, durable)
                self.unsynchronised = not durable
        except sqlite3.Error as error:
            self._go_back()
            raise DatabaseError(1, f"the journal could not be written: {error}") from error
        except BaseException:
            self._go_back()
            raise
        for collection in self._batch.written:
            collection.changes = Changes()
        return reply

    def _go_back(self) -> None:
        for step in reversed(self._undo):
            step()
        for collection in self._batch.written:
            collection.undo(collection.changes)
            collection.changes = Changes()

    def end_sessions(self, sessions: list[bytes]) -> None:
        """Forget the replies kept for sessions that are over."""
        self._batch.ended_sessions += sessions

    # -- collections -------------------------------------------------------------------------

    def get(self, namespace: str) -> Collection:
        """The collection, or an empty one that is not kept, to read from."""
        return self.collections.get(namespace) or Collection(namespace, 0)

    def writable(self, namespace: str, *, create: bool = True) -> Collection:
        """The collection to be changed by the current command.

        Parameters
        ----------
        namespace : ``database.collection``
        create : make it if it is missing; otherwise an empty one is returned, which is not kept
        """
        collection = self.collections.get(namespace)
        if collection is None:
            if not create:
                _check_namespace(namespace)
                return Collection(namespace, 0)
            collection = self.create(namespace)
        if collection not in self._batch.written:
            self._batch.written.append(collection)
        return collection

    def create(self, namespace: str) -> Collection:
        """Make an empty collection.

        Raises
        ------
        DatabaseError
            For an invalid name (73).
        """
        _check_namespace(namespace)
        collection = Collection(namespace, next(self._collection_numbers))
        self._register(collection)
        return collection

    def _register(self, collection: Collection) -> None:
        self.collections[collection.namespace] = collection
        self._undo.append(lambda: self._unregister(collection))
        self._batch.saved.append(collection)

    def _unregister(self, collection: Collection) -> None:
        del self.collections[collection.namespace]

    def drop(self, namespace: str) -> None:
        """Remove a collection with all it holds; it must exist."""
        collection = self.collections.pop(namespace)
        self._undo.append(lambda: self.collections.__setitem__(namespace, collection))
        self._batch.dropped.append(collection.number)

    def rename(self, source: str, target: str) -> None:
        """Give a collection another name; the name must be free.

        Raises
        ------
        DatabaseError
            For an invalid name (73).
        """
        _check_namespace(target)
        collection = self.collections.pop(source)

        def put_back() -> None:
            del self.collections[target]
            collection.namespace = source
            self.collections[source] = collection

        collection.namespace = target
        self.collections[target] = collection
        self._undo.append(put_back)
        self._batch.saved.append(collection)

    def create_index(self, collection: Collection, index: IndexDefinition) -> bool:
        """Make an index; see `Collection.create_index`."""
        made = collection.create_index(index)
        if made:
            self._undo.append(lambda: collection.drop_index(index.name))
            self._batch.saved.append(collection)
        return made

    def drop_index(self, collection: Collection, name: str) -> None:
        """Remove an index; see `Collection.drop_index`."""
        index = collection.indexes.get(name)
        collection.drop_index(name)
        assert index is not None
        self._undo.append(lambda: collection.restore_index(index))
        self._batch.saved.append(collection)

    def next_number(self) -> int:
        """Number for a new document; numbers grow in the order of insertion."""
        return next(self._document_numbers)

    def names(self, database: str) -> list[str]:
        """Names of the collections of a database."""
        prefix = database + "."
        return sorted(n.removeprefix(prefix) for n in self.collections if n.startswith(prefix))

    def databases(self) -> Iterator[str]:
        """Names of the databases that hold a collection."""
        yield from sorted({namespace.partition(".")[0] for namespace in self.collections})

    # -- housekeeping ------------------------------------------------------------------------

    def delete_expired(self) -> int:
        """Delete documents past their TTL index, close idle cursors, forget old sessions."""
        now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        deleted = 0

        def action() -> dict[str, Any]:
            nonlocal deleted
            for namespace in list(self.collections):
                numbers = expired(self.collections[namespace], now)
                for number in numbers:
                    self.writable(namespace).delete(number)
                deleted += len(numbers)
            return {}

        self.run(action, None, durable=False)
        self.cursors.close_idle()
        self.journal.forget_sessions(time.time() - 2 * 60 * SESSION_MINUTES)
        return deleted


def _check_namespace(namespace: str) -> None:
    """Raise (73) unless a collection may have this name."""
    database, _, name = namespace.partition(".")
    if not database or not name or set(database) & set('/\\. "$\0') or "\0" in name:
        raise DatabaseError(73, f"Invalid namespace specified {namespace!r}")
    if name.startswith(("$", "system.")):
        raise DatabaseError(73, f"collection names cannot begin like {name!r}")

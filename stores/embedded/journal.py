"""Durability: every command is one SQLite transaction, committed before it is acknowledged.

SQLite runs in WAL mode with ``synchronous=NORMAL``. A commit then reaches the operating system but
not yet the platter: killing the server, or any process, loses nothing that was acknowledged; a
power failure may lose the last second (a background checkpoint synchronises every second), and
never leaves half a command or a damaged file. This is MongoDB's own default bargain (journal
every 100 ms). A client that asks for more (write concern ``j: true`` or ``"majority"``) gets
``synchronous=FULL`` for its command. An fsync per command would cost some milliseconds each, and
FireWorks issues about ten commands per firework.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bson

from .binaries import LARGE_BINARY, DiskBinary, disk_binaries
from .collection import Collection
from .errors import DatabaseError
from .indexes import parse_definition
from .wire import decode, encode

FORMAT = 1
"""Version of the layout of the SQLite file."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS format(version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS collections(
    number INTEGER PRIMARY KEY, namespace TEXT NOT NULL UNIQUE, indexes BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS documents(
    number INTEGER PRIMARY KEY, collection INTEGER NOT NULL, document BLOB NOT NULL,
    binaries BLOB);
CREATE INDEX IF NOT EXISTS documents_of ON documents(collection);
CREATE TABLE IF NOT EXISTS binaries(number INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS retries(
    session BLOB PRIMARY KEY, transaction_number INTEGER NOT NULL, reply BLOB NOT NULL,
    at REAL NOT NULL);
"""


class JournalError(RuntimeError):
    """The journal file cannot be used."""


@dataclass
class Batch:
    """Everything one command changes, to be written together.

    Attributes
    ----------
    dropped : numbers of collections that are gone
    saved : collections made, renamed or with other indexes
    written : collections with changed documents
    retry : session, transaction number and reply of a retryable write, or None
    ended_sessions : sessions whose replies need not be remembered any more
    """

    dropped: list[int] = field(default_factory=list)
    saved: list[Collection] = field(default_factory=list)
    written: list[Collection] = field(default_factory=list)
    retry: tuple[bytes, int, dict[str, Any]] | None = None
    ended_sessions: list[bytes] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(
            self.dropped
            or self.saved
            or self.retry
            or self.ended_sessions
            or any(collection.changes.after for collection in self.written)
        )


class Journal:
    """The SQLite file behind a server.

    Parameters
    ----------
    path : file, made if missing

    Raises
    ------
    JournalError
        If the file is of a newer layout or not a database.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._sqlite = sqlite3.connect(path, isolation_level=None)
            self._sqlite.execute("PRAGMA journal_mode=WAL")
            self._sqlite.execute("PRAGMA synchronous=NORMAL")
            self._sqlite.execute("PRAGMA wal_autocheckpoint=4000")
            self._sqlite.executescript(_SCHEMA)
            row = self._sqlite.execute("SELECT version FROM format").fetchone()
            if row is None:
                self._sqlite.execute("INSERT INTO format VALUES (?)", (FORMAT,))
            elif row[0] != FORMAT:
                raise JournalError(
                    f"{path} has layout {row[0]}, this version of ebsdsg reads {FORMAT}; "
                    "use the version that wrote it"
                )
            self._next_binary = self._maximum("binaries") + 1
        except sqlite3.DatabaseError as error:
            raise JournalError(f"{path} cannot be used as a database: {error}") from error

    def _maximum(self, table: str) -> int:
        (number,) = self._sqlite.execute(f"SELECT MAX(number) FROM {table}").fetchone()
        return number or 0

    @property
    def last_document(self) -> int:
        """Highest number of a document in the file."""
        return self._maximum("documents")

    def close(self) -> None:
        """Check everything into the main file and close."""
        self._sqlite.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._sqlite.close()

    def synchronise(self) -> None:
        """Bring what is committed to the disk itself; meant for a thread of its own."""
        with sqlite3.connect(self.path, isolation_level=None) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        connection.close()

    # -- loading -----------------------------------------------------------------------------

    def collections(self) -> Iterator[Collection]:
        """Yield every collection with its documents and indexes."""
        rows = self._sqlite.execute("SELECT number, namespace, indexes FROM collections")
        for number, namespace, indexes in rows.fetchall():
            collection = Collection(namespace, number)
            documents = self._sqlite.execute(
                "SELECT number, document, binaries FROM documents WHERE collection=? "
                "ORDER BY number",
                (number,),
            )
            for document_number, data, binaries in documents:
                document = decode(data)
                if binaries is not None:
                    self._restore_binaries(document, bson.decode(binaries)["binaries"])
                collection.load(document_number, document)
            for definition in decode(indexes)["indexes"]:
                collection.create_index(parse_definition(definition))
            yield collection

    def retried_reply(self, session: bytes) -> tuple[int, dict[str, Any]] | None:
        """Number and reply of the session's last retryable write."""
        row = self._sqlite.execute(
            "SELECT transaction_number, reply FROM retries WHERE session=?", (session,)
        ).fetchone()
        return None if row is None else (row[0], decode(row[1]))

    def read_binary(self, number: int) -> bytes:
        """Bytes of a large binary.

        Raises
        ------
        DatabaseError
            If its document was deleted since it was read (code 43, as for a lost cursor).
        """
        row = self._sqlite.execute("SELECT data FROM binaries WHERE number=?", (number,)).fetchone()
        if row is None:
            raise DatabaseError(43, "the document was deleted while its large binary was read")
        return bytes(row[0])

    # -- writing -----------------------------------------------------------------------------

    def commit(self, batch: Batch, durable: bool) -> None:
        """Write a batch as one transaction; on return it survives the end of the process.

        Parameters
        ----------
        batch : changes of one command
        durable : synchronise with the disk before returning

        Raises
        ------
        sqlite3.Error
            Nothing was written.
        """
        self._sqlite.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        self._sqlite.execute("BEGIN IMMEDIATE")
        slimmed: list[tuple[Collection, int, dict[str, Any]]] = []
        try:
            for number in batch.dropped:
                self._drop(number)
            for collection in batch.saved:
                self._save(collection)
            for collection in batch.written:
                slimmed += self._write(collection)
            if batch.retry is not None:
                session, number, reply = batch.retry
                self._sqlite.execute(
                    "INSERT OR REPLACE INTO retries VALUES (?, ?, ?, ?)",
                    (session, number, encode(reply), time.time()),
                )
            for session in batch.ended_sessions:
                self._sqlite.execute("DELETE FROM retries WHERE session=?", (session,))
            self._sqlite.execute("COMMIT")
        except BaseException:
            if self._sqlite.in_transaction:
                self._sqlite.execute("ROLLBACK")
            raise
        for collection, number, document in slimmed:
            collection.documents[number] = document

    def forget_sessions(self, before: float) -> None:
        """Drop remembered replies older than a time (seconds since the epoch)."""
        self._sqlite.execute("DELETE FROM retries WHERE at<?", (before,))

    def _drop(self, number: int) -> None:
        rows = self._sqlite.execute(
            "SELECT binaries FROM documents WHERE collection=? AND binaries IS NOT NULL", (number,)
        )
        for (binaries,) in rows.fetchall():
            for entry in bson.decode(binaries)["binaries"]:
                self._delete_binary(entry["number"])
        self._sqlite.execute("DELETE FROM documents WHERE collection=?", (number,))
        self._sqlite.execute("DELETE FROM collections WHERE number=?", (number,))

    def _save(self, collection: Collection) -> None:
        indexes = encode({"indexes": [i.to_document() for i in collection.indexes.values()]})
        self._sqlite.execute(
            "INSERT OR REPLACE INTO collections VALUES (?, ?, ?)",
            (collection.number, collection.namespace, indexes),
        )

    def _write(self, collection: Collection) -> list[tuple[Collection, int, dict[str, Any]]]:
        """Write changed documents; return those whose large binaries moved to disk."""
        slimmed = []
        for number, data in collection.changes.after.items():
            old = collection.changes.before[number]
            owned = {binary.number for binary in disk_binaries(old)}
            if data is None:
                if old is not None:
                    self._sqlite.execute("DELETE FROM documents WHERE number=?", (number,))
            else:
                binaries = None
                document = collection.documents[number]
                if len(data) >= LARGE_BINARY:
                    entries: list[dict[str, Any]] = []
                    slim = self._move_binaries(document, [], entries, owned)
                    if entries:
                        owned -= {entry["number"] for entry in entries}
                        data = encode(_without_disk_binaries(slim))
                        binaries = bson.encode({"binaries": entries})
                        slimmed.append((collection, number, slim))
                self._sqlite.execute(
                    "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)",
                    (number, collection.number, data, binaries),
                )
            for binary in owned:
                self._delete_binary(binary)
        return slimmed

    def _delete_binary(self, number: int) -> None:
        self._sqlite.execute("DELETE FROM binaries WHERE number=?", (number,))

    def _move_binaries(
        self, value: Any, path: list[Any], entries: list[dict[str, Any]], owned: set[int]
    ) -> Any:
        """Copy of a value with its large binaries in the table; `entries` tells where they were."""
        if isinstance(value, dict):
            return {
                key: self._move_binaries(item, [*path, key], entries, owned)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [
                self._move_binaries(item, [*path, index], entries, owned)
                for index, item in enumerate(value)
            ]
        if isinstance(value, DiskBinary) and value.number in owned:
            moved = value
        elif isinstance(value, DiskBinary) or (
            isinstance(value, bytes) and len(value) >= LARGE_BINARY
        ):
            number, self._next_binary = self._next_binary, self._next_binary + 1
            self._sqlite.execute("INSERT INTO binaries VALUES (?, ?)", (number, bytes(value)))
            moved = DiskBinary(number, len(value), getattr(value, "subtype", 0), self.read_binary)
        else:
            return value
        entries.append(
            {"path": path, "number": moved.number, "length": moved.length, "subtype": moved.subtype}
        )
        return moved

    def _restore_binaries(self, document: dict[str, Any], entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            target: Any = document
            *parents, last = entry["path"]
            for part in parents:
                target = target[part]
            target[last] = DiskBinary(
                entry["number"], entry["length"], entry["subtype"], self.read_binary
            )


def _without_disk_binaries(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_disk_binaries(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_disk_binaries(item) for item in value]
    return None if isinstance(value, DiskBinary) else value

"""One collection in memory: documents in insertion order, and how to go back.

Stored documents are never changed in place, only replaced; so a reader may keep a reference, a
cursor sees the collection as it was, and undoing is putting the old object back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId, Regex

from .errors import DatabaseError
from .index_set import IndexSet, Plan
from .indexes import Finder, IndexDefinition
from .matching import compile_filter, exact_bounds
from .sorting import sort_documents
from .values import deeper, hash_key
from .wire import MAX_DEPTH, MAX_DOCUMENT, encode

FEW = 500
"""Matches that are sorted at once, without an order kept for them."""


@dataclass
class Changes:
    """What a command did to the documents of a collection, for the journal and for going back.

    Attributes
    ----------
    before : documents by number as they were before the command; None for new ones
    after : BSON of the documents as they are now; None for deleted ones
    """

    before: dict[int, dict[str, Any] | None] = field(default_factory=dict)
    after: dict[int, bytes | None] = field(default_factory=dict)

    def include(self, later: Changes) -> None:
        """Add changes made after these."""
        for number, old in later.before.items():
            self.before.setdefault(number, old)
        self.after.update(later.after)


class Collection:
    """Documents of one namespace.

    Parameters
    ----------
    namespace : ``database.collection``
    number : row of the journal's catalogue
    """

    def __init__(self, namespace: str, number: int) -> None:
        self.namespace = namespace
        self.number = number
        self.documents: dict[int, dict[str, Any]] = {}
        self._indexes = IndexSet()
        self.changes = Changes()

    def __len__(self) -> int:
        return len(self.documents)

    # -- reading -----------------------------------------------------------------------------

    def plan(self, conditions: Mapping[str, Any]) -> Plan:
        """Choose the index that leaves the fewest documents to look at."""
        return self._indexes.plan(conditions)

    def find(
        self, conditions: Mapping[str, Any], variables: dict[str, Any] | None = None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield number and document of the matches, in insertion order.

        The collection must not change while this runs; take a list first if it may.
        """
        test = compile_filter(conditions, variables)
        plan = self.plan(conditions)
        if plan.numbers is None:
            for number, document in self.documents.items():
                if test(document):
                    yield number, document
        else:
            for number in plan.numbers:
                document = self.documents[number]
                if test(document):
                    yield number, document

    def count(self, conditions: Mapping[str, Any]) -> int | None:
        """Number of matches if the indexes alone tell it, else None."""
        bounds = exact_bounds(conditions)
        if not bounds or any(path not in self._indexes.paths for path, _ in bounds):
            return None
        matches = []
        for path, keys in bounds:
            found = self._indexes.paths[path].find(keys)
            matches.append(found[0] if len(found) == 1 else set().union(*found))
        matches.sort(key=len)
        return len(matches[0].intersection(*matches[1:]))

    def finder(self, path: str) -> Finder:
        """Search for many values at a path; good until the collection changes."""
        return self._indexes.finder(path, self.documents)

    def tally(
        self, paths: tuple[str, ...], conditions: Mapping[str, Any]
    ) -> list[tuple[dict[str, Any], int]] | None:
        """Combinations of values at indexed paths among the matches, and how many have each.

        Returns
        -------
        Values by path with their number of documents; None if the documents must be looked at.
        """
        bounds = exact_bounds(conditions)
        if bounds is None:
            return None
        wanted = tuple(sorted({*paths, *(path for path, _ in bounds)}))
        tally = self._indexes.tally(wanted, self.documents)
        return tally.matching(bounds) if tally is not None and tally.useful else None

    def first(
        self,
        conditions: Mapping[str, Any],
        order: Mapping[str, Any],
        wanted: int,
        variables: dict[str, Any] | None = None,
    ) -> list[tuple[int, dict[str, Any]]]:
        """The first matches in an order, ties in insertion order; `wanted` 0 means all.

        They are read along an index if that looks at fewer documents than sorting all matches.
        """
        path, direction = next(iter(order.items()))
        if (
            wanted
            and path in self._indexes.paths
            and type(direction) is not bool
            and direction in (1, -1)
        ):
            plan = self.plan(conditions)
            matches = len(self) if plan.numbers is None else len(plan.numbers)
            if matches > FEW and wanted * len(self) < matches * matches / 10:
                return self._along(path, direction == -1, conditions, order, wanted, variables)
        pairs = list(self.find(conditions, variables))
        numbers = {id(document): number for number, document in pairs}
        ordered = sort_documents((document for _, document in pairs), order)
        return [(numbers[id(document)], document) for document in ordered[: wanted or None]]

    def _along(
        self,
        path: str,
        descending: bool,
        conditions: Mapping[str, Any],
        order: Mapping[str, Any],
        wanted: int,
        variables: dict[str, Any] | None,
    ) -> list[tuple[int, dict[str, Any]]]:
        order_along = self._indexes.order(path, self.documents, descending=descending)
        test = compile_filter(conditions, variables)
        rest = dict(list(order.items())[1:])
        found: list[tuple[int, dict[str, Any]]] = []
        for run in order_along.runs():
            matches = [(n, self.documents[n]) for n in run if test(self.documents[n])]
            if rest and len(matches) > 1:
                numbers = {id(document): number for number, document in matches}
                ordered = sort_documents((document for _, document in matches), rest)
                matches = [(numbers[id(document)], document) for document in ordered]
            found += matches
            if len(found) >= wanted:
                break
        return found[:wanted]

    # -- writing -----------------------------------------------------------------------------

    @contextmanager
    def statement(self) -> Iterator[None]:
        """Make what is done inside all or nothing: an error puts every document back."""
        outer, self.changes = self.changes, Changes()
        try:
            yield
        except BaseException:
            self.undo(self.changes)
            raise
        else:
            outer.include(self.changes)
        finally:
            self.changes = outer

    def insert(self, number: int, document: dict[str, Any]) -> dict[str, Any]:
        """Store a new document under a number greater than all before; return it as stored.

        Raises
        ------
        DatabaseError
            For a duplicate key (11000) or a bad ``_id`` (2, 52).
        """
        if "_id" not in document:
            document = {"_id": ObjectId(), **document}
        elif next(iter(document)) != "_id":
            document = {"_id": document["_id"], **document}  # MongoDB stores _id first
        identifier = document["_id"]
        if isinstance(identifier, list | Regex):
            kind = type(identifier).__name__.lower().replace("list", "array")
            raise DatabaseError(2, f"The '_id' value cannot be of type {kind}")
        if isinstance(identifier, dict) and any(name.startswith("$") for name in identifier):
            raise DatabaseError(52, f"_id fields may not begin with '$': {identifier!r}")
        key = hash_key(identifier)
        if key in self._indexes.ids:
            raise DatabaseError(
                11000,
                f"E11000 duplicate key error collection: {self.namespace} index: _id_ "
                f"dup key: {{ _id: {identifier!r} }}",
                keyPattern={"_id": 1},
                keyValue={"_id": identifier},
            )
        self._put(number, document)
        return document

    def replace(self, number: int, document: dict[str, Any]) -> None:
        """Put a changed document (same ``_id``) in the place of the stored one."""
        self._put(number, document)

    def delete(self, number: int) -> None:
        """Remove a document."""
        old = self.documents[number]
        self._take_out(number)
        self.changes.before.setdefault(number, old)
        self.changes.after[number] = None

    def _put(self, number: int, document: dict[str, Any]) -> None:
        if deeper(document, MAX_DEPTH):
            raise DatabaseError(
                15, f"cannot store a document of more than {MAX_DEPTH} levels of nesting"
            )
        data = encode(document)
        if len(data) > MAX_DOCUMENT:
            raise DatabaseError(
                10334,
                f"BSONObj size: {len(data)} is larger than the {MAX_DOCUMENT} bytes of a document; "
                "keep large data in GridFS or a file",
            )
        old = self.documents.get(number)
        self._place(number, document)
        self.changes.before.setdefault(number, old)
        self.changes.after[number] = data

    def _place(self, number: int, document: dict[str, Any]) -> None:
        """Keep a document under a number, in the place of one that is there already."""
        entries = self._indexes.entries(document)
        self._indexes.check(number, entries, document, self.namespace)
        if number in self.documents:
            self._indexes.remove(number, self._indexes.entries(self.documents[number]))
        self.documents[number] = document
        self._indexes.add(number, entries)

    def _take_out(self, number: int) -> None:
        self._indexes.remove(number, self._indexes.entries(self.documents[number]))
        del self.documents[number]

    def load(self, number: int, document: dict[str, Any]) -> None:
        """Take a document from the journal at start-up, before indexes are made."""
        self.documents[number] = document
        self._indexes.ids[hash_key(document["_id"])] = number

    def undo(self, changes: Changes) -> None:
        """Put documents back as they were before `changes`."""
        for number in changes.before:
            if number in self.documents:
                self._take_out(number)
        restored = False
        for number, old in changes.before.items():
            if old is not None:
                self._place(number, old)
                restored = True
        if restored:  # insertion order is the order of numbers
            self.documents = dict(sorted(self.documents.items()))

    # -- indexes -----------------------------------------------------------------------------

    @property
    def indexes(self) -> dict[str, IndexDefinition]:
        """Definitions by name, without that of ``_id``."""
        return self._indexes.definitions

    def create_index(self, index: IndexDefinition) -> bool:
        """Make an index; False if it is there already.

        Raises
        ------
        DatabaseError
            If the name or the key is taken by a different index, or documents are not unique.
        """
        return self._indexes.create(index, self.documents, self.namespace)

    def restore_index(self, index: IndexDefinition) -> None:
        """Make an index again that was there before."""
        self._indexes.restore(index, self.documents, self.namespace)

    def drop_index(self, name: str) -> None:
        """Remove an index by name.

        Raises
        ------
        DatabaseError
            If there is none (27), or it is the one on ``_id`` (72).
        """
        self._indexes.drop(name)

"""One collection in memory: documents in insertion order, their indexes, and how to go back.

Stored documents are never changed in place, only replaced; so a reader may keep a reference, a
cursor sees the collection as it was, and undoing is putting the old object back.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId

from .errors import DatabaseError
from .expressions import sort_documents
from .indexes import IndexDefinition, PathIndex, UniqueIndex
from .matching import compile_filter, equality_bounds, exact_bounds
from .tallies import Order, Tally
from .values import hash_key, lookup, split_path
from .wire import MAX_DOCUMENT, encode

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


@dataclass(frozen=True)
class Plan:
    """How a query is answered.

    Attributes
    ----------
    numbers : documents to look at, in insertion order; None for all
    path : the indexed path used, None for a scan
    """

    numbers: list[int] | None
    path: str | None


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
        self.indexes: dict[str, IndexDefinition] = {}
        self._ids: dict[Any, int] = {}
        self._paths: dict[str, PathIndex] = {}
        self._unique: dict[str, UniqueIndex] = {}
        self._tallies: dict[tuple[str, ...], Tally] = {}
        self._orders: dict[tuple[str, bool], Order] = {}
        self.changes = Changes()

    def __len__(self) -> int:
        return len(self.documents)

    # -- reading -----------------------------------------------------------------------------

    def plan(self, conditions: Mapping[str, Any]) -> Plan:
        """Choose the index that leaves the fewest documents to look at."""
        best: tuple[int, str, list[set[int]]] | None = None
        single: list[set[int]] = []
        for path, keys in equality_bounds(conditions):
            if path == "_id":
                found = [{self._ids[key]} for key in keys if key in self._ids]
                # an _id cannot be an array, so the map answers exactly
            elif path in self._paths:
                found = self._paths[path].find(keys)
            else:
                continue
            size = sum(map(len, found))
            if len(found) == 1:
                single.append(found[0])
            if best is None or size < best[0]:
                best = (size, path, found)
        if best is not None:
            numbers = best[2][0] if len(best[2]) == 1 else set().union(*best[2])
            for others in single:
                if others is not numbers:
                    numbers = numbers & others
            return Plan(sorted(numbers), best[1])
        branches = conditions.get("$or")
        if isinstance(branches, list) and branches:
            plans = [self.plan(branch) for branch in branches]
            if all(plan.numbers is not None for plan in plans):
                numbers = set().union(*(plan.numbers or [] for plan in plans))
                return Plan(sorted(numbers), " or ".join(str(plan.path) for plan in plans))
        return Plan(None, None)

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
        if not bounds or any(path not in self._paths for path, _ in bounds):
            return None
        matches = []
        for path, keys in bounds:
            found = self._paths[path].find(keys)
            matches.append(found[0] if len(found) == 1 else set().union(*found))
        matches.sort(key=len)
        return len(matches[0].intersection(*matches[1:]))

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
        if not wanted or any(path not in self._paths for path in wanted):
            return None
        if wanted not in self._tallies:
            made = self._tallies[wanted] = Tally(wanted)
            for document in self.documents.values():
                made.add(document)
        tally = self._tallies[wanted]
        return tally.matching(bounds) if tally.useful else None

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
        if wanted and path in self._paths and type(direction) is not bool and direction in (1, -1):
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
        if (path, descending) not in self._orders:
            made = self._orders[path, descending] = Order(path, descending=descending)
            made.fill(self.documents)
        test = compile_filter(conditions, variables)
        rest = dict(list(order.items())[1:])
        found: list[tuple[int, dict[str, Any]]] = []
        for run in self._orders[path, descending].runs():
            matches = [(n, self.documents[n]) for n in run if test(self.documents[n])]
            if rest and len(matches) > 1:
                numbers = {id(document): number for number, document in matches}
                ordered = sort_documents((document for _, document in matches), rest)
                matches = [(numbers[id(document)], document) for document in ordered]
            found += matches
            if len(found) >= wanted:
                break
        return found[:wanted]

    def expired(self, now: dt.datetime) -> list[int]:
        """Numbers of documents past the time of a TTL index (`now` is naive UTC)."""
        numbers: set[int] = set()
        for index in self.indexes.values():
            if index.expire_after is None or len(index.key) != 1:
                continue
            limit = now - dt.timedelta(seconds=float(index.expire_after))
            parts = split_path(next(iter(index.key)))
            for number, document in self.documents.items():
                times = []
                for value in lookup(document, parts):
                    times += value if isinstance(value, list) else [value]
                times = [value for value in times if isinstance(value, dt.datetime)]
                if times and min(times) <= limit and index.covers(document):
                    numbers.add(number)
        return sorted(numbers)

    # -- writing -----------------------------------------------------------------------------

    @contextmanager
    def statement(self) -> Iterator[None]:
        """Make what is done inside all or nothing: an error puts every document back."""
        outer, self.changes = self.changes, Changes()
        try:
            yield
        except BaseException:
            self.undo(self.changes)
            self.changes = outer
            raise
        outer.include(self.changes)
        self.changes = outer

    def insert(self, number: int, document: dict[str, Any]) -> dict[str, Any]:
        """Store a new document under a number greater than all before; return it as stored.

        Raises
        ------
        DatabaseError
            For a duplicate key (11000) or a bad ``_id`` (2).
        """
        if "_id" not in document:
            document = {"_id": ObjectId(), **document}
        elif next(iter(document)) != "_id":
            document = {"_id": document["_id"], **document}  # MongoDB stores _id first
        identifier = document["_id"]
        if isinstance(identifier, list):
            raise DatabaseError(2, "The '_id' value cannot be of type array")
        key = hash_key(identifier)
        if key in self._ids:
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
        self.changes.before.setdefault(number, self.documents[number])
        self.changes.after[number] = None
        self._take_out(number)

    def _put(self, number: int, document: dict[str, Any]) -> None:
        data = encode(document)
        if len(data) > MAX_DOCUMENT:
            raise DatabaseError(
                10334,
                f"BSONObj size: {len(data)} is larger than the {MAX_DOCUMENT} bytes of a document; "
                "keep large data in GridFS or a file",
            )
        claims = [
            (index, index.check(number, document, self.namespace))
            for index in self._unique.values()
        ]
        old = self.documents.get(number)
        self.changes.before.setdefault(number, old)
        self.changes.after[number] = data
        if old is not None:
            self._unindex(number, old)
        self.documents[number] = document
        self._ids[hash_key(document["_id"])] = number
        for path in self._paths.values():
            path.add(number, document)
        for tally in self._tallies.values():
            tally.add(document)
        for order in self._orders.values():
            order.add(number, document)
        for index, entries in claims:
            index.add(number, entries)

    def _take_out(self, number: int) -> None:
        document = self.documents.pop(number)
        del self._ids[hash_key(document["_id"])]
        self._unindex(number, document)

    def _unindex(self, number: int, document: dict[str, Any]) -> None:
        for path in self._paths.values():
            path.remove(number, document)
        for tally in self._tallies.values():
            tally.remove(document)
        for order in self._orders.values():
            order.remove(number, document)
        for index in self._unique.values():
            index.remove(index.definition.entries(document))

    def load(self, number: int, document: dict[str, Any]) -> None:
        """Take a document from the journal at start-up, before indexes are made."""
        self.documents[number] = document
        self._ids[hash_key(document["_id"])] = number

    def undo(self, changes: Changes) -> None:
        """Put documents back as they were before `changes`."""
        for number in changes.before:
            if number in self.documents:
                self._take_out(number)
        restored = False
        for number, old in changes.before.items():
            if old is not None:
                self._put(number, old)
                restored = True
        if restored:  # insertion order is the order of numbers
            self.documents = dict(sorted(self.documents.items()))

    # -- indexes -----------------------------------------------------------------------------

    def create_index(self, index: IndexDefinition) -> bool:
        """Make an index; False if it is there already.

        Raises
        ------
        DatabaseError
            If the name or the key is taken by a different index, or documents are not unique.
        """
        if index.key == {"_id": 1} and list(index.key) == ["_id"]:
            return False
        for other in self.indexes.values():
            same_key = list(other.key.items()) == list(index.key.items())
            if other.name == index.name or (same_key and other.partial == index.partial):
                if other == index and same_key:
                    return False
                code = 86 if other.name == index.name else 85
                raise DatabaseError(
                    code,
                    f"index {index.name!r} exists already with other options or another name: "
                    f"{other.to_document()}",
                )
        self._build(index)
        self.indexes[index.name] = index
        return True

    def restore_index(self, index: IndexDefinition) -> None:
        """Make an index again that was there before."""
        self._build(index)
        self.indexes[index.name] = index

    def _build(self, index: IndexDefinition) -> None:
        if index.unique:
            unique = UniqueIndex(index)
            for number, document in self.documents.items():
                unique.add(number, unique.check(number, document, self.namespace))
            self._unique[index.name] = unique
        for path in index.key:
            if path != "_id" and path not in self._paths:
                hashed = PathIndex(path)
                for number, document in self.documents.items():
                    hashed.add(number, document)
                self._paths[path] = hashed

    def drop_index(self, name: str) -> None:
        """Remove an index by name.

        Raises
        ------
        DatabaseError
            If there is none (27), or it is the one on ``_id`` (72).
        """
        if name == "_id_":
            raise DatabaseError(72, "cannot drop _id index")
        if name not in self.indexes:
            raise DatabaseError(27, f"index not found with name [{name}]")
        del self.indexes[name]
        self._unique.pop(name, None)
        still_used = {path for index in self.indexes.values() for path in index.key}
        self._paths = {path: hashed for path, hashed in self._paths.items() if path in still_used}
        self._tallies.clear()
        self._orders.clear()

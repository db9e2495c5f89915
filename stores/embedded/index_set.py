"""All indexes of one collection: which documents to look at, and what is kept up to date with them.

Beside the hash maps of the paths that indexes name there are the map of ``_id``, which every
collection has, and the tallies and orders that queries asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import DatabaseError
from .indexes import Finder, IndexDefinition, PathIndex, UniqueIndex
from .matching import equality_bounds
from .tallies import Combination, Order, Tally
from .values import hash_key


@dataclass(frozen=True, slots=True)
class Entries:
    """All that the indexes know one document by.

    They are computed before any index is touched: computing may fail (of a value that cannot be
    compared, say), and then every index is as it was.

    Attributes
    ----------
    identifier : hash key of the ``_id``
    paths : hash maps and the document's keys in them
    tallies : tallies and the document's values
    orders : orders and the document's place in them
    unique : unique indexes and the document's whole keys
    """

    identifier: Any
    paths: list[tuple[PathIndex, set[Any]]]
    tallies: list[tuple[Tally, Combination]]
    orders: list[tuple[Order, Any]]
    unique: list[tuple[UniqueIndex, set[tuple[Any, ...]]]]


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


class IndexSet:
    """Indexes of one collection.

    Attributes
    ----------
    definitions : by name, without that of ``_id``
    ids : number of a document by the hash key of its ``_id``
    paths : hash maps by path
    """

    def __init__(self) -> None:
        self.definitions: dict[str, IndexDefinition] = {}
        self.ids: dict[Any, int] = {}
        self.paths: dict[str, PathIndex] = {}
        self._unique: dict[str, UniqueIndex] = {}
        self._tallies: dict[tuple[str, ...], Tally] = {}
        self._orders: dict[tuple[str, bool], Order] = {}

    # -- reading -----------------------------------------------------------------------------

    def plan(self, conditions: Mapping[str, Any]) -> Plan:
        """Choose the index that leaves the fewest documents to look at."""
        best: tuple[int, str, list[set[int]]] | None = None
        single: list[set[int]] = []
        for path, keys in equality_bounds(conditions):
            if path == "_id":
                found = self._with_ids(keys)
            elif path in self.paths:
                found = self.paths[path].find(keys)
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

    def _with_ids(self, keys: Iterable[Any]) -> list[set[int]]:
        # an _id cannot be an array, so the map answers exactly
        return [{self.ids[key]} for key in keys if key in self.ids]

    def finder(self, path: str, documents: Mapping[int, dict[str, Any]]) -> Finder:
        """Search for values at a path, by the map of an index or by one made for this search."""
        if path == "_id":
            return self._with_ids
        if path in self.paths:
            return self.paths[path].find
        made = PathIndex(path)
        made.fill(documents)
        return made.find

    def tally(
        self, paths: tuple[str, ...], documents: Mapping[int, dict[str, Any]]
    ) -> Tally | None:
        """The tally over indexed paths, made if it is not there; None if a path is not indexed."""
        if not paths or any(path not in self.paths for path in paths):
            return None
        if paths not in self._tallies:
            made = self._tallies[paths] = Tally(paths)
            for document in documents.values():
                made.add(made.values(document))
        return self._tallies[paths]

    def order(
        self, path: str, documents: Mapping[int, dict[str, Any]], *, descending: bool
    ) -> Order:
        """The order along an indexed path, made if it is not there."""
        if (path, descending) not in self._orders:
            made = self._orders[path, descending] = Order(path, descending=descending)
            made.fill(documents)
        return self._orders[path, descending]

    # -- following the documents -------------------------------------------------------------

    def entries(self, document: dict[str, Any]) -> Entries:
        """All that the indexes know a document by; no index is changed."""
        return Entries(
            hash_key(document["_id"]),
            [(path, path.keys(document)) for path in self.paths.values()],
            [(tally, tally.values(document)) for tally in self._tallies.values()],
            [(order, order.key(document)) for order in self._orders.values()],
            [(index, index.definition.entries(document)) for index in self._unique.values()],
        )

    def check(
        self, number: int, entries: Entries, document: dict[str, Any], namespace: str
    ) -> None:
        """Raise (11000) if another document has one of a document's keys in a unique index."""
        for index, keys in entries.unique:
            index.check(number, keys, document, namespace)

    def add(self, number: int, entries: Entries) -> None:
        """Take a checked document in."""
        self.ids[entries.identifier] = number
        for path, keys in entries.paths:
            path.add(number, keys)
        for tally, values in entries.tallies:
            tally.add(values)
        for order, key in entries.orders:
            order.add(number, key)
        for index, whole in entries.unique:
            index.add(number, whole)

    def remove(self, number: int, entries: Entries) -> None:
        """Take a document out."""
        self.ids.pop(entries.identifier, None)
        for path, keys in entries.paths:
            path.remove(number, keys)
        for tally, values in entries.tallies:
            tally.remove(values)
        for order, key in entries.orders:
            order.remove(number, key)
        for index, whole in entries.unique:
            index.remove(whole)

    # -- making and dropping -----------------------------------------------------------------

    def create(
        self, index: IndexDefinition, documents: Mapping[int, dict[str, Any]], namespace: str
    ) -> bool:
        """Make an index; False if it is there already.

        Raises
        ------
        DatabaseError
            If the name or the key is taken by a different index, or documents are not unique.
        """
        if index.key == {"_id": 1} and list(index.key) == ["_id"]:
            return False
        for other in self.definitions.values():
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
        self.restore(index, documents, namespace)
        return True

    def restore(
        self, index: IndexDefinition, documents: Mapping[int, dict[str, Any]], namespace: str
    ) -> None:
        """Make an index that is known not to be there."""
        if index.unique:
            unique = UniqueIndex(index)
            for number, document in documents.items():
                keys = index.entries(document)
                unique.check(number, keys, document, namespace)
                unique.add(number, keys)
            self._unique[index.name] = unique
        for path in index.key:
            if path != "_id" and path not in self.paths:
                hashed = PathIndex(path)
                hashed.fill(documents)
                self.paths[path] = hashed
        self.definitions[index.name] = index

    def drop(self, name: str) -> None:
        """Remove an index by name.

        Raises
        ------
        DatabaseError
            If there is none (27), or it is the one on ``_id`` (72).
        """
        if name == "_id_":
            raise DatabaseError(72, "cannot drop _id index")
        if name not in self.definitions:
            raise DatabaseError(27, f"index not found with name [{name}]")
        del self.definitions[name]
        self._unique.pop(name, None)
        still_used = {path for index in self.definitions.values() for path in index.key}
        self.paths = {path: hashed for path, hashed in self.paths.items() if path in still_used}
        self._tallies.clear()
        self._orders.clear()

"""Hash indexes: which documents have this value at this path, and is it taken already?

Every path named by an index gets a hash map from value to documents, which answers equality and
``$in``; a unique index has a map of whole keys beside it. Nothing is ordered: ranges and sorting
scan, which at the sizes of one machine takes tenths of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import DatabaseError
from .matching import compile_filter
from .predicates import DocumentTest
from .values import MISSING, hash_key, lookup, split_path
from .whole_keys import whole_keys


@dataclass
class IndexDefinition:
    """One index as ``createIndexes`` was asked for it.

    Attributes
    ----------
    name : of the index
    key : path and direction (1, -1 or "hashed"), in order
    unique, sparse : as in MongoDB
    partial : filter of documents the index covers, or None
    expire_after : seconds until documents expire (TTL), or None
    """

    name: str
    key: dict[str, Any]
    unique: bool = False
    sparse: bool = False
    partial: dict[str, Any] | None = None
    expire_after: float | None = None
    covers: DocumentTest = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.covers = compile_filter(self.partial or {})

    def to_document(self) -> dict[str, Any]:
        """The definition as ``listIndexes`` reports it and the journal keeps it."""
        document: dict[str, Any] = {"v": 2, "key": dict(self.key), "name": self.name}
        if self.unique:
            document["unique"] = True
        if self.sparse:
            document["sparse"] = True
        if self.partial is not None:
            document["partialFilterExpression"] = self.partial
        if self.expire_after is not None:
            document["expireAfterSeconds"] = self.expire_after
        return document

    def entries(self, document: dict[str, Any]) -> set[tuple[Any, ...]]:
        """Keys under which a unique index knows the document; empty if it is not covered."""
        if not self.covers(document):
            return set()
        keys = whole_keys(document, [split_path(path) for path in self.key])
        if self.sparse:
            keys = [key for key in keys if any(value is not MISSING for value in key)]
        return {tuple(map(hash_key, key)) for key in keys}


def _searchable_values(document: dict[str, Any], parts: tuple[str, ...]) -> set[Any]:
    """Hash keys an equality condition on the path may match this document with."""
    if len(parts) == 1 and type(value := document.get(parts[0], MISSING)) is not list:
        return {hash_key(value)}
    keys = set()
    for value in lookup(document, parts):
        keys.add(hash_key(value))
        if isinstance(value, list):
            keys.update(map(hash_key, value))
    return keys


Finder = Callable[[Iterable[Any]], list[set[int]]]
"""Takes hash keys, and gives a set of documents for each key that occurs."""


class PathIndex:
    """Hash map from the values at one path to numbers of documents.

    Parameters
    ----------
    path : dotted path
    """

    def __init__(self, path: str) -> None:
        self.parts = split_path(path)
        self._numbers: dict[Any, int | set[int]] = {}

    def keys(self, document: dict[str, Any]) -> set[Any]:
        """Keys under which the map knows a document."""
        return _searchable_values(document, self.parts)

    def add(self, number: int, keys: Iterable[Any]) -> None:
        """Take a document in under its keys."""
        for key in keys:
            present = self._numbers.get(key)
            if present is None:
                self._numbers[key] = number  # most values are unique: a set each would be large
            elif isinstance(present, set):
                present.add(number)
            else:
                self._numbers[key] = {present, number}

    def remove(self, number: int, keys: Iterable[Any]) -> None:
        """Take a document out again."""
        for key in keys:
            present = self._numbers.get(key)
            if isinstance(present, set):
                present.discard(number)
                if not present:
                    del self._numbers[key]
            elif present == number:
                del self._numbers[key]

    def fill(self, documents: Mapping[int, dict[str, Any]]) -> None:
        """Take in all documents of a collection."""
        for number, document in documents.items():
            self.add(number, self.keys(document))

    def find(self, keys: Iterable[Any]) -> list[set[int]]:
        """Sets of documents, one for each key that occurs."""
        found = []
        for key in keys:
            present = self._numbers.get(key)
            if present is not None:
                found.append(present if isinstance(present, set) else {present})
        return found


class UniqueIndex:
    """Whole keys of a unique index, each held by one document."""

    def __init__(self, definition: IndexDefinition) -> None:
        self.definition = definition
        self._holders: dict[tuple[Any, ...], int] = {}

    def check(
        self, number: int, entries: set[tuple[Any, ...]], document: dict[str, Any], namespace: str
    ) -> None:
        """Raise (11000, duplicate key) if another document holds one of a document's entries."""
        for entry in entries:
            if self._holders.get(entry, number) != number:
                raise self._duplicate(document, namespace)

    def _duplicate(self, document: dict[str, Any], namespace: str) -> DatabaseError:
        values = {}
        for path in self.definition.key:
            value = next(lookup(document, split_path(path)), None)
            values[path] = None if value is MISSING else value
        return DatabaseError(
            11000,
            f"E11000 duplicate key error collection: {namespace} "
            f"index: {self.definition.name} dup key: {values!r}"[:2000],
            keyPattern=dict(self.definition.key),
            keyValue=values,
        )

    def add(self, number: int, entries: Iterable[tuple[Any, ...]]) -> None:
        """Let a document hold its keys."""
        for entry in entries:
            self._holders[entry] = number

    def remove(self, entries: Iterable[tuple[Any, ...]]) -> None:
        """Free the keys again."""
        for entry in entries:
            self._holders.pop(entry, None)


_KNOWN_OPTIONS = {
    "key", "name", "unique", "sparse", "partialFilterExpression", "expireAfterSeconds",
    "background", "v", "ns", "hidden",
}  # fmt: skip


def parse_definition(document: Mapping[str, Any]) -> IndexDefinition:
    """Definition from an entry of ``createIndexes``.

    Raises
    ------
    DatabaseError
        For index types (text, 2dsphere ...) and options this server has not.
    """
    key = dict(document.get("key") or {})
    if not key:
        raise DatabaseError(67, "an index needs at least one key")
    for path, direction in key.items():
        if isinstance(direction, str) and direction != "hashed":
            raise DatabaseError(
                67, f"{direction!r} indexes are not supported by the embedded server ({path})"
            )
        if isinstance(direction, bool) or direction in (0, None) or "$**" in path:
            raise DatabaseError(67, f"bad index key {path!r}: {direction!r}")
    unknown = set(document) - _KNOWN_OPTIONS
    if unknown:
        raise DatabaseError(
            67, f"index options not supported by the embedded server: {', '.join(sorted(unknown))}"
        )
    name = document.get("name") or "_".join(f"{path}_{way}" for path, way in key.items())
    return IndexDefinition(
        name=str(name),
        key=key,
        unique=bool(document.get("unique", False)),
        sparse=bool(document.get("sparse", False)),
        partial=document.get("partialFilterExpression"),
        expire_after=document.get("expireAfterSeconds"),
    )

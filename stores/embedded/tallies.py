"""What is kept beside the hash indexes once it was asked for: counts by value, and order.

A *tally* counts the documents with each combination of values at some indexed paths, so that "how
many in each state and space group" is read off instead of counted. An *order* lists the documents
along one indexed path, so that "the ten slowest" looks at ten. Both are made by the first query
that needs them (a few tenths of a second with 100,000 documents) and follow every change after it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from .values import MISSING, document_sort_key, hash_key, split_path

MOST_COMBINATIONS = 5000
"""A tally of more combinations than this saves nothing and is not kept."""

_NULL = hash_key(None)

Combination = tuple[tuple[Any, ...], tuple[Any, ...]]
"""Hashable stand-ins of a document's values at some paths, and the values."""

COUNTED_APART = object()
"""Stands in a tally for an array or a sub-document, whose matching is not that of one value."""


class Tally:
    """Number of documents with each combination of values.

    Parameters
    ----------
    paths : dotted paths, in the order of the combinations

    Attributes
    ----------
    useful : False once there are too many combinations
    """

    def __init__(self, paths: tuple[str, ...]) -> None:
        self.paths = paths
        self.useful = True
        self._parts = [split_path(path) for path in paths]
        self._counts: dict[tuple[Any, ...], int] = {}
        self._values: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def values(self, document: dict[str, Any]) -> Combination:
        """The document's values, and what stands for them as a key."""
        values = tuple(_single(document, parts) for parts in self._parts)
        return _combination(values), values

    def add(self, combination: Combination) -> None:
        """Count a document with these values."""
        if not self.useful:
            return
        key, values = combination
        count = self._counts.get(key)
        if count is not None:
            self._counts[key] = count + 1
            return
        self._counts[key] = 1
        self._values[key] = values
        if len(self._counts) > MOST_COMBINATIONS:
            self.useful = False
            self._counts, self._values = {}, {}

    def remove(self, combination: Combination) -> None:
        """Count a document with these values no more."""
        if not self.useful:
            return
        key, _ = combination
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key], self._values[key]

    def matching(
        self, bounds: Iterable[tuple[str, set[Any]]]
    ) -> list[tuple[dict[str, Any], int]] | None:
        """Combinations that satisfy equality conditions on the tally's paths, with their counts.

        Parameters
        ----------
        bounds : path, and the hash keys one of which the value must have

        Returns
        -------
        Values by path with the number of documents; None where a document must be looked at to
        know, because it holds an array, a sub-document or nothing at one of the paths.
        """
        columns = [(self.paths.index(path), keys) for path, keys in bounds]
        found = []
        for key, count in self._counts.items():
            if any(key[column] is COUNTED_APART for column, _ in columns):
                return None
            if not all(
                key[column] in keys or (key[column] is MISSING and _NULL in keys)
                for column, keys in columns
            ):
                continue
            values = self._values[key]
            if any(value is MISSING or value is COUNTED_APART for value in values):
                return None
            found.append((dict(zip(self.paths, values, strict=True)), count))
        return found


def _single(document: dict[str, Any], parts: tuple[str, ...]) -> Any:
    """The one scalar at a path, MISSING, or COUNTED_APART."""
    value: Any = document
    for part in parts:
        if type(value) is not dict:
            return COUNTED_APART if isinstance(value, list) else MISSING
        value = value.get(part, MISSING)
        if value is MISSING:
            return MISSING
    return COUNTED_APART if isinstance(value, dict | list) else value


def _combination(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Hashable stand-in of values; what is missing is told apart from null."""
    return tuple(
        value if value is COUNTED_APART or value is MISSING else hash_key(value) for value in values
    )


class Order:
    """Documents along one path.

    Parameters
    ----------
    path : dotted path
    descending : direction, which decides what counts of an array
    """

    def __init__(self, path: str, *, descending: bool) -> None:
        self.descending = descending
        self._parts = split_path(path)
        self._sorted: list[tuple[Any, int]] = []

    def fill(self, documents: Mapping[int, dict[str, Any]]) -> None:
        """Take all documents in at once."""
        self._sorted = sorted((self.key(d), number) for number, d in documents.items())

    def key(self, document: dict[str, Any]) -> Any:
        """What places a document in the order."""
        return document_sort_key(document, self._parts, self.descending)

    def add(self, number: int, key: Any) -> None:
        """Take a document in at its place."""
        insort(self._sorted, (key, number))

    def remove(self, number: int, key: Any) -> None:
        """Take a document out again."""
        del self._sorted[bisect_left(self._sorted, (key, number))]

    def runs(self) -> Iterator[list[int]]:
        """Numbers of documents with equal values, run after run; in a run, by number."""
        entries = reversed(self._sorted) if self.descending else iter(self._sorted)
        for _, run in groupby(entries, key=lambda entry: entry[0]):
            yield sorted(number for _, number in run)

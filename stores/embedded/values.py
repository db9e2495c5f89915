"""BSON values: dotted paths into them, equality, order, hashing and copies.

MongoDB compares across types by a fixed order of types, treats 1 and 1.0 as equal but never 1 and
``true``, and looks through arrays on the way along a path. Matching, indexes, updates and sorting
all rest on the definitions in this one module.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator
from typing import Any

from bson import (
    Binary,
    Code,
    DatetimeMS,
    Decimal128,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
)

from .binaries import DiskBinary


class _Missing:
    """What a path leads to when the document has nothing there."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING = _Missing()

# Order of BSON types: MongoDB manual, "Comparison/Sort Order". Numbers of all kinds share a rank.
_RANKS: dict[type, int] = {
    MinKey: 0,
    _Missing: 5,
    type(None): 5,
    int: 10,
    float: 10,
    Decimal128: 10,
    str: 15,
    dict: 20,
    list: 25,
    bytes: 30,
    Binary: 30,
    DiskBinary: 30,
    ObjectId: 35,
    bool: 40,
    dt.datetime: 45,
    DatetimeMS: 45,
    Timestamp: 47,
    Regex: 50,
    Code: 60,
    MaxKey: 127,
}


def type_rank(value: Any) -> int:
    """Rank of the value's type in MongoDB's comparison order."""
    rank = _RANKS.get(type(value))
    if rank is not None:
        return rank
    for kind, rank in _RANKS.items():  # subclasses such as Int64
        if isinstance(value, kind) and kind is not int:
            return rank
    if isinstance(value, int):
        return 10
    raise TypeError(f"{type(value).__name__} is not a BSON type")


def _time_key(value: dt.datetime | DatetimeMS) -> tuple[Any, ...]:
    if isinstance(value, DatetimeMS):  # before the year 1 or after 9999
        return (45, 2 if int(value) > 0 else 0, int(value))
    if value.tzinfo is not None:  # from an aggregation expression; stored times are naive UTC
        value = value.astimezone(dt.UTC).replace(tzinfo=None)
    return (45, 1, value)


def sort_key(value: Any) -> tuple[Any, ...]:
    """Key under which Python's tuple order equals MongoDB's order of values.

    ``sort_key(a) < sort_key(b)`` holds exactly when a sorts before b; equal keys mean equal values
    in MongoDB's sense (1 and 1.0 are, 1 and true are not).
    """
    kind = type(value)
    if kind is str:
        return (15, value)
    if kind is int or kind is float:
        # NaN sorts below every number and equals itself
        return (10, 0) if value != value else (10, 1, value)
    if kind is ObjectId:
        return (35, value.binary)
    if kind is dt.datetime:
        return _time_key(value)
    rank = type_rank(value)
    if rank == 10:
        number = value.to_decimal() if isinstance(value, Decimal128) else value
        return (10, 0) if number != number else (10, 1, number)
    if rank == 20:
        return (20, tuple((type_rank(v), k, sort_key(v)) for k, v in value.items()))
    if rank == 25:
        return (25, tuple(sort_key(v) for v in value))
    if rank == 30:
        data = bytes(value)
        return (30, len(data), getattr(value, "subtype", 0), data)
    if rank == 40:
        return (40, value)
    if rank == 45:
        return _time_key(value)
    if rank == 47:
        return (47, value.time, value.inc)
    if rank == 50:
        return (50, value.pattern, value.flags)
    if rank == 60:
        return (60, str(value))
    return (rank,)  # null, missing, MinKey, MaxKey: all values of the type are equal


def hash_key(value: Any) -> Any:
    """Hashable stand-in for a value: two of them are equal exactly when the values are."""
    kind = type(value)
    if kind is str or kind is ObjectId:
        return value
    key = sort_key(value)
    # a bare number is smaller than a tuple, and equal ones of all kinds hash alike
    return key[2] if key[0] == 10 and len(key) == 3 else key


def equal(a: Any, b: Any) -> bool:
    """Equality as queries see it (1 == 1.0, key order of documents counts, NaN == NaN)."""
    return bool(hash_key(a) == hash_key(b))


def identical(a: Any, b: Any) -> bool:
    """True when storing `b` over `a` would change nothing at all, types included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return (
            len(a) == len(b)
            and list(a) == list(b)
            and all(identical(v, b[k]) for k, v in a.items())
        )
    if isinstance(a, list):
        return len(a) == len(b) and all(map(identical, a, b))
    if isinstance(a, float) and math.isnan(a):
        return math.isnan(b)
    if isinstance(a, Binary):
        return a == b and a.subtype == b.subtype
    return bool(a == b)


def clone(value: Any) -> Any:
    """Deep copy of documents and arrays; scalars are immutable and shared."""
    kind = type(value)
    if kind is dict:
        return {k: (clone(v) if type(v) in (dict, list) else v) for k, v in value.items()}
    if kind is list:
        return [clone(v) if type(v) in (dict, list) else v for v in value]
    return value


def deeper(value: dict[str, Any], limit: int) -> bool:
    """Whether a document has more levels of nesting than `limit`, itself counted as one."""
    level: list[Any] = [value]
    for _ in range(limit):
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True


_ELEMENT_NUMBER = re.compile("0|[1-9][0-9]{0,17}")


def element_number(part: str) -> int | None:
    """Number of the array element that a part of a path names, or None: ``01`` is a field name."""
    return int(part) if _ELEMENT_NUMBER.fullmatch(part) else None


def lookup(value: Any, parts: tuple[str, ...], position: int = 0) -> Iterator[Any]:
    """Yield everything a dotted path leads to, looking through arrays as queries do.

    Yields MISSING for each sub-document that lacks the field. An array on the way contributes its
    sub-documents (and the element with that number, if the part is a number), never its scalars.
    """
    if position == len(parts):
        yield value
        return
    part = parts[position]
    if isinstance(value, dict):
        if part in value:
            yield from lookup(value[part], parts, position + 1)
        else:
            yield MISSING
    elif isinstance(value, list):
        number = element_number(part)
        if number is not None and number < len(value):
            yield from lookup(value[number], parts, position + 1)
        for element in value:
            if isinstance(element, dict) and (number is None or part in element):
                yield from lookup(element, parts, position)
    else:
        yield MISSING


def split_path(path: str) -> tuple[str, ...]:
    """Parts of a dotted path."""
    return tuple(path.split("."))


def document_sort_key(document: dict[str, Any], parts: tuple[str, ...], descending: bool) -> Any:
    """Sort key of a document along one path.

    Of an array, the smallest element counts when ascending and the largest when descending; an
    empty array sorts before null, as in MongoDB.
    """
    keys: list[tuple[Any, ...]] = []
    for value in lookup(document, parts):
        if isinstance(value, list):
            keys.extend(sort_key(v) for v in value) if value else keys.append((4,))
        else:
            keys.append(sort_key(value))
    if len(keys) == 1:
        return keys[0]
    if not keys:
        return (5,)
    return max(keys) if descending else min(keys)

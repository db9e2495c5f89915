"""TTL indexes: documents that are deleted some seconds after the time they carry.

A wrong number of seconds would delete everything, so what ``createIndexes`` is asked for is
checked, and an index that was stored without the check expires nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from .collection import Collection
from .errors import DatabaseError
from .indexes import IndexDefinition
from .values import lookup, split_path

MOST_SECONDS = 2**31 - 1
"""Longest time to live, as in MongoDB."""


def check_expiry(index: IndexDefinition) -> None:
    """Check the TTL option of an index that is asked for.

    Raises
    ------
    DatabaseError
        If it is not a number from 0 to `MOST_SECONDS` or the index has several paths (67), or is
        the one on ``_id`` (197).
    """
    seconds = index.expire_after
    if seconds is None:
        return
    if list(index.key) == ["_id"]:
        raise DatabaseError(197, "expireAfterSeconds is not valid for an index on _id")
    if len(index.key) != 1:
        raise DatabaseError(
            67, "TTL indexes are single-field indexes, compound indexes do not support TTL"
        )
    if not _is_valid(seconds):
        raise DatabaseError(
            67, f"expireAfterSeconds must be a number from 0 to {MOST_SECONDS}, not {seconds!r}"
        )


def _is_valid(seconds: Any) -> bool:
    return (
        isinstance(seconds, int | float)
        and not isinstance(seconds, bool)
        and 0 <= seconds <= MOST_SECONDS  # false for NaN
    )


def unusable(indexes: Mapping[str, IndexDefinition]) -> list[str]:
    """Names of TTL indexes that expire nothing because an earlier version did not check them."""
    names = []
    for name, index in indexes.items():
        try:
            check_expiry(index)
        except DatabaseError:
            names.append(name)
    return names


def expired(collection: Collection, now: dt.datetime) -> list[int]:
    """Numbers of documents past the time of a TTL index (`now` is naive UTC)."""
    numbers: set[int] = set()
    left_out = unusable(collection.indexes)
    for name, index in collection.indexes.items():
        if index.expire_after is None or name in left_out:
            continue
        limit = now - dt.timedelta(seconds=float(index.expire_after))
        parts = split_path(next(iter(index.key)))
        for number, document in collection.documents.items():
            times = []
            for value in lookup(document, parts):
                times += value if isinstance(value, list) else [value]
            times = [value for value in times if isinstance(value, dt.datetime)]
            if times and min(times) <= limit and index.covers(document):
                numbers.add(number)
    return sorted(numbers)

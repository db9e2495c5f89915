"""Whole keys of a document in an index over one path or several.

An array is taken apart, one key for each element. Paths that lead into the same array go through
it together, element by element; two different arrays in one index are refused, as their elements
would have to be combined all with all.
"""

from __future__ import annotations

from typing import Any

from .errors import DatabaseError
from .values import MISSING, element_number

Column = tuple[Any, tuple[str, ...] | None]
"""A value and what is left of the path from there; None where the path has been gone."""


def whole_keys(document: dict[str, Any], paths: list[tuple[str, ...]]) -> list[tuple[Any, ...]]:
    """Values at the paths, once for each element of an array.

    Parameters
    ----------
    document : as stored
    paths : parts of each path

    Returns
    -------
    One value for each path (MISSING where nothing is), in each key.

    Raises
    ------
    DatabaseError
        If the paths lead into two different arrays (171).
    """
    return _keys([(document, parts) for parts in paths])


def _keys(columns: list[Column]) -> list[tuple[Any, ...]]:
    columns = [_until_array(*column) for column in columns]
    arrays = [value for value, rest in columns if rest is not None]
    if not arrays:
        return [tuple(value for value, _ in columns)]
    array = arrays[0]
    if any(other is not array for other in arrays):
        raise DatabaseError(171, "an index cannot take two arrays of a document")
    keys = []
    for element in array:
        keys += _keys(
            [(v, None) if rest is None else _inside(element, rest) for v, rest in columns]
        )
    # of an empty array there is one key
    return keys or [tuple(MISSING if rest else value for value, rest in columns)]


def _until_array(value: Any, parts: tuple[str, ...] | None) -> Column:
    """Follow a path to its end or to an array."""
    if parts is None:
        return value, None
    for i, part in enumerate(parts):
        if isinstance(value, dict):
            if part not in value:
                return MISSING, None
            value = value[part]
        elif isinstance(value, list):
            number = element_number(part)
            if number is None or number >= len(value):
                return value, parts[i:]
            value = value[number]
        else:
            return MISSING, None
    return value, () if isinstance(value, list) else None


def _inside(element: Any, rest: tuple[str, ...]) -> Column:
    """Where a path goes on inside an element; an array in an array is a value as a whole."""
    if not rest:
        return element, None
    return (element, rest) if isinstance(element, dict) else (MISSING, None)

"""Arrays as sets: order and repetition do not count, and 1 and ``true`` are two elements."""

from __future__ import annotations

from typing import Any

from ..errors import DatabaseError
from ..values import hash_key, sort_key
from .compiling import function
from .scopes import nullish, truth


def distinct(values: Any) -> dict[Any, Any]:
    """The first of each value, by its hash key."""
    found: dict[Any, Any] = {}
    for value in values:
        found.setdefault(hash_key(value), value)
    return found


def _set(operator: str, value: Any, code: int) -> dict[Any, Any]:
    if not isinstance(value, list):
        raise DatabaseError(code, f"All operands of {operator} must be arrays, found: {value!r}")
    return distinct(value)


@function("$setUnion", 0, None)
def _union(*arrays: Any) -> Any:
    found: dict[Any, Any] = {}
    for array in arrays:
        if nullish(array):
            return None
        found = {**_set("$setUnion", array, 17043), **found}
    return sorted(found.values(), key=sort_key)


@function("$setIntersection", 0, None)
def _intersection(*arrays: Any) -> Any:
    found: dict[Any, Any] | None = None
    for array in arrays:
        if nullish(array):
            return None
        items = _set("$setIntersection", array, 17047)
        found = items if found is None else {k: v for k, v in found.items() if k in items}
    return sorted((found or {}).values(), key=sort_key)


@function("$setDifference", 2)
def _difference(a: Any, b: Any) -> Any:
    if nullish(a) or nullish(b):
        return None
    first, second = _set("$setDifference", a, 17048), _set("$setDifference", b, 17049)
    return [value for key, value in first.items() if key not in second]


@function("$setEquals", 2, None)
def _equals(*arrays: Any) -> bool:
    first, *others = (_set("$setEquals", array, 17044).keys() for array in arrays)
    return all(first == other for other in others)


@function("$setIsSubset", 2)
def _is_subset(a: Any, b: Any) -> bool:
    return _set("$setIsSubset", a, 17046).keys() <= _set("$setIsSubset", b, 17042).keys()


@function("$anyElementTrue", 1)
def _any(array: Any) -> bool:
    return any(map(truth, _set("$anyElementTrue", array, 17041).values()))


@function("$allElementsTrue", 1)
def _all(array: Any) -> bool:
    return all(map(truth, _set("$allElementsTrue", array, 17040).values()))

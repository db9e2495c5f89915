"""Projections of ``find`` and ``findAndModify``: which fields of a document go to the client."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from .errors import DatabaseError, not_implemented
from .expressions import field_path
from .expressions.scopes import is_operator
from .matching import element_test
from .positions import matched_element
from .reshaping import Tree, compile_selection, entries, flag, is_flag
from .values import split_path

Projection = Callable[[dict[str, Any]], dict[str, Any]]

_ArrayChange = Callable[[dict[str, Any]], None]
"""Cuts or filters an array of a projected document."""


def compile_projection(
    specification: Mapping[str, Any] | None,
    query: Mapping[str, Any],
    variables: Mapping[str, Any] | None = None,
) -> Projection:
    """Function that projects one document.

    Parameters
    ----------
    specification : projection document; None or empty keeps everything
    query : the filter, for the positional ``field.$``
    variables : values of ``let``

    Raises
    ------
    DatabaseError
        When inclusion and exclusion are mixed (31253, 31254), or paths collide (31249).
    """
    if not specification:
        return lambda document: document
    matches: dict[str, _ArrayChange] = {}
    slices: dict[str, _ArrayChange] = {}
    selected: dict[str, Any] = {}
    positional = None
    for path, value in specification.items():
        operator = next(iter(value)) if is_operator(value) else None
        if path.endswith(".$"):
            positional = path[:-2]
            selected[positional] = True
        elif operator == "$elemMatch":
            if "." in path:
                raise DatabaseError(31275, "Cannot use $elemMatch projection on a nested field")
            matches[path] = _matching(path, value["$elemMatch"])
        elif operator == "$slice" and not _is_computed(value["$slice"]):
            slices[path] = _slicing(split_path(path), value["$slice"])
        elif operator == "$meta":
            raise not_implemented("$meta")
        else:
            selected[path] = value
    arrays = {**matches, **slices}
    named = list(entries(selected, 51270)) if selected else []
    collisions = Tree()
    for path_parts in [*(parts for parts, _ in named), *map(field_path, arrays)]:
        collisions.grow(path_parts, None)
    ways = [not is_flag(v) or flag(v) for path, v in named if path != ("_id",) or not is_flag(v)]
    if not ways and not matches:
        ways = [is_flag(v) and flag(v) for _, v in named]
    including = bool(matches) or any(ways)
    kept = [*matches, *slices] if including else []
    named += [(split_path(path), True) for path in kept]
    reshape = compile_selection(named, variables, including=including)

    def project(document: dict[str, Any]) -> dict[str, Any]:
        result = reshape(document)
        for change in arrays.values():
            change(result)
        if positional is not None:
            _keep_matched(document, result, positional, query)
        return result

    return project


def _matching(name: str, condition: Any) -> _ArrayChange:
    """``$elemMatch``: keeps the first element that matches."""
    test = element_test(condition)

    def change(document: dict[str, Any]) -> None:
        array = document.get(name)
        elements = array if isinstance(array, list) else []
        matched = next(([element] for element in elements if test(element)), None)
        if matched is None:
            document.pop(name, None)
        else:
            document[name] = matched

    return change


def _is_computed(operand: Any) -> bool:
    """Whether the operand of a ``$slice`` is that of the expression, which names its array."""
    return isinstance(operand, list) and bool(operand) and not _is_number(operand[0])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)


def _slicing(parts: tuple[str, ...], operand: Any) -> _ArrayChange:
    """``$slice``: cuts an array; what is inside is copied, for it belongs to the store."""
    if isinstance(operand, list):
        if len(operand) != 2 or not all(map(_is_number, operand)) or not operand[1] > 0:
            raise DatabaseError(28724, "$slice takes a number or [skip, positive limit]")
    elif not _is_number(operand):
        raise DatabaseError(28667, f"$slice takes a number or [skip, limit], not {operand!r}")

    def change(document: dict[str, Any]) -> None:
        name = parts[0]
        if document.get(name) is not None:
            document[name] = _sliced(document[name], parts[1:], operand)

    return change


def _sliced(value: Any, parts: tuple[str, ...], operand: Any) -> Any:
    """A copy of a value with the array at a path cut, also in each document of an array."""
    if not parts:
        return _slice(value, operand) if isinstance(value, list) else value
    if isinstance(value, list):
        return [
            _sliced(element, parts, operand) if isinstance(element, dict) else element
            for element in value
        ]
    if isinstance(value, dict) and parts[0] in value:
        return {**value, parts[0]: _sliced(value[parts[0]], parts[1:], operand)}
    return value


def _slice(array: list[Any], operand: Any) -> list[Any]:
    if isinstance(operand, list):
        skip, limit = (int(number) for number in operand)
        start = max(len(array) + skip, 0) if skip < 0 else skip
        return array[start : start + limit]
    count = int(operand)
    return array[:count] if count >= 0 else array[count:]


def _keep_matched(
    document: dict[str, Any], result: dict[str, Any], path: str, query: Mapping[str, Any]
) -> None:
    parts = split_path(path)
    source: Any = document
    for part in parts:
        source = source.get(part) if isinstance(source, dict) else None
    if not isinstance(source, list):
        return
    number = matched_element(source, path, query)
    if number is None:
        raise DatabaseError(51246, "the positional projection needs the array in the query")
    target = result
    for part in parts[:-1]:
        target[part] = dict(target[part])
        target = target[part]
    target[parts[-1]] = [source[number]]

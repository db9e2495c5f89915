"""Projections of ``find`` and ``findAndModify``: which fields of a document go to the client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .errors import DatabaseError, not_implemented
from .expressions import field_path
from .matching import element_test
from .positions import matched_element
from .reshaping import Tree, compile_selection, entries, flag, is_flag
from .values import split_path

Projection = Callable[[dict[str, Any]], dict[str, Any]]

_ARRAY_OPERATORS = {"$slice", "$elemMatch"}


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
    arrays: dict[str, dict[str, Any]] = {}
    selected: dict[str, Any] = {}
    positional = None
    for path, value in specification.items():
        if path.endswith(".$"):
            positional = path[:-2]
            selected[positional] = True
        elif isinstance(value, Mapping) and _ARRAY_OPERATORS & set(value):
            if "$elemMatch" in value and "." in path:
                raise DatabaseError(31275, "Cannot use $elemMatch projection on a nested field")
            arrays[path] = dict(value)
        elif isinstance(value, Mapping) and "$meta" in value:
            raise not_implemented("$meta")
        else:
            selected[path] = value
    matches = [path for path, operators in arrays.items() if "$elemMatch" in operators]
    slices = [path for path, operators in arrays.items() if "$slice" in operators]
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
        for path, operators in arrays.items():
            _apply_array_operator(result, split_path(path), operators)
        if positional is not None:
            _keep_matched(document, result, positional, query)
        return result

    return project


def _apply_array_operator(
    document: dict[str, Any], parts: tuple[str, ...], operators: dict[str, Any]
) -> None:
    """Apply ``$slice`` or ``$elemMatch``; what is inside is copied, for it belongs to the store."""
    name = parts[0]
    array = document.get(name)
    if "$slice" in operators:
        if array is not None:
            document[name] = _sliced(array, parts[1:], operators["$slice"])
        return
    test = element_test(operators["$elemMatch"])
    matched = (
        next(([element] for element in array if test(element)), None)
        if isinstance(array, list)
        else None
    )
    if matched is None:
        document.pop(name, None)
    else:
        document[name] = matched


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
        if len(operand) != 2 or operand[1] <= 0:
            raise DatabaseError(28724, "$slice takes a number or [skip, positive limit]")
        skip, limit = (int(number) for number in operand)
        start = max(len(array) + skip, 0) if skip < 0 else skip
        return array[start : start + limit]
    if isinstance(operand, bool) or not isinstance(operand, int | float):
        raise DatabaseError(28667, f"$slice takes a number or [skip, limit], not {operand!r}")
    count = int(operand)
    if count >= 0:
        return array[:count]
    return array[count:]


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

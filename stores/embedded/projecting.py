"""Projections of ``find`` and ``findAndModify``: which fields of a document go to the client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import expressions
from .errors import DatabaseError, not_implemented
from .matching import element_test
from .positions import matched_element
from .values import split_path

Projection = Callable[[dict[str, Any]], dict[str, Any]]

_ARRAY_OPERATORS = {"$slice", "$elemMatch"}


def compile_projection(
    specification: Mapping[str, Any] | None, query: Mapping[str, Any]
) -> Projection:
    """Function that projects one document.

    Parameters
    ----------
    specification : projection document; None or empty keeps everything
    query : the filter, for the positional ``field.$``

    Raises
    ------
    DatabaseError
        When inclusion and exclusion are mixed, or paths collide (31249).
    """
    if not specification:
        return lambda document: document
    for path in specification:
        _check_path(path.removesuffix(".$"))
    refuse_collisions(specification)
    arrays, flags, computed = {}, {}, {}
    positional = None
    for path, value in specification.items():
        if path.endswith(".$"):
            positional = path[:-2]
            flags[positional] = True
        elif isinstance(value, Mapping) and _ARRAY_OPERATORS & set(value):
            if "$elemMatch" in value and "." in path:
                raise DatabaseError(31275, "Cannot use $elemMatch projection on a nested field")
            arrays[path] = dict(value)
        elif isinstance(value, bool | int | float):
            flags[path] = bool(value)
        elif isinstance(value, Mapping) and "$meta" in value:
            raise not_implemented("$meta")
        else:
            computed[path] = value
    keeps_id = flags.pop("_id", True)
    ways = set(flags.values())
    if len(ways) > 1 or (computed and False in ways):
        raise DatabaseError(31254, "a projection cannot both include and exclude fields")
    only_id = not flags and not computed and specification.get("_id") and "_id" in specification
    matches = [path for path, operators in arrays.items() if "$elemMatch" in operators]
    slices = [path for path, operators in arrays.items() if "$slice" in operators]
    including = True in ways or bool(computed) or bool(matches) or bool(only_id)
    wanted = {path: True for path in [*flags, *matches, *(slices if including else [])]}
    if including:
        if keeps_id:
            wanted["_id"] = True
        tree = _tree(wanted)
    else:
        tree = _tree({**flags, **({} if keeps_id else {"_id": False})})

    def project(document: dict[str, Any]) -> dict[str, Any]:
        result = _include(document, tree) if including else _exclude(document, tree)
        for path, operators in arrays.items():
            _apply_array_operator(result, split_path(path), operators)
        if positional is not None:
            _keep_matched(document, result, positional, query)
        for path, expression in computed.items():
            _set_computed(result, document, path, expression)
        return result

    return project


def _check_path(path: str) -> None:
    if path.endswith("."):
        raise DatabaseError(40353, "FieldPath must not end with a '.'.")
    if not all(split_path(path)):
        raise DatabaseError(15998, f"FieldPath field names may not be empty strings ({path!r})")


def refuse_collisions(specification: Mapping[str, Any]) -> None:
    """Raise if one path of the projection lies inside another."""
    paths = [split_path(path.removesuffix(".$")) for path in specification]
    for path in paths:
        for length in range(1, len(path)):
            if path[:length] in paths:
                raise DatabaseError(31249, f"Path collision at {'.'.join(path)}")


def _tree(paths: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path in paths:
        node = tree
        *parents, last = split_path(path)
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = None
    return tree


def _include(value: dict[str, Any], tree: dict[str, Any]) -> dict[str, Any]:
    result = {}
    for key, item in value.items():
        if key not in tree:
            continue
        branch = tree[key]
        if branch is None:
            result[key] = item
        elif isinstance(item, dict):
            result[key] = _include(item, branch)
        elif isinstance(item, list):
            result[key] = _include_elements(item, branch)
    return result


def _include_elements(array: list[Any], tree: dict[str, Any]) -> list[Any]:
    result: list[Any] = []
    for element in array:
        if isinstance(element, dict):
            result.append(_include(element, tree))
        elif isinstance(element, list):
            result.append(_include_elements(element, tree))
    return result


def _exclude(value: dict[str, Any], tree: dict[str, Any]) -> dict[str, Any]:
    result = {}
    for key, item in value.items():
        if key not in tree:
            result[key] = item
        elif tree[key] is not None:
            result[key] = _exclude_inside(item, tree[key])
    return result


def _exclude_inside(value: Any, tree: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return _exclude(value, tree)
    if isinstance(value, list):
        return [_exclude_inside(element, tree) for element in value]
    return value


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


def _set_computed(
    result: dict[str, Any], document: dict[str, Any], path: str, expression: Any
) -> None:
    expressions.refuse_scripts(expression)
    (computed,) = expressions.run_stage(
        [document], {"$project": {"_id": 0, path: expression}}, expressions.NO_DATABASE
    )
    parts = split_path(path)
    for part in parts[:-1]:
        result = result.setdefault(part, {})
        computed = computed.get(part, {})
    if parts[-1] in computed:
        result[parts[-1]] = computed[parts[-1]]

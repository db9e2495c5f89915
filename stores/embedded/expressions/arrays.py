"""Arrays: ``$arrayElemAt``, ``$filter``, ``$map``, ``$reduce``, ``$slice`` ..."""

from __future__ import annotations

from typing import Any

from ..errors import DatabaseError
from ..values import MISSING, equal, hash_key
from .arithmetic import whole_number
from .compiling import (
    Evaluator,
    Names,
    arguments,
    compile_expression,
    constant,
    function,
    named,
    special,
)
from .scopes import Scope, check_name, nullish, present, scope_of, truth


def _array(operator: str, value: Any, code: int) -> list[Any]:
    if not isinstance(value, list):
        raise DatabaseError(code, f"{operator} requires an array, found: {value!r}")
    return value


@function("$arrayElemAt", 2)
def _element(array: Any, position: Any) -> Any:
    if nullish(array) or nullish(position):
        return None
    items = _array("$arrayElemAt", array, 28689)
    number = whole_number("$arrayElemAt", position, 28691)
    return items[number] if -len(items) <= number < len(items) else MISSING


@function("$first", 1)
def _first(array: Any) -> Any:
    return _element(array, 0)


@function("$last", 1)
def _last(array: Any) -> Any:
    return _element(array, -1)


@function("$concatArrays", 0, None)
def _concat(*arrays: Any) -> Any:
    result: list[Any] = []
    for array in arrays:
        if nullish(array):
            return None
        result += _array("$concatArrays", array, 28664)
    return result


@function("$isArray", 1)
def _is_array(value: Any) -> bool:
    return isinstance(value, list)


@function("$size", 1)
def _size(array: Any) -> int:
    return len(_array("$size", array, 17124))


@function("$reverseArray", 1)
def _reverse(array: Any) -> Any:
    return None if nullish(array) else _array("$reverseArray", array, 34435)[::-1]


@special("$in")
def _in(operand: Any, names: Names) -> Evaluator:
    value, array = arguments("$in", operand, names, 2, 2)
    if constant(operand[1]) and isinstance(items := array(scope_of({})), list):
        keys = {hash_key(item) for item in items}

        def is_among(scope: Scope) -> bool:
            wanted = value(scope)
            return wanted is not MISSING and hash_key(wanted) in keys

        return is_among

    def evaluate(scope: Scope) -> bool:
        wanted, items = value(scope), _array("$in", array(scope), 40081)
        if wanted is MISSING:
            return False
        key = hash_key(wanted)
        return any(hash_key(item) == key for item in items)

    return evaluate


@function("$indexOfArray", 2, 4)
def _index(array: Any, value: Any, start: Any = 0, end: Any = None) -> Any:
    if nullish(array):
        return None
    items = _array("$indexOfArray", array, 40090)
    first = whole_number("$indexOfArray", start, 40096)
    last = len(items) if end is None else whole_number("$indexOfArray", end, 40096)
    if first < 0 or last < 0:
        raise DatabaseError(40097, "$indexOfArray requires indexes that are not negative")
    for position in range(first, min(last, len(items))):
        if value is not MISSING and equal(items[position], value):
            return position
    return -1


@function("$range", 2, 3)
def _range(start: Any, end: Any, step: Any = 1) -> list[int]:
    bounds = whole_number("$range", start, 34443), whole_number("$range", end, 34445)
    stride = whole_number("$range", step, 34447)
    if stride == 0:
        raise DatabaseError(34449, "$range requires a non-zero step value")
    return list(range(*bounds, stride))


@function("$slice", 2, 3)
def _slice(array: Any, position: Any, count: Any = None) -> Any:
    if nullish(array) or nullish(position):
        return None
    items, first = _array("$slice", array, 28724), whole_number("$slice", position, 28726)
    if count is None:
        return items[:first] if first >= 0 else items[first:]
    number = whole_number("$slice", count, 28728)
    if number <= 0:
        raise DatabaseError(28729, f"Third argument to $slice must be positive: {number}")
    start = first if first >= 0 else max(len(items) + first, 0)
    return items[start : start + number]


@special("$filter")
def _filter(operand: Any, names: Names) -> Evaluator:
    parts = named("$filter", operand, ("input", "cond"), ("as", "limit"))
    name = check_name(parts.get("as", "this"))
    array = compile_expression(parts["input"], names)
    test = compile_expression(parts["cond"], names | {name})
    limit = compile_expression(parts.get("limit"), names)

    def evaluate(scope: Scope) -> Any:
        items, most = array(scope), limit(scope)
        if nullish(items):
            return None
        number = None if nullish(most) else whole_number("$filter", most, 327391)
        if number is not None and number <= 0:
            raise DatabaseError(327392, f"the limit of $filter must be positive: {number}")
        found = _array("$filter", items, 28651)
        return [item for item in found if truth(test({**scope, name: item}))][:number]

    return evaluate


@special("$map")
def _map(operand: Any, names: Names) -> Evaluator:
    parts = named("$map", operand, ("input", "in"), ("as",))
    name = check_name(parts.get("as", "this"))
    array = compile_expression(parts["input"], names)
    body = compile_expression(parts["in"], names | {name})

    def evaluate(scope: Scope) -> Any:
        items = array(scope)
        if nullish(items):
            return None
        return [present(body({**scope, name: item})) for item in _array("$map", items, 16883)]

    return evaluate


@special("$reduce")
def _reduce(operand: Any, names: Names) -> Evaluator:
    parts = named("$reduce", operand, ("input", "initialValue", "in"))
    array = compile_expression(parts["input"], names)
    initial = compile_expression(parts["initialValue"], names)
    body = compile_expression(parts["in"], names | {"this", "value"})

    def evaluate(scope: Scope) -> Any:
        items = array(scope)
        if nullish(items):
            return None
        value = initial(scope)
        for item in _array("$reduce", items, 40080):
            value = body({**scope, "this": item, "value": value})
        return value

    return evaluate

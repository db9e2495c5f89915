"""Documents: ``$objectToArray``, ``$arrayToObject`` and ``$getField``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import DatabaseError
from ..values import MISSING
from .compiling import Evaluator, Names, compile_expression, function, named, special
from .scopes import Scope, nullish


@function("$objectToArray", 1)
def _object_to_array(value: Any) -> Any:
    if nullish(value):
        return None
    if not isinstance(value, dict):
        raise DatabaseError(40390, f"$objectToArray requires a document input, found: {value!r}")
    return [{"k": key, "v": item} for key, item in value.items()]


@function("$arrayToObject", 1)
def _array_to_object(value: Any) -> Any:
    if nullish(value):
        return None
    if not isinstance(value, list):
        raise DatabaseError(40386, f"$arrayToObject requires an array input, found: {value!r}")
    result = {}
    for item in value:
        if isinstance(item, dict) and set(item) == {"k", "v"}:
            key, content = item["k"], item["v"]
        elif isinstance(item, list) and len(item) == 2:
            key, content = item
        else:
            raise DatabaseError(
                40398, "$arrayToObject needs documents of k and v, or arrays of two elements"
            )
        if not isinstance(key, str) or "\0" in key:
            raise DatabaseError(40394, f"$arrayToObject needs strings as keys, found: {key!r}")
        result[key] = content
    return result


@special("$getField")
def _get_field(operand: Any, names: Names) -> Evaluator:
    parts: Mapping[str, Any] = {"field": operand}
    if isinstance(operand, Mapping) and "field" in operand:
        parts = named("$getField", operand, ("field",), ("input",))
    name = parts["field"]
    if isinstance(name, Mapping) and set(name) == {"$literal"}:
        name = name["$literal"]
    elif isinstance(name, str) and name.startswith("$"):
        name = None
    if not isinstance(name, str):
        raise DatabaseError(5654602, "$getField requires 'field' to be a constant string")
    source = compile_expression(parts.get("input", "$$CURRENT"), names)

    def evaluate(scope: Scope) -> Any:
        value = source(scope)
        if nullish(value):
            return None
        return value.get(name, MISSING) if isinstance(value, dict) else MISSING

    return evaluate

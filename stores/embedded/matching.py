"""Query documents compiled to Python functions: does this document match?

`compile_filter` turns a filter into nested closures once, so that scanning 10⁵ documents costs
tens of milliseconds; `equality_bounds` tells which equality conditions every match must satisfy,
which is what a hash index can answer. Semantics: MongoDB manual, "Query and Projection Operators".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson import Regex

from .errors import DatabaseError, not_implemented
from .expressions import compile_test
from .predicates import (
    VALUE_OPERATORS,
    DocumentTest,
    OperatorBuilder,
    Predicate,
    any_element,
    equality,
    regex_predicate,
    whole_value,
)
from .values import hash_key, split_path

_NOT_IMPLEMENTED = {
    "$where", "$text", "$jsonSchema", "$near", "$nearSphere", "$geoWithin", "$geoIntersects",
    "$bitsAllClear", "$bitsAllSet", "$bitsAnyClear", "$bitsAnySet",
}  # fmt: skip


def compile_filter(
    conditions: Mapping[str, Any], variables: dict[str, Any] | None = None
) -> DocumentTest:
    """Compile a query filter.

    Parameters
    ----------
    conditions : filter document
    variables : values of ``$$name`` inside ``$expr`` (from ``let``)

    Raises
    ------
    DatabaseError
        For unknown operators (code 2), malformed operands and what is not implemented (238).
    """
    if not isinstance(conditions, Mapping):
        raise DatabaseError(14, "the filter must be a document")
    tests = [_compile_entry(key, value, variables) for key, value in conditions.items()]
    tests = [test for test in tests if test is not None]
    if not tests:
        return lambda document: True
    if len(tests) == 1:
        return tests[0]  # type: ignore[return-value]
    return lambda document: all(test(document) for test in tests)  # type: ignore[misc]


def _compile_entry(key: str, value: Any, variables: dict[str, Any] | None) -> DocumentTest | None:
    if not key.startswith("$"):
        return compile_field(split_path(key), value)
    if key == "$comment":
        return None
    if key in ("$and", "$or", "$nor"):
        if not isinstance(value, list) or not value:
            raise DatabaseError(2, f"{key} must be a nonempty array")
        tests = [compile_filter(branch, variables) for branch in value]
        if key == "$and":
            return lambda document: all(test(document) for test in tests)
        if key == "$or":
            return lambda document: any(test(document) for test in tests)
        return lambda document: not any(test(document) for test in tests)
    if key == "$expr":
        return compile_test(value, variables)
    if key in _NOT_IMPLEMENTED:
        raise not_implemented(key)
    raise DatabaseError(2, f"unknown top level operator: {key}")


def is_operator_document(value: Any) -> bool:
    """True for ``{"$gt": 1}``, false for a sub-document to be compared as a whole."""
    return isinstance(value, Mapping) and bool(value) and next(iter(value)).startswith("$")


def compile_field(parts: tuple[str, ...], condition: Any) -> DocumentTest:
    """Compile the condition on one path; the empty path means the value itself."""
    if not is_operator_document(condition):
        if isinstance(condition, Regex):
            return any_element(parts, regex_predicate(condition))
        return equality(parts, condition)
    tests = []
    for operator, operand in condition.items():
        if operator == "$options":
            if "$regex" not in condition:
                raise DatabaseError(2, "$options needs a $regex")
            continue
        if operator == "$regex":
            tests.append(any_element(parts, regex_predicate(operand, condition.get("$options"))))
        elif operator in _NOT_IMPLEMENTED:
            raise not_implemented(operator)
        elif operator in _OPERATORS:
            tests.append(_OPERATORS[operator](parts, operand))
        else:
            raise DatabaseError(2, f"unknown operator: {operator}")
    if len(tests) == 1:
        return tests[0]
    return lambda document: all(test(document) for test in tests)


def _not(parts: tuple[str, ...], operand: Any) -> DocumentTest:
    if not isinstance(operand, Regex) and not is_operator_document(operand):
        raise DatabaseError(2, "$not needs a regex or a document of operators")
    test = compile_field(parts, operand)
    return lambda document: not test(document)


def _all(parts: tuple[str, ...], operand: Any) -> DocumentTest:
    if not isinstance(operand, list):
        raise DatabaseError(2, "$all needs an array")
    tests = [compile_field(parts, item) for item in operand]
    return lambda document: bool(tests) and all(test(document) for test in tests)


def _elem_match(parts: tuple[str, ...], operand: Any) -> DocumentTest:
    test = element_test(operand)
    return whole_value(parts, lambda value: isinstance(value, list) and any(map(test, value)))


def element_test(condition: Any) -> Predicate:
    """Test of one array element against the operand of ``$elemMatch`` or ``$pull``."""
    if not isinstance(condition, Mapping):
        raise DatabaseError(2, "$elemMatch needs an object")
    if is_operator_document(condition) and not {"$and", "$or", "$nor", "$expr"} & set(condition):
        return compile_field((), condition)
    test = compile_filter(condition)
    return lambda element: isinstance(element, dict) and test(element)


_OPERATORS: dict[str, OperatorBuilder] = {
    **VALUE_OPERATORS,
    "$not": _not,
    "$all": _all,
    "$elemMatch": _elem_match,
}


def equality_bounds(conditions: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """Equality conditions that every match of the filter satisfies.

    Returns
    -------
    Pairs of a path and the hash keys one of which the document must have at that path.
    """
    bounds = []
    for path, condition in conditions.items():
        if path == "$and" and isinstance(condition, list):
            for branch in condition:
                bounds += equality_bounds(branch)
        if path.startswith("$"):
            continue
        values: list[Any] | None = None
        if not is_operator_document(condition):
            values = [condition]
        elif "$eq" in condition:
            values = [condition["$eq"]]
        elif isinstance(condition.get("$in"), list):
            values = condition["$in"]
        if values is not None and not any(isinstance(value, Regex) for value in values):
            bounds.append((path, [hash_key(value) for value in values]))
    return bounds


def exact_bounds(conditions: Mapping[str, Any]) -> list[tuple[str, set[Any]]] | None:
    """Equality conditions that together say exactly what the filter says.

    Returns
    -------
    Pairs of a path and the hash keys one of which a document must have there; None if the filter
    asks for anything else beside them.
    """
    for path, condition in conditions.items():
        if path.startswith("$"):
            return None
        values = [condition]
        if is_operator_document(condition):
            if set(condition) == {"$eq"}:
                values = [condition["$eq"]]
            elif set(condition) == {"$in"} and isinstance(condition["$in"], list):
                values = condition["$in"]
            else:
                return None
        if any(isinstance(value, Regex) for value in values):
            return None
    return [(path, set(keys)) for path, keys in equality_bounds(conditions)]


def exact_values(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Fields an upsert takes from its filter: plain and ``$eq`` conditions, also inside $and."""
    fields: dict[str, Any] = {}
    for path, condition in conditions.items():
        if path == "$and":
            for branch in condition:
                fields |= exact_values(branch)
        elif path.startswith("$"):
            continue
        elif not is_operator_document(condition):
            if not isinstance(condition, Regex):
                fields[path] = condition
        elif "$eq" in condition:
            fields[path] = condition["$eq"]
        elif isinstance(condition.get("$all"), list) and len(condition["$all"]) == 1:
            fields[path] = condition["$all"][0]
    return fields

"""Query documents compiled to Python functions: does this document match?

`compile_filter` turns a filter into nested closures once, so that scanning 10⁵ documents costs
tens of milliseconds; `equality_bounds` tells which equality conditions every match must satisfy,
which is what a hash index can answer. Semantics: MongoDB manual, "Query and Projection Operators".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bson import Regex

from .errors import DatabaseError, not_implemented
from .expressions import compile_test
from .predicates import (
    DBREF_FIELDS,
    VALUE_OPERATORS,
    DocumentTest,
    OperatorBuilder,
    Parts,
    Predicate,
    any_element,
    equality,
    is_operator_document,
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


def compile_field(parts: Parts, condition: Any) -> DocumentTest:
    """Compile the condition on one path."""
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


def _not(parts: Parts, operand: Any) -> DocumentTest:
    if not isinstance(operand, Regex) and not is_operator_document(operand):
        raise DatabaseError(2, "$not needs a regex or a document of operators")
    test = compile_field(parts, operand)
    return lambda document: not test(document)


def _all(parts: Parts, operand: Any) -> DocumentTest:
    if not isinstance(operand, list):
        raise DatabaseError(2, "$all needs an array")
    nested = [item for item in operand if is_operator_document(item)]
    if nested and not (
        len(nested) == len(operand) and all(next(iter(item)) == "$elemMatch" for item in nested)
    ):
        raise DatabaseError(2, "no $ expressions in $all")
    tests = [compile_field(parts, item) for item in operand]
    return lambda document: bool(tests) and all(test(document) for test in tests)


def _elem_match(parts: Parts, operand: Any) -> DocumentTest:
    test = element_test(operand)
    return whole_value(parts, lambda value: isinstance(value, list) and any(map(test, value)))


def element_test(condition: Any) -> Predicate:
    """Test of one array element against the operand of ``$elemMatch`` or ``$pull``."""
    if not isinstance(condition, Mapping):
        raise DatabaseError(2, "$elemMatch needs an object")
    if is_value_condition(condition):
        return compile_field(None, condition)
    # inside a DBRef the names of its fields begin with a dollar
    tests = [compile_field((key,), condition[key]) for key in condition if key in DBREF_FIELDS]
    tests.append(compile_filter({k: v for k, v in condition.items() if k not in DBREF_FIELDS}))
    return lambda element: isinstance(element, dict) and all(test(element) for test in tests)


def is_value_condition(condition: Mapping[str, Any]) -> bool:
    """True for operators on an element itself, false for conditions on fields of the element."""
    others = {"$and", "$or", "$nor", "$expr", *DBREF_FIELDS}
    return is_operator_document(condition) and not others & set(condition)


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


def exact_values(conditions: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield paths and values that an upsert takes from its filter.

    They are those of plain and ``$eq`` conditions and of ``$all`` with one value, also inside
    ``$and`` and inside ``$or`` with one branch. A path may come twice.
    """
    for path, condition in conditions.items():
        if path == "$and" or (path == "$or" and len(condition) == 1):
            for branch in condition:
                yield from exact_values(branch)
        elif path.startswith("$"):
            continue
        elif not is_operator_document(condition):
            if not isinstance(condition, Regex):
                yield path, condition
        elif "$eq" in condition:
            yield path, condition["$eq"]
        elif isinstance(condition.get("$all"), list) and len(condition["$all"]) == 1:
            (value,) = condition["$all"]
            if not is_operator_document(value) and not isinstance(value, Regex):
                yield path, value

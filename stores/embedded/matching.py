"""Query documents compiled to Python functions: does this document match?

`compile_filter` turns a filter into nested closures once, so that scanning 10⁵ documents costs
tens of milliseconds; `equality_bounds` tells which equality conditions every match must satisfy,
which is what a hash index can answer. Semantics: MongoDB manual, "Query and Projection Operators".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from bson import Decimal128, ObjectId, Regex

from . import expressions
from .errors import DatabaseError, not_implemented
from .values import MISSING, hash_key, lookup, sort_key, split_path, type_rank

Predicate = Callable[[Any], bool]
"""A test of one value."""

DocumentTest = Callable[[Any], bool]
"""A test of a whole document."""

_NOT_IMPLEMENTED = {
    "$where", "$text", "$jsonSchema", "$near", "$nearSphere", "$geoWithin", "$geoIntersects",
    "$bitsAllClear", "$bitsAllSet", "$bitsAnyClear", "$bitsAnySet",
}  # fmt: skip

# BSON type numbers and their names in queries: MongoDB manual, "BSON Types".
_TYPE_NAMES = {
    1: "double", 2: "string", 3: "object", 4: "array", 5: "binData", 7: "objectId", 8: "bool",
    9: "date", 10: "null", 11: "regex", 13: "javascript", 16: "int", 17: "timestamp", 18: "long",
    19: "decimal", -1: "minKey", 127: "maxKey",
}  # fmt: skip
_RANK_NAMES = {
    0: "minKey", 5: "null", 15: "string", 20: "object", 25: "array", 30: "binData",
    35: "objectId", 40: "bool", 45: "date", 47: "timestamp", 50: "regex", 60: "javascript",
    127: "maxKey",
}  # fmt: skip
_INT32 = range(-(2**31), 2**31)


def type_name(value: Any) -> str:
    """Name of the value's BSON type, as ``$type`` spells it."""
    rank = type_rank(value)
    if rank != 10:
        return _RANK_NAMES[rank]
    if isinstance(value, float):
        return "double"
    if isinstance(value, Decimal128):
        return "decimal"
    # Int64 is what the driver decodes a 64-bit integer to
    return "int" if type(value) is int and value in _INT32 else "long"


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
        expressions.refuse_scripts(value)
        return lambda document: expressions.is_true(value, document, variables)
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
            return _any_element(parts, _regex_predicate(condition))
        return _equality(parts, condition)
    tests = []
    for operator, operand in condition.items():
        if operator == "$options":
            if "$regex" not in condition:
                raise DatabaseError(2, "$options needs a $regex")
            continue
        if operator == "$regex":
            tests.append(_any_element(parts, _regex_predicate(operand, condition.get("$options"))))
        elif operator in _NOT_IMPLEMENTED:
            raise not_implemented(operator)
        elif operator in _OPERATORS:
            tests.append(_OPERATORS[operator](parts, operand))
        else:
            raise DatabaseError(2, f"unknown operator: {operator}")
    if len(tests) == 1:
        return tests[0]
    return lambda document: all(test(document) for test in tests)


def _any_element(parts: tuple[str, ...], predicate: Predicate) -> DocumentTest:
    """True if the value, or an element of it if it is an array, satisfies the predicate."""
    if len(parts) == 1:
        (name,) = parts

        def test(document: Any) -> bool:
            if type(document) is dict:
                value = document.get(name, MISSING)
                if type(value) is list:
                    return predicate(value) or any(map(predicate, value))
                return predicate(value)
            return general(document)
    else:

        def test(document: Any) -> bool:
            return general(document)

    def general(document: Any) -> bool:
        for value in lookup(document, parts):
            if predicate(value):
                return True
            if type(value) is list and any(map(predicate, value)):
                return True
        return False

    return test


def _whole_value(parts: tuple[str, ...], predicate: Predicate) -> DocumentTest:
    return lambda document: any(map(predicate, lookup(document, parts)))


def _equality(parts: tuple[str, ...], operand: Any) -> DocumentTest:
    kind = type(operand)
    if operand is None:
        return _any_element(parts, lambda value: value is None or value is MISSING)
    if kind is str or kind is ObjectId:
        return _any_element(parts, partial(_same, operand))
    key = hash_key(operand)
    if isinstance(operand, int | float) and kind is not bool and operand == operand:
        return _any_element(
            parts,
            lambda value: (
                type(value) is not bool and value == operand
                if isinstance(value, int | float)
                else isinstance(value, Decimal128) and hash_key(value) == key
            ),
        )
    rank = type_rank(operand)
    return _any_element(
        parts,
        lambda value: (
            value is not MISSING and type_rank(value) == rank and bool(hash_key(value) == key)
        ),
    )


def _same(operand: Any, value: Any) -> bool:
    return type(value) is type(operand) and bool(value == operand)


def _negated(build: Callable[[tuple[str, ...], Any], DocumentTest]) -> Callable[..., DocumentTest]:
    def negation(parts: tuple[str, ...], operand: Any) -> DocumentTest:
        test = build(parts, operand)
        return lambda document: not test(document)

    return negation


def _not(parts: tuple[str, ...], operand: Any) -> DocumentTest:
    if not isinstance(operand, Regex) and not is_operator_document(operand):
        raise DatabaseError(2, "$not needs a regex or a document of operators")
    test = compile_field(parts, operand)
    return lambda document: not test(document)


def _in(parts: tuple[str, ...], operand: Any) -> DocumentTest:
    if not isinstance(operand, list):
        raise DatabaseError(2, "$in needs an array")
    patterns = [_regex_predicate(item) for item in operand if isinstance(item, Regex)]
    keys = {hash_key(item) for item in operand if not isinstance(item, Regex)}
    null = hash_key(None) in keys

    def predicate(value: Any) -> bool:
        if value is MISSING:
            return null
        return hash_key(value) in keys or any(pattern(value) for pattern in patterns)

    return _any_element(parts, predicate)


def _all(parts: tuple[str, ...], operand: Any) -> DocumentTest:
    if not isinstance(operand, list):
        raise DatabaseError(2, "$all needs an array")
    tests = [compile_field(parts, item) for item in operand]
    return lambda document: bool(tests) and all(test(document) for test in tests)


def _comparison(operator: str) -> Callable[[tuple[str, ...], Any], DocumentTest]:
    def build(parts: tuple[str, ...], operand: Any) -> DocumentTest:
        rank, bound = type_rank(operand), sort_key(operand)
        if rank == 50:
            raise DatabaseError(2, f"{operator} cannot be used with a regular expression")
        is_nan = bound == (10, 0)

        def predicate(value: Any) -> bool:
            # comparisons see only values of the operand's own type ("type bracketing")
            if value is MISSING:
                return operand is None and operator in ("$gte", "$lte")
            if type_rank(value) != rank:
                return False
            key = sort_key(value)
            if rank == 10 and ((key == (10, 0)) != is_nan):
                return False
            if operator == "$gt":
                return key > bound
            if operator == "$gte":
                return key >= bound
            if operator == "$lt":
                return key < bound
            return key <= bound

        return _any_element(parts, predicate)

    return build


def _exists(parts: tuple[str, ...], operand: Any) -> DocumentTest:
    wanted = bool(operand)
    return lambda document: any(value is not MISSING for value in lookup(document, parts)) is wanted


def _size(parts: tuple[str, ...], operand: Any) -> DocumentTest:
    if isinstance(operand, bool) or not isinstance(operand, int | float) or operand < 0:
        raise DatabaseError(2, "$size needs a number that is not negative")
    return _whole_value(parts, lambda value: isinstance(value, list) and len(value) == operand)


def _mod(parts: tuple[str, ...], operand: Any) -> DocumentTest:
    if not isinstance(operand, list) or len(operand) != 2:
        raise DatabaseError(2, "malformed $mod: needs [divisor, remainder]")
    divisor, remainder = (int(number) for number in operand)
    if divisor == 0:
        raise DatabaseError(2, "$mod: the divisor cannot be 0")

    def predicate(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if value - value != 0:  # infinite or NaN
            return False
        whole = int(value)
        # the sign of the remainder follows the dividend, as in C
        return abs(whole) % abs(divisor) * (-1 if whole < 0 else 1) == remainder

    return _any_element(parts, predicate)


def _type(parts: tuple[str, ...], operand: Any) -> DocumentTest:
    wanted = set()
    for item in operand if isinstance(operand, list) else [operand]:
        name = str(_TYPE_NAMES.get(int(item)) if isinstance(item, int | float) else item)
        if name == "number":
            wanted |= {"int", "long", "double", "decimal"}
        elif name in _TYPE_NAMES.values():
            wanted.add(name)
        else:
            raise DatabaseError(2, f"unknown type name or number for $type: {item!r}")
    return _any_element(parts, lambda value: value is not MISSING and type_name(value) in wanted)


def _elem_match(parts: tuple[str, ...], operand: Any) -> DocumentTest:
    test = element_test(operand)
    return _whole_value(parts, lambda value: isinstance(value, list) and any(map(test, value)))


def element_test(condition: Any) -> Predicate:
    """Test of one array element against the operand of ``$elemMatch`` or ``$pull``."""
    if not isinstance(condition, Mapping):
        raise DatabaseError(2, "$elemMatch needs an object")
    if is_operator_document(condition) and not {"$and", "$or", "$nor", "$expr"} & set(condition):
        return compile_field((), condition)
    test = compile_filter(condition)
    return lambda element: isinstance(element, dict) and test(element)


def _regex_predicate(pattern: Any, options: Any = None) -> Predicate:
    """Predicate of a regular expression; MongoDB's flags imsx, Python's re syntax."""
    flags = 0
    if isinstance(pattern, Regex):
        pattern, flags = pattern.pattern, pattern.flags
    if not isinstance(pattern, str):
        raise DatabaseError(2, "$regex has to be a string or a regular expression")
    if options is not None:
        if not isinstance(options, str) or set(options) - set("imsxu"):
            raise DatabaseError(2, f"invalid $options: {options!r}; known are i, m, s and x")
        flags = 0
        for letter in options:
            flags |= getattr(re, letter.upper())
    try:
        search = re.compile(pattern, flags & ~re.LOCALE).search
    except re.error as error:
        raise DatabaseError(51091, f"regular expression {pattern!r} is invalid: {error}") from error
    regex = Regex(pattern, flags)
    return lambda value: (
        search(value) is not None
        if type(value) is str
        else isinstance(value, Regex) and value == regex
    )


_OPERATORS: dict[str, Callable[[tuple[str, ...], Any], DocumentTest]] = {
    "$eq": _equality,
    "$ne": _negated(_equality),
    "$in": _in,
    "$nin": _negated(_in),
    "$not": _not,
    "$all": _all,
    "$gt": _comparison("$gt"),
    "$gte": _comparison("$gte"),
    "$lt": _comparison("$lt"),
    "$lte": _comparison("$lte"),
    "$exists": _exists,
    "$size": _size,
    "$mod": _mod,
    "$type": _type,
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


__all__ = [
    "compile_field",
    "compile_filter",
    "element_test",
    "equality_bounds",
    "exact_values",
    "is_operator_document",
    "type_name",
]

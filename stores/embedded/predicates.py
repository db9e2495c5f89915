"""Query operators that look at values: ``$eq``, ``$in``, ``$gt``, ``$regex``, ``$type`` ...

Each takes the parts of a path and its operand, checks the operand once, and returns the test of a
document. Operators that contain further conditions (``$not``, ``$elemMatch`` ...) are in
`matching`. Semantics: MongoDB manual, "Query and Projection Operators".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from bson import Decimal128, ObjectId, Regex

from .errors import DatabaseError, not_implemented
from .values import MISSING, hash_key, lookup, sort_key, type_rank

Predicate = Callable[[Any], bool]
"""A test of one value."""

DocumentTest = Callable[[Any], bool]
"""A test of a whole document."""

Parts = tuple[str, ...] | None
"""Parts of a path. Without any, the value itself is meant, and its elements if it is an array;
None means the value itself and never its elements."""

OperatorBuilder = Callable[[Parts, Any], DocumentTest]
"""Makes the test of a document from a path and the operator's operand."""

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
_CHARACTER_CLASS = re.compile(r"(?<!\\)\[:\^?\w+:\]")
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


DBREF_FIELDS = frozenset({"$ref", "$id", "$db"})
"""Names of fields that begin with a dollar and are no operators."""


def is_operator_document(value: Any) -> bool:
    """True for ``{"$gt": 1}``, false for a sub-document to be compared as a whole."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and next(iter(value)).startswith("$")
        and not ("$ref" in value and "$id" in value)
    )


def any_element(parts: Parts, predicate: Predicate) -> DocumentTest:
    """True if the value, or an element of it if it is an array, satisfies the predicate."""
    if parts is None:
        return predicate
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


def whole_value(parts: Parts, predicate: Predicate) -> DocumentTest:
    """True if the value itself, not an element of it, satisfies the predicate."""
    if parts is None:
        return predicate
    return lambda document: any(map(predicate, lookup(document, parts)))


def equality(parts: Parts, operand: Any) -> DocumentTest:
    """Equality with the operand; null also matches what is missing."""
    kind = type(operand)
    if operand is None:
        return any_element(parts, lambda value: value is None or value is MISSING)
    if kind is str or kind is ObjectId:
        return any_element(parts, partial(_same, operand))
    key = hash_key(operand)
    if isinstance(operand, int | float) and kind is not bool and operand == operand:
        return any_element(
            parts,
            lambda value: (
                type(value) is not bool and value == operand
                if isinstance(value, int | float)
                else isinstance(value, Decimal128) and hash_key(value) == key
            ),
        )
    rank = type_rank(operand)
    return any_element(
        parts,
        lambda value: (
            value is not MISSING and type_rank(value) == rank and bool(hash_key(value) == key)
        ),
    )


def _same(operand: Any, value: Any) -> bool:
    return type(value) is type(operand) and bool(value == operand)


def negated(build: OperatorBuilder) -> OperatorBuilder:
    """The operator that matches what another one does not."""

    def negation(parts: Parts, operand: Any) -> DocumentTest:
        test = build(parts, operand)
        return lambda document: not test(document)

    return negation


def _ne(parts: Parts, operand: Any) -> DocumentTest:
    if isinstance(operand, Regex):
        raise DatabaseError(2, "Can't have regex as arg to $ne.")
    return negated(equality)(parts, operand)


def _in(parts: Parts, operand: Any) -> DocumentTest:
    if not isinstance(operand, list):
        raise DatabaseError(2, "$in needs an array")
    if any(map(is_operator_document, operand)):
        raise DatabaseError(2, "cannot nest $ under $in")
    patterns = [regex_predicate(item) for item in operand if isinstance(item, Regex)]
    keys = {hash_key(item) for item in operand if not isinstance(item, Regex)}
    null = hash_key(None) in keys

    def predicate(value: Any) -> bool:
        if value is MISSING:
            return null
        return hash_key(value) in keys or any(pattern(value) for pattern in patterns)

    return any_element(parts, predicate)


def _comparison(operator: str) -> OperatorBuilder:
    def build(parts: Parts, operand: Any) -> DocumentTest:
        rank, bound = type_rank(operand), sort_key(operand)
        if rank == 50:
            raise DatabaseError(2, f"{operator} cannot be used with a regular expression")
        is_nan = bound == (10, 0)
        every_type = rank in (0, 127)  # MinKey and MaxKey are the ends of the order of all types

        def predicate(value: Any) -> bool:
            # comparisons see only values of the operand's own type ("type bracketing")
            if value is MISSING and not every_type:
                return operand is None and operator in ("$gte", "$lte")
            if type_rank(value) != rank and not every_type:
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

        return any_element(parts, predicate)

    return build


def _exists(parts: Parts, operand: Any) -> DocumentTest:
    wanted = bool(operand)
    there = whole_value(parts, lambda value: value is not MISSING)
    return lambda document: there(document) is wanted


def _size(parts: Parts, operand: Any) -> DocumentTest:
    if isinstance(operand, bool) or not isinstance(operand, int | float) or operand < 0:
        raise DatabaseError(2, "$size needs a number that is not negative")
    return whole_value(parts, lambda value: isinstance(value, list) and len(value) == operand)


def _mod(parts: Parts, operand: Any) -> DocumentTest:
    if not isinstance(operand, list) or len(operand) != 2:
        raise DatabaseError(2, "malformed $mod: needs [divisor, remainder]")
    divisor, remainder = (int(number) for number in operand)
    if divisor == 0:
        raise DatabaseError(2, "$mod: the divisor cannot be 0")

    def predicate(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal128):
            return False
        value = value.to_decimal() if isinstance(value, Decimal128) else value
        if not isinstance(value, int) and not math.isfinite(value):
            return False
        whole = int(value)
        # the sign of the remainder follows the dividend, as in C
        return abs(whole) % abs(divisor) * (-1 if whole < 0 else 1) == remainder

    return any_element(parts, predicate)


def _type(parts: Parts, operand: Any) -> DocumentTest:
    wanted = set()
    for item in operand if isinstance(operand, list) else [operand]:
        name = str(_TYPE_NAMES.get(int(item)) if isinstance(item, int | float) else item)
        if name == "number":
            wanted |= {"int", "long", "double", "decimal"}
        elif name in _TYPE_NAMES.values():
            wanted.add(name)
        else:
            raise DatabaseError(2, f"unknown type name or number for $type: {item!r}")
    return any_element(parts, lambda value: value is not MISSING and type_name(value) in wanted)


def regex_predicate(pattern: Any, options: Any = None) -> Predicate:
    """Predicate of a regular expression; MongoDB's flags imsx, Python's re syntax."""
    flags = 0
    if isinstance(pattern, Regex):
        pattern, flags = pattern.pattern, pattern.flags
    if not isinstance(pattern, str):
        raise DatabaseError(2, "$regex has to be a string or a regular expression")
    if _CHARACTER_CLASS.search(pattern):
        # Python takes it for a set of single characters
        raise not_implemented(f"a class of characters like [:digit:] (in {pattern!r})")
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


VALUE_OPERATORS: dict[str, OperatorBuilder] = {
    "$eq": equality,
    "$ne": _ne,
    "$in": _in,
    "$nin": negated(_in),
    "$gt": _comparison("$gt"),
    "$gte": _comparison("$gte"),
    "$lt": _comparison("$lt"),
    "$lte": _comparison("$lte"),
    "$exists": _exists,
    "$size": _size,
    "$mod": _mod,
    "$type": _type,
}

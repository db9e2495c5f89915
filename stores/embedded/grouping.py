"""Stages that gather documents: ``$group``, ``$bucket`` and ``$sortByCount``."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from .errors import DatabaseError, not_implemented
from .expressions import (
    ACCUMULATORS,
    REFUSED,
    Evaluator,
    compile_expression,
    scope_of,
)
from .values import MISSING, hash_key, sort_key, type_rank

Documents = list[dict[str, Any]]
Stage = Callable[[Documents], Documents]
Variables = Mapping[str, Any]

_COUNT = {"$sum": 1}


def _accumulators(
    fields: Mapping[str, Any], variables: Variables
) -> dict[str, tuple[str, Evaluator]]:
    """Accumulator and the expression it takes, by output field."""
    compiled = {}
    for name, specification in fields.items():
        if "." in name:
            raise DatabaseError(40235, f"The field name '{name}' cannot contain '.'")
        if name.startswith("$"):
            raise DatabaseError(40236, f"The field name '{name}' cannot be an operator name")
        if not isinstance(specification, Mapping) or len(specification) != 1:
            raise DatabaseError(40234, f"The field '{name}' must be an accumulator object")
        ((operator, operand),) = specification.items()
        if operator in REFUSED:
            raise not_implemented(f"the accumulator {operator}")
        if operator not in ACCUMULATORS:
            raise DatabaseError(15952, f"unknown group operator '{operator}'")
        if isinstance(operand, list):
            raise DatabaseError(40237, f"The {operator} accumulator is a unary operator")
        if operator == "$count" and operand != {}:
            raise DatabaseError(9, "$count takes no arguments, that is, {}")
        compiled[name] = (operator, compile_expression(operand, frozenset(variables)))
    return compiled


def _accumulated(
    documents: Documents, fields: dict[str, tuple[str, Evaluator]], variables: Variables
) -> dict[str, Any]:
    scopes = [scope_of(document, variables) for document in documents]
    return {
        name: ACCUMULATORS[operator]([evaluate(scope) for scope in scopes])
        for name, (operator, evaluate) in fields.items()
    }


def compile_group(options: Any, variables: Variables) -> Stage:
    """Compile ``$group``; groups come in the order of their first documents."""
    if not isinstance(options, Mapping):
        raise DatabaseError(15947, "a group's fields must be specified in an object")
    if "_id" not in options:
        raise DatabaseError(15955, "a group specification must include an _id")
    identify = compile_expression(options["_id"], frozenset(variables))
    fields = _accumulators({k: v for k, v in options.items() if k != "_id"}, variables)

    def group(documents: Documents) -> Documents:
        members: dict[Any, tuple[Any, Documents]] = {}
        for document in documents:
            value = identify(scope_of(document, variables))
            members.setdefault(hash_key(value), (value, []))[1].append(document)
        return [
            {
                "_id": None if identifier is MISSING else identifier,
                **_accumulated(group, fields, variables),
            }
            for identifier, group in members.values()
        ]

    return group


def compile_sort_by_count(options: Any, variables: Variables) -> Stage:
    """Compile ``$sortByCount``: groups by an expression, the largest first."""
    is_path = isinstance(options, str) and options.startswith("$")
    is_operator = isinstance(options, Mapping) and next(iter(options), "").startswith("$")
    if not is_path and not is_operator:
        raise DatabaseError(40148, "$sortByCount needs a $-prefixed path or an expression")
    group = compile_group({"_id": options, "count": _COUNT}, variables)
    return lambda documents: sorted(group(documents), key=lambda found: -int(found["count"]))


def compile_bucket(options: Any, variables: Variables) -> Stage:
    """Compile ``$bucket``: groups by intervals, each with its lower boundary but not its upper."""
    if not isinstance(options, Mapping):
        raise DatabaseError(40201, "$bucket needs an object")
    unknown = set(options) - {"groupBy", "boundaries", "default", "output"}
    if unknown:
        raise DatabaseError(40197, f"Unrecognized option to $bucket: {unknown.pop()}")
    boundaries = options.get("boundaries")
    if "groupBy" not in options or not isinstance(boundaries, list):
        raise DatabaseError(40198, "$bucket requires groupBy, and an array of boundaries")
    evaluators = [compile_expression(item, frozenset()) for item in boundaries]
    boundaries = [evaluate(scope_of({})) for evaluate in evaluators]
    keys = [sort_key(boundary) for boundary in boundaries]
    if len(keys) < 2:
        raise DatabaseError(40192, "the boundaries of $bucket must be at least two values")
    if len({type_rank(boundary) for boundary in boundaries}) > 1:
        raise DatabaseError(40193, "all boundaries of $bucket must have the same type")
    if any(a >= b for a, b in pairwise(keys)):
        raise DatabaseError(40194, "the boundaries of $bucket must be sorted, without repetition")
    locate = compile_expression(options["groupBy"], frozenset(variables))
    fields = _accumulators(options.get("output", {"count": _COUNT}), variables)
    default = compile_expression(options.get("default"), frozenset())(scope_of({}))
    if "default" in options and keys[0] <= sort_key(default) < keys[-1]:
        raise DatabaseError(40199, "the default of $bucket must lie outside its boundaries")

    def bucket(documents: Documents) -> Documents:
        members: dict[Any, tuple[Any, Documents]] = {}
        for document in documents:
            value = locate(scope_of(document, variables))
            place = 0 if value is MISSING else bisect_right(keys, sort_key(value))
            if 0 < place < len(keys):
                identifier = boundaries[place - 1]
            elif "default" in options:
                identifier = default
            else:
                raise DatabaseError(
                    40066, "$bucket found no interval for a value, and no default was specified"
                )
            members.setdefault(hash_key(identifier), (identifier, []))[1].append(document)
        found = sorted(members.values(), key=lambda pair: sort_key(pair[0]))
        return [
            {"_id": identifier, **_accumulated(group, fields, variables)}
            for identifier, group in found
        ]

    return bucket

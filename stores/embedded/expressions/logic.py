"""Comparisons, truth and choice: ``$eq`` ... ``$cmp``, ``$and``, ``$not``, ``$cond``, ``$let``.

Comparisons use the order of all values, across types; what is missing is below null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import DatabaseError
from ..values import MISSING, sort_key
from .compiling import Evaluator, Names, arguments, compile_expression, function, named, special
from .scopes import Scope, check_name, nullish, truth


def order_key(value: Any) -> tuple[Any, ...]:
    """Key of the order of values in expressions, where missing is not null but smaller."""
    return (4,) if value is MISSING else sort_key(value)


@function("$cmp", 2)
def _cmp(a: Any, b: Any) -> int:
    first, second = order_key(a), order_key(b)
    return int(first > second) - int(first < second)


@function("$eq", 2)
def _eq(a: Any, b: Any) -> bool:
    return order_key(a) == order_key(b)


@function("$ne", 2)
def _ne(a: Any, b: Any) -> bool:
    return order_key(a) != order_key(b)


@function("$gt", 2)
def _gt(a: Any, b: Any) -> bool:
    return order_key(a) > order_key(b)


@function("$gte", 2)
def _gte(a: Any, b: Any) -> bool:
    return order_key(a) >= order_key(b)


@function("$lt", 2)
def _lt(a: Any, b: Any) -> bool:
    return order_key(a) < order_key(b)


@function("$lte", 2)
def _lte(a: Any, b: Any) -> bool:
    return order_key(a) <= order_key(b)


@function("$not", 1)
def _not(value: Any) -> bool:
    return not truth(value)


@special("$and")
def _and(operand: Any, names: Names) -> Evaluator:
    tests = arguments("$and", operand, names, 0, None)
    return lambda scope: all(truth(test(scope)) for test in tests)


@special("$or")
def _or(operand: Any, names: Names) -> Evaluator:
    tests = arguments("$or", operand, names, 0, None)
    return lambda scope: any(truth(test(scope)) for test in tests)


@special("$ifNull")
def _if_null(operand: Any, names: Names) -> Evaluator:
    if not isinstance(operand, list) or len(operand) < 2:
        raise DatabaseError(1257300, "$ifNull needs at least two arguments")
    *inputs, last = [compile_expression(item, names) for item in operand]

    def evaluate(scope: Scope) -> Any:
        for item in inputs:
            value = item(scope)
            if not nullish(value):
                return value
        return last(scope)

    return evaluate


@special("$cond")
def _cond(operand: Any, names: Names) -> Evaluator:
    if isinstance(operand, Mapping):
        parts = named("$cond", operand, ("if", "then", "else"))
        operand = [parts["if"], parts["then"], parts["else"]]
    test, then, otherwise = arguments("$cond", operand, names, 3, 3)
    return lambda scope: then(scope) if truth(test(scope)) else otherwise(scope)


@special("$switch")
def _switch(operand: Any, names: Names) -> Evaluator:
    parts = named("$switch", operand, ("branches",), ("default",))
    if not isinstance(parts["branches"], list) or not parts["branches"]:
        raise DatabaseError(40068, "$switch requires at least one branch.")
    branches = []
    for branch in parts["branches"]:
        branch = named("$switch", branch, ("case", "then"))
        branches.append([compile_expression(branch[key], names) for key in ("case", "then")])
    default = compile_expression(parts["default"], names) if "default" in parts else None

    def evaluate(scope: Scope) -> Any:
        for case, then in branches:
            if truth(case(scope)):
                return then(scope)
        if default is None:
            raise DatabaseError(
                40066, "$switch could not find a matching branch, and no default was specified"
            )
        return default(scope)

    return evaluate


@special("$literal")
def _literal(operand: Any, names: Names) -> Evaluator:
    return lambda scope: operand


@special("$let")
def _let(operand: Any, names: Names) -> Evaluator:
    parts = named("$let", operand, ("vars", "in"))
    if not isinstance(parts["vars"], Mapping):
        raise DatabaseError(9, "the vars of $let must be an object")
    variables = {
        check_name(name): compile_expression(value, names) for name, value in parts["vars"].items()
    }
    body = compile_expression(parts["in"], names | set(variables))
    return lambda scope: body({**scope, **{name: v(scope) for name, v in variables.items()}})

"""Expressions compiled to functions of a scope: paths, variables, literals and the operator table.

Expressions read documents and never change them; a result may share parts with the document it
came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..clock import command_time
from ..errors import DatabaseError, not_implemented
from ..values import MISSING
from .scopes import Scope, check_name, field_path, is_operator, present, scope_of, truth, walk

Evaluator = Callable[[Scope], Any]
"""Computes a value, possibly MISSING."""

Names = frozenset[str]
"""Variables that are defined where an expression stands."""

Builder = Callable[[Any, Names], Evaluator]
"""Compiles the operand of an operator."""

OPERATORS: dict[str, Builder] = {}
"""Every operator the server evaluates; the contract test has an entry for each."""

REFUSED = frozenset({
    "$accumulator", "$acos", "$acosh", "$asin", "$asinh", "$atan", "$atan2", "$atanh",
    "$binarySize", "$bitAnd", "$bitNot", "$bitOr", "$bitXor", "$bottom", "$bottomN", "$bsonSize",
    "$cos", "$cosh", "$covariancePop", "$covarianceSamp", "$dateAdd", "$dateDiff",
    "$dateFromParts", "$dateSubtract", "$dateToParts", "$dateTrunc", "$degreesToRadians",
    "$denseRank", "$derivative", "$documentNumber", "$expMovingAvg", "$firstN", "$function",
    "$indexOfBytes", "$indexOfCP", "$integral", "$lastN", "$linearFill", "$locf", "$log", "$maxN",
    "$median", "$meta", "$minN", "$percentile", "$radiansToDegrees", "$rand", "$rank",
    "$regexFind", "$regexFindAll", "$replaceAll", "$replaceOne", "$sampleRate", "$setField",
    "$shift", "$sin", "$sinh", "$sortArray", "$tan", "$tanh", "$toDecimal", "$toHashedIndexKey",
    "$top", "$topN", "$tsIncrement", "$tsSecond", "$unsetField", "$where", "$zip",
})  # fmt: skip
"""What MongoDB evaluates and this server does not."""

_SYSTEM_VARIABLES = {
    "CLUSTER_TIME", "DESCEND", "JS_SCOPE", "IS_MR", "KEEP", "PRUNE", "SEARCH_META", "USER_ROLES",
}  # fmt: skip


def let_variables(let: Any) -> dict[str, Any]:
    """Values of a command's ``let``, whose expressions see no document."""
    if let is None:
        return {}
    if not isinstance(let, Mapping):
        raise DatabaseError(14, "let must be a document")
    nothing = scope_of({})
    return {check_name(name): compile_expression(let[name])(nothing) for name in let}


def compile_test(
    expression: Any, variables: Mapping[str, Any] | None = None
) -> Callable[[dict[str, Any]], bool]:
    """Compile an expression whose truth is wanted, as ``$expr`` does.

    Parameters
    ----------
    expression : aggregation expression
    variables : values of ``$$name`` (from ``let``)
    """
    evaluate = compile_expression(expression, frozenset(variables or ()))
    return lambda document: truth(evaluate(scope_of(document, variables)))


def compile_expression(expression: Any, names: Names = frozenset()) -> Evaluator:
    """Compile an aggregation expression.

    Parameters
    ----------
    expression : as sent by a client
    names : variables that are defined

    Raises
    ------
    DatabaseError
        For malformed expressions, undefined variables (17276), operators that do not exist (168)
        and those that are not supported (238).
    """
    if isinstance(expression, str) and expression.startswith("$"):
        return _compile_path(expression, names)
    if isinstance(expression, Mapping):
        return _compile_object(expression, names)
    if isinstance(expression, list):
        items = [compile_expression(item, names) for item in expression]
        return lambda scope: [present(item(scope)) for item in items]
    return lambda scope: expression


def constant(expression: Any) -> bool:
    """True for what is a value already, and so the same for every document."""
    if isinstance(expression, str):
        return not expression.startswith("$")
    if isinstance(expression, Mapping):
        if is_operator(expression):
            return "$literal" in expression
        return all(map(constant, expression.values()))
    return not isinstance(expression, list) or all(map(constant, expression))


def _compile_path(text: str, names: Names) -> Evaluator:
    if text in ("$", "$$"):
        raise DatabaseError(16872, f"'{text}' by itself is not a valid FieldPath")
    if not text.startswith("$$"):
        name, parts = "CURRENT", field_path(text[1:])
    else:
        name, _, path = text[2:].partition(".")
        parts = field_path(path) if path else ()
        if name == "REMOVE":
            return lambda scope: MISSING
        if name == "NOW":
            now = command_time()
            return lambda scope: walk(now, parts)
        if name in _SYSTEM_VARIABLES:
            raise not_implemented(f"$${name}")
        if name not in names and name not in ("ROOT", "CURRENT"):
            raise DatabaseError(17276, f"Use of undefined variable: {name}")
    if len(parts) == 1:
        (part,) = parts

        def field(scope: Scope) -> Any:
            value = scope[name]
            return value.get(part, MISSING) if type(value) is dict else walk(value, parts)

        return field
    return lambda scope: walk(scope[name], parts)


def _compile_object(specification: Mapping[str, Any], names: Names) -> Evaluator:
    if is_operator(specification):
        ((operator, operand),) = specification.items()
        build = OPERATORS.get(operator)
        if build is not None:
            return build(operand, names)
        if operator in REFUSED:
            raise not_implemented(f"the expression {operator}")
        raise DatabaseError(168, f"Unrecognized expression '{operator}'")
    for name in specification:
        if "." in name:
            raise DatabaseError(16412, f"FieldPath field names may not contain '.': {name!r}")
    fields = {name: compile_expression(value, names) for name, value in specification.items()}

    def build_object(scope: Scope) -> dict[str, Any]:
        values = ((name, evaluate(scope)) for name, evaluate in fields.items())
        return {name: value for name, value in values if value is not MISSING}

    return build_object


def arguments(
    operator: str, operand: Any, names: Names, least: int, most: int | None
) -> list[Evaluator]:
    """Compile an operator's arguments; a single one may stand without its array.

    Raises
    ------
    DatabaseError
        When there are too few or too many (16020, 28667).
    """
    items = operand if isinstance(operand, list) else [operand]
    if len(items) < least or (most is not None and len(items) > most):
        expected = f"exactly {least}" if least == most else f"at least {least}, at most {most}"
        raise DatabaseError(
            16020 if least == most else 28667,
            f"Expression {operator} takes {expected} arguments. {len(items)} were passed in.",
        )
    return [compile_expression(item, names) for item in items]


def function(
    operator: str, least: int, most: int | None = -1
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function of the arguments' values as an operator.

    Parameters
    ----------
    operator : name with its dollar
    least, most : number of arguments; `most` is `least` if left out, None for any number
    """
    limit = least if most == -1 else most

    def register(compute: Callable[..., Any]) -> Callable[..., Any]:
        def build(operand: Any, names: Names) -> Evaluator:
            evaluators = arguments(operator, operand, names, least, limit)
            if len(evaluators) == 1:
                (only,) = evaluators
                return lambda scope: compute(only(scope))
            return lambda scope: compute(*[evaluate(scope) for evaluate in evaluators])

        OPERATORS[operator] = build
        return compute

    return register


def special(operator: str) -> Callable[[Builder], Builder]:
    """Register an operator that compiles its operand itself."""

    def register(build: Builder) -> Builder:
        OPERATORS[operator] = build
        return build

    return register


def named(
    operator: str, operand: Any, required: Iterable[str], optional: Iterable[str] = ()
) -> Mapping[str, Any]:
    """An operand with named parts, checked.

    Raises
    ------
    DatabaseError
        If it is no document, or parts are missing or unknown (all code 9).
    """
    if not isinstance(operand, Mapping):
        raise DatabaseError(9, f"{operator} needs an object, found {operand!r}")
    for name in required:
        if name not in operand:
            raise DatabaseError(9, f"Missing '{name}' parameter to {operator}")
    for name in operand:
        if name not in (*required, *optional):
            raise DatabaseError(9, f"Unrecognized parameter to {operator}: {name}")
    return operand

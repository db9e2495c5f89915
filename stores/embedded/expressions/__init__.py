"""Aggregation expressions, compiled to Python functions.

`compiling` knows field paths, variables, literals and how an operator gets its arguments; each of
the other modules registers the operators of one kind. What MongoDB knows and no module registers
is refused when the expression is compiled, before any document is looked at. Semantics: MongoDB
manual, "Aggregation Operators".
"""

from __future__ import annotations

from . import (  # noqa: F401  (they register)
    arithmetic,
    arrays,
    conversions,
    dates,
    logic,
    objects,
    sets,
    strings,
)
from .accumulators import ACCUMULATORS
from .compiling import (
    OPERATORS,
    REFUSED,
    Evaluator,
    compile_expression,
    compile_test,
    let_variables,
)
from .scopes import field_path, nullish, scope_of

__all__ = [
    "ACCUMULATORS",
    "OPERATORS",
    "REFUSED",
    "Evaluator",
    "compile_expression",
    "compile_test",
    "field_path",
    "let_variables",
    "nullish",
    "scope_of",
]

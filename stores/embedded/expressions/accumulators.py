"""Accumulators of ``$group``, and the operators of the same names over arrays.

An accumulator takes the values of all documents of a group in their order, MISSING among them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from bson import Decimal128

from ..errors import DatabaseError, not_implemented
from ..values import sort_key
from .arithmetic import add_numbers, is_number
from .compiling import Evaluator, Names, arguments, special
from .scopes import nullish, present
from .sets import distinct

Accumulator = Callable[[Sequence[Any]], Any]


def _numbers(operator: str, values: Sequence[Any]) -> list[int | float]:
    """The numbers among the values; everything else is passed over."""
    if any(isinstance(value, Decimal128) for value in values):
        raise not_implemented(f"{operator} of Decimal128")
    return [value for value in values if is_number(value)]


def _sum(values: Sequence[Any]) -> Any:
    return add_numbers(_numbers("$sum", values))


def _average(values: Sequence[Any]) -> Any:
    numbers = _numbers("$avg", values)
    return float(add_numbers(numbers)) / len(numbers) if numbers else None


def _deviation(compute: Callable[[list[float]], float], numbers: Sequence[int | float]) -> float:
    """A deviation; NaN if a number is not finite, infinity if it is beyond the largest double."""
    doubles = [float(number) for number in numbers]
    if not all(map(math.isfinite, doubles)):
        return math.nan
    try:
        return float(compute(doubles))
    except OverflowError:
        return math.inf


def _deviation_of_population(values: Sequence[Any]) -> Any:
    numbers = _numbers("$stdDevPop", values)
    return _deviation(statistics.pstdev, numbers) if numbers else None


def _deviation_of_sample(values: Sequence[Any]) -> Any:
    numbers = _numbers("$stdDevSamp", values)
    return _deviation(statistics.stdev, numbers) if len(numbers) > 1 else None


def _least(values: Sequence[Any]) -> Any:
    return min((value for value in values if not nullish(value)), key=sort_key, default=None)


def _greatest(values: Sequence[Any]) -> Any:
    return max((value for value in values if not nullish(value)), key=sort_key, default=None)


def _merged(values: Sequence[Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for value in values:
        if nullish(value):
            continue
        if not isinstance(value, dict):
            raise DatabaseError(40400, f"$mergeObjects requires object inputs, found: {value!r}")
        result.update(value)
    return result


def _present(values: Sequence[Any]) -> list[Any]:
    return [value for value in values if present(value) is value]


_OVER_ARRAYS: dict[str, Accumulator] = {
    "$sum": _sum,
    "$avg": _average,
    "$min": _least,
    "$max": _greatest,
    "$stdDevPop": _deviation_of_population,
    "$stdDevSamp": _deviation_of_sample,
    "$mergeObjects": _merged,
}

ACCUMULATORS: dict[str, Accumulator] = {
    **_OVER_ARRAYS,
    "$first": lambda values: present(values[0]),
    "$last": lambda values: present(values[-1]),
    "$push": _present,
    "$addToSet": lambda values: list(distinct(_present(values)).values()),
    "$count": len,
}
"""Accumulators by name; groups are never empty."""


def _over_arrays(operator: str, accumulate: Accumulator) -> None:
    """Register the operator: a single argument that is an array stands for its elements."""

    @special(operator)
    def build(operand: Any, names: Names) -> Evaluator:
        evaluators = arguments(operator, operand, names, 0, None)
        if len(evaluators) != 1:
            return lambda scope: accumulate([evaluate(scope) for evaluate in evaluators])

        def evaluate_one(scope: Any) -> Any:
            value = evaluators[0](scope)
            return accumulate(value if isinstance(value, list) else [value])

        return evaluate_one


for _name, _accumulator in _OVER_ARRAYS.items():
    _over_arrays(_name, _accumulator)

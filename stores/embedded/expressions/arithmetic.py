"""Numbers: ``$add``, ``$divide``, ``$round`` ... and the sum that ``$sum`` and ``$avg`` share.

Whole numbers stay whole, 64-bit ones stay 64-bit, and a whole result beyond 64 bits becomes a
double. Booleans are no numbers. Decimal128 is compared and stored but not calculated with.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from typing import Any

from bson import Decimal128, Int64

from ..errors import DatabaseError, not_implemented
from .compiling import function
from .scopes import nullish

_INT32, _INT64 = range(-(2**31), 2**31), range(-(2**63), 2**63)


def is_number(value: Any) -> bool:
    """True for int, long and double."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def numeric(operator: str, value: Any, code: int = 14) -> int | float:
    """The value, if an operator can calculate with it.

    Raises
    ------
    DatabaseError
        With `code` for other types, 238 for Decimal128.
    """
    if isinstance(value, Decimal128):
        raise not_implemented(f"{operator} of Decimal128")
    if not is_number(value):
        raise DatabaseError(code, f"{operator} only supports numbers, not {value!r}")
    return value  # type: ignore[no-any-return]


def whole_number(operator: str, value: Any, code: int) -> int:
    """The value, if it is a whole number.

    Raises
    ------
    DatabaseError
        With `code` if it is not.
    """
    if not is_number(value) or value != value or value in (math.inf, -math.inf):
        raise DatabaseError(code, f"{operator} needs a whole number, not {value!r}")
    if int(value) != value:
        raise DatabaseError(code, f"{operator} needs a whole number, not {value!r}")
    return int(value)


def whole(result: int, *operands: Any) -> int | float:
    """A whole result in the narrowest type its operands allow."""
    if result not in _INT64:
        return float(result)
    if result not in _INT32 or any(isinstance(operand, Int64) for operand in operands):
        return Int64(result)
    return result


def add_numbers(values: Sequence[int | float]) -> int | float:
    """Sum without accumulated rounding errors; 0 of nothing."""
    if not any(isinstance(value, float) for value in values):
        return whole(sum(int(value) for value in values), *values)
    pieces: list[float] = []
    for value in values:
        pieces.append(float(value))
        if isinstance(value, int):
            pieces.append(float(int(value) - int(pieces[-1])))
    try:
        return math.fsum(pieces)
    except (OverflowError, ValueError):  # infinities, or a partial sum beyond the largest double
        return sum(pieces)


def _nearest(milliseconds: float) -> dt.timedelta:
    if isinstance(milliseconds, float):
        milliseconds = math.floor(abs(milliseconds) + 0.5) * (1 if milliseconds >= 0 else -1)
    return dt.timedelta(milliseconds=milliseconds)


@function("$add", 0, None)
def _add(*values: Any) -> Any:
    date, numbers = None, []
    for value in values:
        if nullish(value):
            return None
        if isinstance(value, dt.datetime):
            if date is not None:
                raise DatabaseError(16612, "only one date allowed in an $add expression")
            date = value
        else:
            numbers.append(numeric("$add", value))
    total = add_numbers(numbers)
    return total if date is None else date + _nearest(total)


@function("$subtract", 2)
def _subtract(a: Any, b: Any) -> Any:
    if nullish(a) or nullish(b):
        return None
    if isinstance(a, dt.datetime):
        if isinstance(b, dt.datetime):
            return Int64((a - b) // dt.timedelta(milliseconds=1))
        return a - _nearest(numeric("$subtract", b))
    result = numeric("$subtract", a) - numeric("$subtract", b)
    return result if isinstance(result, float) else whole(result, a, b)


@function("$multiply", 0, None)
def _multiply(*values: Any) -> Any:
    product: int | float = 1
    for value in values:
        if nullish(value):
            return None
        product = product * numeric("$multiply", value)
    return product if isinstance(product, float) else whole(product, *values)


@function("$divide", 2)
def _divide(a: Any, b: Any) -> Any:
    if nullish(a) or nullish(b):
        return None
    divisor = numeric("$divide", b)
    if divisor == 0:
        raise DatabaseError(2, "can't $divide by zero")
    return float(numeric("$divide", a)) / float(divisor)


@function("$mod", 2)
def _mod(a: Any, b: Any) -> Any:
    if nullish(a) or nullish(b):
        return None
    dividend, divisor = numeric("$mod", a), numeric("$mod", b)
    if divisor == 0:
        raise DatabaseError(2, "can't $mod by zero")
    if isinstance(dividend, float) or isinstance(divisor, float):
        return math.nan if math.isinf(dividend) else math.fmod(dividend, divisor)
    # the sign of the remainder follows the dividend, as in C
    return whole(abs(dividend) % abs(divisor) * (-1 if dividend < 0 else 1), a, b)


@function("$abs", 1)
def _abs(value: Any) -> Any:
    if nullish(value):
        return None
    result = abs(numeric("$abs", value, 28765))
    return result if isinstance(result, float) else whole(result, value)


def _rounding(operator: str, round_down: Callable[[float], int]) -> None:
    @function(operator, 1)
    def compute(value: Any) -> Any:
        if nullish(value):
            return None
        number = numeric(operator, value, 28765)
        if isinstance(number, int) or not math.isfinite(number):
            return number
        return math.copysign(float(round_down(number)), number)


_rounding("$ceil", math.ceil)
_rounding("$floor", math.floor)
_rounding("$trunc", math.trunc)


@function("$round", 1, 2)
def _round(value: Any, place: Any = 0) -> Any:
    if nullish(value) or nullish(place):
        return None
    number, digits = numeric("$round", value, 51081), whole_number("$round", place, 51082)
    if not -20 < digits < 100:
        raise DatabaseError(51083, f"cannot apply $round with precision value {digits}")
    if isinstance(number, int):
        return whole(round(int(number), min(digits, 0)), value)
    return round(number, digits) if math.isfinite(number) else number


def _real(operator: str, code: int, least: float, compute: Callable[[float], float]) -> None:
    """Register a function of one real number that must be at least (for logarithms: above) it."""

    @function(operator, 1)
    def evaluate(value: Any) -> Any:
        if nullish(value):
            return None
        number = float(numeric(operator, value, 28765))
        if number < least or (number == least and code != 28714):
            raise DatabaseError(code, f"{operator}'s argument is too small: {value!r}")
        try:
            return compute(number)
        except OverflowError:
            return math.inf


_real("$sqrt", 28714, 0.0, math.sqrt)
_real("$ln", 28766, 0.0, math.log)
_real("$log10", 28761, 0.0, math.log10)


@function("$exp", 1)
def _exp(value: Any) -> Any:
    if nullish(value):
        return None
    try:
        return math.exp(numeric("$exp", value, 28765))
    except OverflowError:
        return math.inf


@function("$pow", 2)
def _pow(a: Any, b: Any) -> Any:
    if nullish(a) or nullish(b):
        return None
    base, exponent = numeric("$pow", a, 28762), numeric("$pow", b, 28763)
    if base == 0 and exponent < 0:
        raise DatabaseError(28764, "$pow cannot take a base of 0 and a negative exponent")
    if isinstance(base, int) and isinstance(exponent, int) and 0 <= exponent < 64:
        return whole(int(base) ** int(exponent), a, b)
    try:
        return math.pow(base, exponent)
    except ValueError:
        return math.nan
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 else math.inf

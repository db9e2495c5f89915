"""Numbers: ``$add``, ``$divide``, ``$round`` ... and the sum that ``$sum`` and ``$avg`` share.

Whole numbers stay whole, 64-bit ones stay 64-bit, and a whole result beyond 64 bits becomes a
double. Booleans are no numbers. Decimal128 is compared and stored but not calculated with.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Callable, Sequence
from typing import Any

from bson import Decimal128, Int64

from ..errors import DatabaseError, not_implemented
from .compiling import function
from .scopes import nullish
from .times import Date, as_date, date_at, milliseconds_of

_ALL_DIGITS = decimal.Context(prec=500)  # the largest double has 309 before the point


def fits(number: float | decimal.Decimal, bits: int) -> bool:
    """Whether a number is in the range of whole numbers of 32 or 64 bits."""
    return -(2 ** (bits - 1)) <= number < 2 ** (bits - 1)


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
    if not fits(result, 64):
        return float(result)
    if not fits(result, 32) or any(isinstance(operand, Int64) for operand in operands):
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


def _moved(operator: str, date: Date, milliseconds: int | float) -> dt.datetime:
    """The date so many milliseconds later, rounded to whole ones."""
    start = milliseconds_of(as_date(date))
    if not fits(start + milliseconds, 64):  # NaN does not
        raise DatabaseError(15, f"date overflow in {operator}")
    if isinstance(milliseconds, float):
        milliseconds = math.floor(abs(milliseconds) + 0.5) * (1 if milliseconds >= 0 else -1)
    return date_at(start + milliseconds)


@function("$add", 0, None)
def _add(*values: Any) -> Any:
    date: Date | None = None
    numbers = []
    for value in values:
        if nullish(value):
            return None
        if isinstance(value, Date):
            if date is not None:
                raise DatabaseError(16612, "only one date allowed in an $add expression")
            date = value
        else:
            numbers.append(numeric("$add", value))
    total = add_numbers(numbers)
    return total if date is None else _moved("$add", date, total)


@function("$subtract", 2)
def _subtract(a: Any, b: Any) -> Any:
    if nullish(a) or nullish(b):
        return None
    if isinstance(a, Date):
        if isinstance(b, Date):
            return Int64(milliseconds_of(as_date(a)) - milliseconds_of(as_date(b)))
        return _moved("$subtract", a, -numeric("$subtract", b))
    result = numeric("$subtract", a) - numeric("$subtract", b)
    return result if isinstance(result, float) else whole(result, a, b)


@function("$multiply", 0, None)
def _multiply(*values: Any) -> Any:
    exact: int | None = 1  # None from the first double or overflow on
    double = 1.0
    for value in values:
        if nullish(value):
            return None
        factor = numeric("$multiply", value)
        double *= float(factor)
        exact = None if exact is None or isinstance(factor, float) else exact * int(factor)
        if exact is not None and not fits(exact, 64):
            exact = None
    return double if exact is None else whole(exact, *values)


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


def _to_place(operator: str, mode: str) -> None:
    """Register a rounding to a decimal place, of a double's exact value."""

    @function(operator, 1, 2)
    def compute(value: Any, place: Any = 0) -> Any:
        if nullish(value) or nullish(place):
            return None
        number = numeric(operator, value, 51081)
        digits = whole_number(operator, place, 51082)
        if not -20 <= digits <= 100:
            raise DatabaseError(51083, f"cannot apply {operator} with precision value {digits}")
        if not math.isfinite(number) or (isinstance(number, int) and digits >= 0):
            return number
        unit = decimal.Decimal((0, (1,), -digits))
        rounded = decimal.Decimal(number).quantize(unit, mode, _ALL_DIGITS)
        if isinstance(number, float):
            return float(rounded)
        if not fits(rounded, 64):
            raise DatabaseError(51080, f"{operator} of {number} exceeds a long")
        return whole(int(rounded), value)


_to_place("$round", decimal.ROUND_HALF_EVEN)
_to_place("$trunc", decimal.ROUND_DOWN)


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
    if isinstance(base, int) and isinstance(exponent, int):
        if abs(base) <= 1:  # of any exponent, only its parity counts
            return whole(int(base) ** (int(exponent) % 2 or 2 * (exponent != 0)), a, b)
        if 0 <= exponent < 64 and fits(power := int(base) ** int(exponent), 64):
            return whole(power, a, b)
    try:
        return math.pow(base, exponent)
    except ValueError:
        return math.nan
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 else math.inf

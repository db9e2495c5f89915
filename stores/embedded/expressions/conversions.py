"""Types and conversions: ``$type``, ``$toInt``, ``$toString``, ``$convert`` ..."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable
from typing import Any

from bson import DatetimeMS, Decimal128, Int64, ObjectId, Timestamp

from ..errors import DatabaseError, not_implemented
from ..predicates import type_name
from ..values import MISSING
from .arithmetic import fits, is_number
from .compiling import Evaluator, Names, compile_expression, function, named, special
from .scopes import Scope, nullish
from .texts import conversion_failure, number_text, parse_time, time_text
from .times import Date, as_date, date_at, milliseconds_of


@function("$type", 1)
def _type(value: Any) -> str:
    return "missing" if value is MISSING else type_name(value)


@function("$isNumber", 1)
def _is_number(value: Any) -> bool:
    return is_number(value) or isinstance(value, Decimal128)


def _whole(value: Any, bits: int) -> int:
    name = "int" if bits == 32 else "long"
    if isinstance(value, bool):
        result = int(value)
    elif isinstance(value, Decimal128):
        raise not_implemented("a conversion of Decimal128")
    elif (is_number(value) and math.isfinite(value)) or (
        isinstance(value, str) and re.fullmatch(r"[+-]?\d+", value, re.ASCII)
    ):
        result = int(value)
    elif isinstance(value, Date) and bits == 64:
        result = milliseconds_of(value)
    else:
        raise conversion_failure(f"Unsupported conversion to {name} in $convert", value)
    if not fits(result, bits):
        raise conversion_failure(f"Conversion would overflow {name}", value)
    return result if bits == 32 else Int64(result)


def _double(value: Any) -> float:
    if isinstance(value, Decimal128):
        raise not_implemented("a conversion of Decimal128")
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, Date):
        return float(milliseconds_of(value))
    if isinstance(value, str):
        if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value, re.ASCII):
            return float(value)
        if re.search("inf|nan|0x", value, re.IGNORECASE):
            raise not_implemented(f"a conversion of {value!r} to a double")
    raise conversion_failure("Unsupported conversion to double in $convert", value)


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal128):
        raise not_implemented("a conversion of Decimal128")
    if is_number(value):
        return number_text("$toString", value)
    if isinstance(value, Date):
        return time_text(value)
    if isinstance(value, ObjectId):
        return str(value)
    raise conversion_failure("Unsupported conversion to string in $convert", value)


def _bool(value: Any) -> bool:
    if isinstance(value, Decimal128):
        return bool(value.to_decimal() != 0)
    return bool(value != 0) if isinstance(value, int | float) else True


def _object_id(value: Any) -> ObjectId:
    if isinstance(value, ObjectId):
        return value
    if isinstance(value, str) and re.fullmatch("[0-9a-fA-F]{24}", value):
        return ObjectId(value)
    raise conversion_failure("Unsupported conversion to objectId in $convert", value)


def _date(value: Any) -> Date:
    if isinstance(value, str):
        return parse_time("$toDate", value)
    if isinstance(value, DatetimeMS):
        return value
    if isinstance(value, dt.datetime | ObjectId | Timestamp):
        return as_date(value)
    if type_name(value) in ("long", "double") and math.isfinite(value):
        if not fits(value, 64):
            raise conversion_failure("Conversion would overflow date", value)
        return date_at(int(value))
    raise conversion_failure("Unsupported conversion to date in $convert", value)


# by the name and the number of the type
_CONVERSIONS: dict[Any, Callable[[Any], Any]] = {
    "int": lambda value: _whole(value, 32),
    "long": lambda value: _whole(value, 64),
    "double": _double,
    "string": _string,
    "bool": _bool,
    "objectId": _object_id,
    "date": _date,
}
_NUMBERS = {16: "int", 18: "long", 1: "double", 2: "string", 8: "bool", 7: "objectId", 9: "date"}


def _conversion(operator: str, convert: Callable[[Any], Any]) -> None:
    @function(operator, 1)
    def evaluate(value: Any) -> Any:
        return None if nullish(value) else convert(value)


for _name, _convert in _CONVERSIONS.items():
    _conversion(f"$to{_name[0].upper()}{_name[1:]}", _convert)


@special("$convert")
def _convert_to(operand: Any, names: Names) -> Evaluator:
    parts = named("$convert", operand, ("input", "to"), ("onError", "onNull"))
    value, target, on_error, on_null = (
        compile_expression(parts.get(name), names) for name in ("input", "to", "onError", "onNull")
    )

    def evaluate(scope: Scope) -> Any:
        source, kind = value(scope), target(scope)
        if nullish(source):
            return on_null(scope)
        if nullish(kind):
            return None
        kind = _NUMBERS.get(kind, kind) if not isinstance(kind, bool | dict | list) else None
        if kind in ("decimal", 19):
            raise not_implemented("a conversion to Decimal128")
        if kind not in _CONVERSIONS:
            raise DatabaseError(2, f"Unknown type name or number in $convert: {kind!r}")
        try:
            return _CONVERSIONS[kind](source)
        except DatabaseError as error:
            if error.code == 241 and "onError" in parts:
                return on_error(scope)
            raise

    return evaluate

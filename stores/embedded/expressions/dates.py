"""Dates: their parts, and their conversion from and to strings. All times are UTC."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any

from bson import Int64

from ..errors import DatabaseError, not_implemented
from .compiling import Evaluator, Names, compile_expression, named, special
from .scopes import Scope, nullish
from .texts import conversion_failure, parse_time
from .times import as_date

_PARTS: dict[str, Callable[[dt.datetime], int]] = {
    "$year": lambda time: time.year,
    "$month": lambda time: time.month,
    "$dayOfMonth": lambda time: time.day,
    "$hour": lambda time: time.hour,
    "$minute": lambda time: time.minute,
    "$second": lambda time: time.second,
    "$millisecond": lambda time: time.microsecond // 1000,
    "$dayOfYear": lambda time: time.timetuple().tm_yday,
    "$dayOfWeek": lambda time: time.isoweekday() % 7 + 1,
    "$week": lambda time: int(time.strftime("%U")),
    "$isoWeek": lambda time: time.isocalendar().week,
    "$isoWeekYear": lambda time: Int64(time.isocalendar().year),
    "$isoDayOfWeek": lambda time: time.isoweekday(),
}
_FORMATS: dict[str, Callable[[dt.datetime], str]] = {
    "%Y": lambda time: f"{time.year:04}",
    "%m": lambda time: f"{time.month:02}",
    "%d": lambda time: f"{time.day:02}",
    "%H": lambda time: f"{time.hour:02}",
    "%M": lambda time: f"{time.minute:02}",
    "%S": lambda time: f"{time.second:02}",
    "%L": lambda time: f"{time.microsecond // 1000:03}",
    "%j": lambda time: f"{time.timetuple().tm_yday:03}",
    "%u": lambda time: str(time.isoweekday()),
    "%w": lambda time: str(time.isoweekday() % 7 + 1),
    "%U": lambda time: time.strftime("%U"),
    "%V": lambda time: f"{time.isocalendar().week:02}",
    "%G": lambda time: f"{time.isocalendar().year:04}",
    "%z": lambda time: "+0000",
    "%Z": lambda time: "+000",
    "%%": lambda time: "%",
}
_DEFAULT_FORMAT = "%Y-%m-%dT%H:%M:%S.%LZ"


def _refuse_timezone(operator: str, parts: Mapping[str, Any]) -> None:
    if "timezone" in parts:
        raise not_implemented(f"{operator} with a time zone")


def _part(operator: str, read: Callable[[dt.datetime], int]) -> None:
    @special(operator)
    def build(operand: Any, names: Names) -> Evaluator:
        if isinstance(operand, Mapping) and "date" in operand:
            parts = named(operator, operand, ("date",), ("timezone",))
            _refuse_timezone(operator, parts)
            operand = parts["date"]
        elif isinstance(operand, list):
            if len(operand) != 1:
                raise DatabaseError(40536, f"{operator} takes exactly one argument")
            (operand,) = operand
        date = compile_expression(operand, names)

        def evaluate(scope: Scope) -> Any:
            value = date(scope)
            return None if nullish(value) else read(as_date(value))

        return evaluate


for _operator, _read in _PARTS.items():
    _part(_operator, _read)


def _formatted(time: dt.datetime, template: Any) -> str:
    if not isinstance(template, str):
        raise DatabaseError(18533, f"$dateToString requires a string as format, not {template!r}")

    def replace(match: re.Match[str]) -> str:
        try:
            return _FORMATS[match.group()](time)
        except KeyError:
            raise DatabaseError(
                18536, f"Invalid format character '{match.group()}' in format string"
            ) from None

    return re.sub("%.?", replace, template, flags=re.DOTALL)


@special("$dateToString")
def _date_to_string(operand: Any, names: Names) -> Evaluator:
    parts = named("$dateToString", operand, ("date",), ("format", "timezone", "onNull"))
    _refuse_timezone("$dateToString", parts)
    date, template, on_null = (
        compile_expression(parts.get(name, default), names)
        for name, default in (("date", None), ("format", _DEFAULT_FORMAT), ("onNull", None))
    )

    def evaluate(scope: Scope) -> Any:
        value = date(scope)
        if nullish(value):
            return on_null(scope)
        form = template(scope)
        return None if nullish(form) else _formatted(as_date(value), form)

    return evaluate


@special("$dateFromString")
def _date_from_string(operand: Any, names: Names) -> Evaluator:
    parts = named(
        "$dateFromString", operand, ("dateString",), ("format", "timezone", "onError", "onNull")
    )
    _refuse_timezone("$dateFromString", parts)
    if "format" in parts:
        raise not_implemented("$dateFromString with a format")
    text, on_null, on_error = (
        compile_expression(parts.get(name), names) for name in ("dateString", "onNull", "onError")
    )

    def evaluate(scope: Scope) -> Any:
        value = text(scope)
        if nullish(value):
            return on_null(scope)
        try:
            if not isinstance(value, str):
                raise conversion_failure("$dateFromString requires a string, found", value)
            return parse_time("$dateFromString", value)
        except DatabaseError as error:
            if error.code == 241 and "onError" in parts:
                return on_error(scope)
            raise

    return evaluate

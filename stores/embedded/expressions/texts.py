"""How numbers and times are written, and how a time is read."""

from __future__ import annotations

import calendar
import datetime as dt
import math
import re
from typing import Any

from ..errors import DatabaseError, not_implemented
from .times import Date, as_date, whole_milliseconds

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"([T ](\d\d):(\d\d)(:(\d\d)(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)


def time_text(time: Date) -> str:
    """A time as MongoDB converts it to a string.

    Raises
    ------
    DatabaseError
        238 outside the years 1 to 9999.
    """
    return as_date(time).isoformat(timespec="milliseconds") + "Z"


def number_text(operator: str, number: int | float) -> str:
    """A number as MongoDB converts it to a string.

    Raises
    ------
    DatabaseError
        238 for doubles whose digits depend on how the server prints them.
    """
    if isinstance(number, int):
        return str(int(number))
    if not math.isfinite(number):
        return "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"
    text = f"{number:.16g}"
    if "e" in text or float(text) != number:
        raise not_implemented(f"{operator} of the double {number!r}")
    return text


def parse_time(operator: str, text: str) -> dt.datetime:
    """Time in a string, ISO 8601; naive UTC.

    Raises
    ------
    DatabaseError
        241 for what is no date in any notation, 238 for notations that only MongoDB may know and
        for years outside 1 to 9999.
    """
    iso = _ISO.fullmatch(text)
    if not _may_be_time(iso) if iso else not any(map(str.isdigit, text)):
        raise conversion_failure(f"Error parsing date string '{text}'")
    if iso:
        try:
            # Python reads six digits of a second's fraction
            return whole_milliseconds(
                dt.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
            )
        except ValueError:
            pass
    raise not_implemented(f"{operator} of {text!r} (only ISO 8601 dates are read)")


def _may_be_time(iso: re.Match[str]) -> bool:
    """Whether the numbers of a time can be meant: the day is in the calendar, the hour in a day.

    The year 0, the hour 24, the second 60 and any time zone count, though Python reads none.
    """
    year, month, day, hour, minute, second = (int(iso[i] or 0) for i in (1, 2, 3, 5, 6, 8))
    if not (1 <= month <= 12 and hour <= 24 and minute <= 59 and second <= 60):
        return False
    return 1 <= day <= calendar.monthrange(year or 4, month)[1]


def conversion_failure(message: str, value: Any = None) -> DatabaseError:
    """MongoDB's error for a value that cannot be converted, which ``onError`` catches."""
    return DatabaseError(241, message if value is None else f"{message}: {value!r}")

"""How numbers and times are written, and how a time is read."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from ..errors import DatabaseError, not_implemented

_ISO = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)


def whole_milliseconds(time: dt.datetime) -> dt.datetime:
    """The time as BSON can hold it: naive UTC, cut to milliseconds."""
    if time.tzinfo is not None:
        time = time.astimezone(dt.UTC).replace(tzinfo=None)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def time_text(time: dt.datetime) -> str:
    """A time as MongoDB converts it to a string."""
    return time.isoformat(timespec="milliseconds") + "Z"


def number_text(operator: str, number: int | float) -> str:
    """A number as MongoDB converts it to a string.

    Raises
    ------
    DatabaseError
        238 for doubles whose digits depend on how the server prints them.
    """
    if isinstance(number, int):
        return str(int(number))
    text = f"{number:.16g}"
    if number != number or "e" in text or float(text) != number:
        raise not_implemented(f"{operator} of the double {number!r}")
    return text


def parse_time(operator: str, text: str) -> dt.datetime:
    """Time in a string, ISO 8601; naive UTC.

    Raises
    ------
    DatabaseError
        241 for what is no date in any notation, 238 for notations that only MongoDB may know.
    """
    if not any(character.isdigit() for character in text):
        raise conversion_failure(f"Error parsing date string '{text}'")
    if _ISO.fullmatch(text):
        try:
            # Python reads six digits of a second's fraction
            return whole_milliseconds(
                dt.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
            )
        except ValueError:
            pass
    raise not_implemented(f"{operator} of {text!r} (only ISO 8601 dates are read)")


def conversion_failure(message: str, value: Any = None) -> DatabaseError:
    """MongoDB's error for a value that cannot be converted, which ``onError`` catches."""
    return DatabaseError(241, message if value is None else f"{message}: {value!r}")

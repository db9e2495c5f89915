"""Dates and the milliseconds since 1970 that BSON holds them as.

BSON's dates reach 292 million years each way, Python's the years 1 to 9999. A date beyond those is
stored, compared and turned into a number; what needs its calendar is refused.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from bson import DatetimeMS, ObjectId, Timestamp

from ..errors import DatabaseError, not_implemented

Date = dt.datetime | DatetimeMS
"""A BSON date, within the years 1 to 9999 or beyond."""

_EPOCH = dt.datetime(1970, 1, 1)
_MILLISECOND = dt.timedelta(milliseconds=1)


def beyond_calendar() -> DatabaseError:
    """Refusal (238) of a date that Python's calendar does not have."""
    return not_implemented("a date outside the years 1 to 9999")


def whole_milliseconds(time: dt.datetime) -> dt.datetime:
    """The time as BSON can hold it: naive UTC, cut to milliseconds.

    Raises
    ------
    DatabaseError
        238 if its time zone takes it out of the years 1 to 9999.
    """
    if time.tzinfo is not None:
        try:
            time = time.astimezone(dt.UTC).replace(tzinfo=None)
        except OverflowError:
            raise beyond_calendar() from None
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def milliseconds_of(date: Date) -> int:
    """Milliseconds since 1970 of any date (naive UTC)."""
    return int(date) if isinstance(date, DatetimeMS) else (date - _EPOCH) // _MILLISECOND


def date_at(milliseconds: int) -> dt.datetime:
    """The date so many milliseconds after 1970; naive UTC.

    Raises
    ------
    DatabaseError
        238 outside the years 1 to 9999.
    """
    try:
        return _EPOCH + milliseconds * _MILLISECOND
    except OverflowError:
        raise beyond_calendar() from None


def as_date(value: Any) -> dt.datetime:
    """What the date operators take for a date: dates, ObjectIds and timestamps.

    Raises
    ------
    DatabaseError
        16006 for other types, 238 for years outside 1 to 9999.
    """
    if isinstance(value, ObjectId):
        value = value.generation_time
    elif isinstance(value, Timestamp):
        value = value.as_datetime()
    if isinstance(value, DatetimeMS):
        raise beyond_calendar()
    if not isinstance(value, dt.datetime):
        raise DatabaseError(16006, f"can't convert {value!r} to a date")
    return whole_milliseconds(value)

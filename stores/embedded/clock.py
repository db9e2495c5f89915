"""The time of the running command: one value however long it takes, as ``$$NOW`` promises."""

from __future__ import annotations

import datetime as dt
from contextvars import ContextVar

_started: ContextVar[dt.datetime | None] = ContextVar("started", default=None)


def start_command() -> None:
    """Note that a command starts now."""
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    _started.set(now.replace(microsecond=now.microsecond // 1000 * 1000))


def command_time() -> dt.datetime:
    """When the running command started: naive UTC, in whole milliseconds."""
    if _started.get() is None:
        start_command()
    started = _started.get()
    assert started is not None
    return started

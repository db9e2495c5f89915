"""Waiting for a server: deadlines that always end, and how long to wait before asking again."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

T = TypeVar("T")


class DeadlineError(TimeoutError):
    """A call did not return in time."""


def within(seconds: float, call: Callable[[], T]) -> T:
    """Result of a call that is given up after a time, whatever it hangs in.

    Parameters
    ----------
    seconds : longest time.
    call : runs in a thread of its own, which is abandoned (it is a daemon) when the time is over.

    Raises
    ------
    DeadlineError
        If the call has not returned in time; what the call itself raises is passed on.

    Notes
    -----
    A client's own time-out is between two pieces of an answer, so a server that sends a byte now
    and then holds it for ever; and the heartbeat of mp-api has no time-out at all.
    """
    done: dict[str, Any] = {}

    def run() -> None:
        try:
            done["result"] = call()
        except BaseException as error:
            done["error"] = error

    thread = threading.Thread(target=run, daemon=True, name="ebsdsg request")
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise DeadlineError(f"no complete answer in {seconds:g} s")
    if "error" in done:
        raise done["error"]
    result: T = done["result"]
    return result


def pause(attempt: int, first: float, longest: float) -> float:
    """Seconds before the next attempt: doubled each time, with up to a quarter of it at random.

    Parameters
    ----------
    attempt : failed attempts so far, from 1.
    first : pause after the first.
    longest : upper limit.
    """
    return min(longest, first * 2 ** (attempt - 1) * random.uniform(1.0, 1.25))


def retry_after(value: str | None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, given as a number or as a date (RFC 9110)."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(value)
    except ValueError:
        return None
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return max(0.0, (then - datetime.now(UTC)).total_seconds())

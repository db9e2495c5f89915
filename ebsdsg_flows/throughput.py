"""How many simulations end in an hour of work, from the times of a campaign's runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from stores.states import State

WINDOW = timedelta(hours=24)
"""Throughput is that of the simulations completed in this time."""

PAUSE = timedelta(minutes=10)
"""A time without any run counts as work up to this length: jobs wait for a worker, or a queue."""


def throughput(runs: Iterable[Mapping[str, Any]], at: datetime, *, left: bool) -> float | None:
    """Simulations completed per hour of work.

    Parameters
    ----------
    runs : ``state``, ``next_stage``, ``started``, ``finished`` and ``heartbeat`` of every run.
    at : the present.
    left : whether something is still to be done; the time since the last run counts only then.

    Returns
    -------
    ``None`` if fewer than two were completed within :data:`WINDOW`.

    Notes
    -----
    Counted are the completions after the first one of the window, and the time from that one on in
    which at least one run was at work.  Times without any that are longer than :data:`PAUSE` are
    left out: a night in which nothing ran would otherwise make the morning look slow, and a
    campaign that has ended slower with every hour.
    """
    work: list[tuple[datetime, datetime]] = []
    completed: list[datetime] = []
    for run in runs:
        # who found a lost run dead wrote when that was, not when it died
        seen = run["heartbeat"] if run["state"] == State.LOST else run["finished"]
        end = seen or run["heartbeat"]
        if end < at - WINDOW:
            continue
        work.append((run["started"], end))
        if run["state"] == State.COMPLETED and run["next_stage"] is None:
            completed.append(end)
    if len(completed) < 2:
        return None
    first = min(completed)
    if left:
        work.append((at, at))
    seconds, until = 0.0, first
    for start, end in sorted(work):
        if end <= until:
            continue
        if start - until > PAUSE:
            until = start
        seconds += (end - until).total_seconds()
        until = end
    return round((len(completed) - 1) / max(seconds / 3600, 1e-6), 3)

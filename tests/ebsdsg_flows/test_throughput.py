"""Throughput is that of the hours in which something ran."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from ebsdsg_flows.throughput import throughput

NOON = datetime(2026, 1, 2, 12)


def run(start: float, end: float | None, state: str = "completed", **changes: Any) -> dict:
    """A run between two times [minutes before noon]."""
    finished = None if end is None else NOON - timedelta(minutes=end)
    return {
        "state": state,
        "next_stage": None,
        "started": NOON - timedelta(minutes=start),
        "finished": finished,
        "heartbeat": finished or NOON,
        **changes,
    }


def row(n: int, minutes: float, last: float, pause: float = 0) -> list[dict]:
    """Runs one after the other, each of some minutes, with a pause after each."""
    each = minutes + pause
    return [run(last + each * i + minutes, last + each * i) for i in range(n)]


def test_what_goes_on_has_the_rate_until_now() -> None:
    assert throughput(row(7, 10, 0), NOON, left=True) == 6
    # half of the next one is done
    assert throughput([*row(7, 10, 5), run(5, None, "running")], NOON, left=True) == pytest.approx(
        6 * 60 / 65, abs=1e-3
    )


def test_the_rate_of_a_campaign_that_has_ended_stays() -> None:
    runs = row(7, 10, 0)
    for hours in (0, 1, 6, 20):
        assert throughput(runs, NOON + timedelta(hours=hours), left=False) == 6


@pytest.mark.parametrize("left", [True, False])
def test_a_night_in_which_nothing_ran_is_left_out(left: bool) -> None:
    runs = [*row(4, 10, 0), *row(4, 10, 9 * 60)]
    # the first one after the night counts with its own ten minutes
    assert throughput(runs, NOON, left=left) == 6
    # a pause that lasts still
    assert throughput(runs, NOON + timedelta(hours=5), left=True) == 6


def test_long_runs_are_no_pause_and_short_waits_are_work() -> None:
    assert throughput(row(5, 180, 0), NOON, left=True) == pytest.approx(1 / 3, abs=1e-3)
    assert throughput(row(7, 5, 0, pause=5), NOON, left=False) == 6
    # two workers, shifted
    both = [*row(7, 10, 0), *row(7, 10, 5)]
    assert throughput(both, NOON, left=False) == pytest.approx(13 / (65 / 60), abs=1e-3)


def test_only_last_stages_count_but_every_run_is_work() -> None:
    carlo = [run(end + 20, end + 10, next_stage="master pattern") for end in (0, 20, 40)]
    assert throughput([*carlo, *row(3, 10, 0, pause=10)], NOON, left=False) == 3
    failed = run(40, 0, "failed")
    assert throughput([run(70, 60), run(60, 40), failed], NOON, left=False) == 1
    # found dead hours later: it worked until its last sign of life
    lost = run(40, 0, "lost", heartbeat=NOON - timedelta(minutes=35))
    assert throughput([run(70, 60), run(60, 40), lost], NOON, left=False) == pytest.approx(
        60 / 25, abs=1e-3
    )


def test_fewer_than_two_within_the_day_say_nothing() -> None:
    assert throughput([], NOON, left=True) is None
    assert throughput([run(10, 0), run(30 * 60, 29 * 60)], NOON, left=True) is None

"""The queue's job that this process belongs to: its number and how long it may go on."""

from __future__ import annotations

import os
import time
from functools import lru_cache

VARIABLES = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")
"""Variables in which Slurm, PBS, LSF and Grid Engine tell a job its number."""

ASK_AGAIN = 600.0
"""Seconds after which the end of the job is asked for again: administrators move it."""


def job_id() -> str | None:
    """Number of the queue's job, ``None`` if no queueing system started this process."""
    return next((os.environ[name] for name in VARIABLES if os.environ.get(name)), None)


def in_a_queue() -> bool:
    """Whether a queueing system started this process."""
    return job_id() is not None


def seconds_left() -> float | None:
    """Seconds until the queue ends this job.

    Returns
    -------
    Never negative; ``None`` if there is no job, or its queue does not tell (only Slurm does).
    """
    told = os.environ.get("SLURM_JOB_END_TIME", "")
    if told.isdigit():
        return max(0.0, int(told) - time.time())
    number = os.environ.get("SLURM_JOB_ID")
    if not number:
        return None
    end = _asked_end(number, int(time.monotonic() // ASK_AGAIN))
    return None if end is None else max(0.0, end - time.time())


@lru_cache(maxsize=1)
def _asked_end(number: str, period: int) -> float | None:
    """End of a job as Slurm's controller tells it, asked for once in a period [s since 1970]."""
    from ebsdsg_flows.cluster.slurm import QueueUnavailable, ask

    try:
        job = ask([number]).get(number)
    except QueueUnavailable:
        return None
    return None if job is None else job.ends

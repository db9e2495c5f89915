"""The queue's jobs that wait for a firework or run a simulation: numbers, and cancelling."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

COMMANDS = ("scancel", "qdel", "bkill")
"""How Slurm, PBS or Grid Engine, and LSF cancel a job; the first that is installed is used."""

TIMEOUT = 20.0


class QueueError(RuntimeError):
    """The queueing system could not be told to cancel a job."""


def queue_id_of(launch: Mapping[str, Any]) -> str | None:
    """Number of the queue's job that was submitted for a reserved launch.

    Parameters
    ----------
    launch : document of FireWorks' launch, with its ``state_history``.
    """
    for entry in reversed(launch.get("state_history") or []):
        if entry.get("reservation_id") is not None:
            return str(entry["reservation_id"])
    return None


def cancel_job(number: str) -> bool:
    """Cancel a job of the queue; one that is over is no error.

    Parameters
    ----------
    number : of the job, as the queueing system gave it.

    Returns
    -------
    ``False`` if no queueing system is installed here.

    Raises
    ------
    QueueError
        If its command fails or does not answer.
    """
    program = next((name for name in COMMANDS if shutil.which(name)), None)
    if program is None:
        return False
    try:
        done = subprocess.run(
            [program, number],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise QueueError(f"{program} {number} did not answer within {TIMEOUT:g} s") from None
    said = " ".join((done.stderr or done.stdout).split())
    over = ("invalid job id", "unknown job", "has finished", "already", "does not exist")
    if done.returncode != 0 and not any(text in said.lower() for text in over):
        raise QueueError(f"{program} {number} failed: {said[:300]}")
    return True

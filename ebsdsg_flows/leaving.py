"""A worker that is asked to end: SIGTERM is remembered while a program is being supervised.

Queueing systems send SIGTERM some seconds before they kill.  A worker that supervises a program
uses them to write down what happens and to end the program; only then does it go itself.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

QUEUE_VARIABLES = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")
"""Variables by which a process knows that a queueing system started it."""

_asked = threading.Event()


def asked_to_leave() -> bool:
    """Whether SIGTERM came while a program was being supervised."""
    return _asked.is_set()


def in_a_queue() -> bool:
    """Whether a queueing system started this process."""
    return any(name in os.environ for name in QUEUE_VARIABLES)


@contextmanager
def noticing_sigterm() -> Iterator[None]:
    """Remember SIGTERM instead of dying of it; has no effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def remember(number: int, frame: FrameType | None) -> None:
        _asked.set()

    before = signal.signal(signal.SIGTERM, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave() -> None:
    """End this process as SIGTERM would have done."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)

"""A worker that is asked to end: the signal is remembered while a simulation is being computed.

Queueing systems send SIGTERM some seconds before they kill (Grid Engine with ``-notify``: SIGUSR2).
A worker uses them to write down what happens and to end its program; only then does it go itself.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR2)

_asked = threading.Event()

log = logging.getLogger(__name__)


def asked_to_leave() -> bool:
    """Whether this process was asked to end while it was noticing."""
    return _asked.is_set()


@contextmanager
def noticing_sigterm(at_once: Callable[[], None] | None = None) -> Iterator[None]:
    """Remember SIGTERM instead of dying of it; has no effect outside the main thread.

    Parameters
    ----------
    at_once : called in a thread of its own as soon as the signal arrives, even while the main
        thread is inside a long library call, where Python's signal handlers have to wait.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def remember(number: int, frame: FrameType | None) -> None:
        _asked.set()

    before = {number: signal.signal(number, remember) for number in SIGNALS}
    try:
        if at_once is None:
            yield
        else:
            with _listening(at_once):
                yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _listening(call: Callable[[], None]) -> Iterator[None]:
    """Call a function when a signal arrives; the kernel wakes the thread through a pipe."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def listen() -> None:
        while number := os.read(reading, 1):
            if number[0] not in SIGNALS:
                continue
            _asked.set()
            try:
                call()
            except Exception:
                # the main thread comes to the same end a little later and reports then
                log.exception("what was asked for at SIGTERM failed")
            return

    thread = threading.Thread(target=listen, name="listening for SIGTERM", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)
        thread.join()
        os.close(reading)


def leave() -> None:
    """End this process as SIGTERM would have done."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)

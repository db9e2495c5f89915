"""An answer of the database that many readers want, asked for once every few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """The last answer to one question, made anew when it is old.

    Parameters
    ----------
    ask : the question.
    seconds : for which an answer is given again.
    """

    def __init__(self, ask: Callable[[], T], seconds: float = 5.0) -> None:
        self._ask = ask
        self._seconds = seconds
        self._answer: tuple[float, T] | None = None
        self._lock = threading.Lock()

    def get(self) -> T:
        """The answer; readers who come while it is made wait for that one."""
        with self._lock:
            if self._answer is None or time.monotonic() - self._answer[0] > self._seconds:
                answer = self._ask()
                self._answer = time.monotonic(), answer
            return self._answer[1]

    def forget(self) -> None:
        """Ask again at the next reader's, because something was changed here."""
        with self._lock:
            self._answer = None

"""What many readers want and takes long, made once: for a few seconds, or until it changes."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
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


class Made(Generic[T]):
    """Things made from documents, until the documents change.

    Parameters
    ----------
    most : things kept, the last used.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, version: Hashable, make: Callable[[], T]) -> T:
        """The thing of a version; readers who come while it is made may make it, too.

        Parameters
        ----------
        version : of what it is made of.
        make : makes it.
        """
        with self._lock:
            if version in self._known:
                self._known.move_to_end(version)
                return self._known[version]
        made = make()
        with self._lock:
            self._known[version] = made
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return made

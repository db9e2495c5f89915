"""Answers for uploaded patterns, in memory, until newer ones need the room."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ebsdsg_flows.web.models import Asked
    from ebsdsg_ml.predict import Prediction

ROOM = 64 * 2**20
"""Bytes of patterns that are kept."""


@dataclass(frozen=True, eq=False)
class Answered:
    """One upload and what was answered.

    Parameters
    ----------
    asked : the model.
    answers : for every pattern.
    pooled : for all of them as one grain, if that was asked for.
    errors : of files that could not be used.
    similar : most similar stored pattern by number of the answer, as far as looked for.
    """

    asked: Asked
    answers: list[Prediction]
    pooled: Prediction | None
    errors: list[str]
    similar: dict[int, dict[str, Any] | None] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of the patterns."""
        return sum(answer.pattern.nbytes for answer in self.answers)


class Kept:
    """The last uploads' answers, by keys that cannot be guessed.

    Parameters
    ----------
    room : bytes of patterns; the last upload is kept whatever it takes.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._found: OrderedDict[str, Answered] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, answered: Answered) -> str:
        """Key of the answers from now on."""
        key = secrets.token_hex(16)
        with self._lock:
            self._found[key] = answered
            while len(self._found) > 1 and self._size() > self._room:
                self._found.popitem(last=False)
        return key

    def get(self, key: str) -> Answered | None:
        """Answers of a key; ``None`` if they are no longer kept."""
        with self._lock:
            return self._found.get(key)

    def _size(self) -> int:
        return sum(answered.size for answered in self._found.values())

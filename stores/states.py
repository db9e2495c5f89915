"""The life of a simulation, of a run and of a training run, in six words.

``waiting -> running -> completed | failed | timed_out | lost``, from the last three back to
``waiting`` by an explicit retry, and from ``running`` to ``waiting`` where a stage is done and the
next is another worker's.  A state is only ever changed here, by one atomic
compare-and-set, so two workers cannot both believe that they made the change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pymongo.collection import Collection


class State(StrEnum):
    """Where a piece of work stands."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"


ENDED_BADLY = frozenset({State.FAILED, State.TIMED_OUT, State.LOST})
"""States from which a retry may start."""

FINISHED = ENDED_BADLY | {State.COMPLETED}
"""States in which nothing runs any more."""

ALLOWED: Mapping[State, frozenset[State]] = {
    State.WAITING: frozenset({State.RUNNING}),
    State.RUNNING: FINISHED | {State.WAITING},
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset({State.WAITING}),
    State.TIMED_OUT: frozenset({State.WAITING}),
    State.LOST: frozenset({State.WAITING}),
}
"""The transitions there are; everything else raises :class:`StateError`."""


class StateError(RuntimeError):
    """A state change that is not allowed, or that came too late; names the actual state.

    Attributes
    ----------
    actual : state found in the database, ``None`` if the document does not exist or was not read.
    """

    def __init__(self, message: str, actual: State | None = None) -> None:
        super().__init__(message)
        self.actual = actual


def now() -> datetime:
    """Present time in UTC with the millisecond resolution that BSON keeps."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def transition(
    collection: Collection[dict[str, Any]],
    key: str,
    from_states: State | str | Iterable[State | str],
    to: State | str,
    *,
    where: Mapping[str, Any] | None = None,
    fields: Mapping[str, Any] | None = None,
    unset: Iterable[str] = (),
    push: Mapping[str, Any] | None = None,
    increment: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Change the state of one document, if and only if it is in the expected state.

    Parameters
    ----------
    collection : collection whose documents have ``key`` and ``state``.
    key : the document's key.
    from_states : expected state, or several of them.
    to : new state.
    where : further conditions that must hold, such as ``{"claim.run": run}``.
    fields : fields set in the same step.
    unset : fields removed in the same step.
    push : values appended to lists in the same step.
    increment : integers added to fields in the same step.

    Returns
    -------
    The document after the change, without ``_id``.

    Raises
    ------
    StateError
        If the transition is not one of :data:`ALLOWED`, if there is no such document, or if its
        state or a condition is not the expected one; nothing is written then.

    Notes
    -----
    One ``findAndModify``: MongoDB and the embedded server apply it to a document atomically.
    """
    from pymongo import ReturnDocument

    target = State(to)
    if isinstance(from_states, str):
        from_states = (from_states,)
    expected = sorted(State(state) for state in from_states)
    for state in expected:
        if target not in ALLOWED[state]:
            raise StateError(
                f"{collection.name} {key}: {state} -> {target} is not a transition; from {state} "
                f"one can go to {', '.join(sorted(ALLOWED[state])) or 'nothing (it is final)'}"
            )
    update: dict[str, Any] = {
        "$set": {**(fields or {}), "state": str(target), "last_updated": now()}
    }
    if names := list(unset):
        update["$unset"] = dict.fromkeys(names, "")
    if push:
        update["$push"] = dict(push)
    if increment:
        update["$inc"] = dict(increment)
    states = [str(state) for state in expected]
    wanted: Any = states[0] if len(states) == 1 else {"$in": states}
    changed = collection.find_one_and_update(
        {"key": key, "state": wanted, **(where or {})},
        update,
        projection={"_id": False},
        return_document=ReturnDocument.AFTER,
    )
    if changed is not None:
        return changed
    found = collection.find_one({"key": key}, {"_id": False, "state": True})
    if found is None:
        raise StateError(f"{collection.name} has no document with the key {key}")
    actual = State(found["state"])
    reason = (
        f"its state is {actual}"
        if actual not in expected
        else f"it is {actual}, but {', '.join(where or ())} changed meanwhile"
    )
    raise StateError(
        f"{collection.name} {key}: cannot go from {' or '.join(states)} to {target}, "
        f"because {reason}",
        actual,
    )

"""Checks of command arguments that several commands share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .collection import Collection
from .errors import DatabaseError

Command = dict[str, Any]
"""A command as received, with ``$db``."""

Reply = dict[str, Any]
"""The answer to a command, without ``ok``."""


def namespace_of(command: Command, key: str) -> str:
    """Namespace a command names in its first field.

    Raises
    ------
    DatabaseError
        If the collection name is not a string (73).
    """
    name = command[key]
    if not isinstance(name, str) or not name:
        raise DatabaseError(73, f"collection name for {key!r} must be a string, not {name!r}")
    return f"{command['$db']}.{name}"


def check_fields(where: str, document: Any, known: Iterable[str]) -> None:
    """Raise (40415) if a document has a field this server does not know."""
    if not isinstance(document, Mapping):
        raise DatabaseError(14, f"{where} must be a document")
    unknown = set(document) - set(known)
    if unknown:
        raise DatabaseError(
            40415, f"BSON field '{where}.{sorted(unknown)[0]}' is an unknown field."
        )


def check_collation(collation: Any) -> None:
    """Raise unless the collation is absent or the simple one."""
    if collation and collation != {"locale": "simple"}:
        raise DatabaseError(238, "collation is not supported by the embedded server")


def natural_order(hint: Any) -> dict[str, int] | None:
    """Order that a hint asks for: only ``{"$natural": -1}`` asks for one."""
    return {"$natural": -1} if isinstance(hint, Mapping) and hint == {"$natural": -1} else None


def check_hint(collection: Collection, hint: Any) -> None:
    """Raise (2) if a hint names no index; the planner needs no hints otherwise."""
    if hint is None or not len(collection):
        return
    for index in collection.indexes.values():
        if hint == index.name or (
            isinstance(hint, Mapping) and list(hint.items()) == list(index.key.items())
        ):
            return
    if hint not in ("_id_", {"_id": 1}) and hint not in ({"$natural": 1}, {"$natural": -1}):
        raise DatabaseError(2, f"hint provided does not correspond to an existing index: {hint!r}")

"""Commands that write documents: insert, update, delete and findAndModify.

Each statement of a command is all or nothing; the statements before a failed one stay, as in
MongoDB.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from .arguments import (
    Command,
    Reply,
    check_collation,
    check_fields,
    check_hint,
    namespace_of,
    natural_order,
)
from .collection import Collection
from .errors import DatabaseError, unforeseen
from .matching import exact_values
from .positions import resolve
from .projecting import compile_projection
from .updating import apply_update, is_replacement
from .values import clone, identical, split_path
from .wire import decode, encode

if TYPE_CHECKING:
    from .engine import Engine

_UPDATE_FIELDS = {
    "q", "u", "upsert", "multi", "arrayFilters", "hint", "collation", "sort",
}  # fmt: skip


def _statements(
    command: Command, statements: Iterable[Any], run: Callable[[int, Any], None]
) -> list[dict[str, Any]]:
    """Run statements one by one, each all or nothing; return their errors.

    Statements before a failed one stay, as in MongoDB; after it the others run only if the
    command is unordered.
    """
    errors = []
    for index, statement in enumerate(statements):
        try:
            run(index, statement)
            continue
        except DatabaseError as error:
            refusal = error
        except sqlite3.Error:
            raise  # the disk fails, and with it the command
        except Exception as error:
            refusal = unforeseen(next(iter(command)), error)
        errors.append(refusal.write_error(index))
        if command.get("ordered", True):
            break
    return errors


def _with_errors(reply: Reply, errors: list[dict[str, Any]]) -> Reply:
    return {**reply, "writeErrors": errors} if errors else reply


def insert(engine: Engine, command: Command) -> Reply:
    """The ``insert`` command."""
    collection = engine.writable(namespace_of(command, "insert"))
    inserted = 0

    def run(index: int, document: Any) -> None:
        nonlocal inserted
        with collection.statement():
            collection.insert(engine.next_number(), document)
        inserted += 1

    errors = _statements(command, command["documents"], run)
    return _with_errors({"n": inserted}, errors)


def update(engine: Engine, command: Command) -> Reply:
    """The ``update`` command."""
    namespace = namespace_of(command, "update")
    matched = modified = 0
    upserted: list[dict[str, Any]] = []

    def run(index: int, statement: Any) -> None:
        nonlocal matched, modified
        check_fields("update.updates", statement, _UPDATE_FIELDS)
        query, change = statement["q"], statement["u"]
        multi = bool(statement.get("multi", False))
        if multi and is_replacement(change):
            raise DatabaseError(9, "multi update is not supported for replacement-style update")
        upsert = bool(statement.get("upsert", False))
        collection = engine.writable(namespace, create=upsert)
        with collection.statement():
            found = _select(
                collection, query, statement.get("sort"), 1 if not multi else 0, statement
            )
            changed = 0
            for number, document in found:
                changed += _change(
                    collection, number, document, change, query, statement.get("arrayFilters")
                )
            made = None
            if not found and upsert:
                made = _upsert(engine, collection, query, change, statement.get("arrayFilters"))
        matched += len(found)
        modified += changed
        if made is not None:
            matched += 1
            upserted.append({"index": index, "_id": made["_id"]})

    errors = _statements(command, command["updates"], run)
    reply: Reply = {"n": matched, "nModified": modified}
    if upserted:
        reply["upserted"] = upserted
    return _with_errors(reply, errors)


def delete(engine: Engine, command: Command) -> Reply:
    """The ``delete`` command."""
    collection = engine.writable(namespace_of(command, "delete"), create=False)
    for statement in command["deletes"]:
        _check_delete(statement)
    deleted = 0

    def run(index: int, statement: Any) -> None:
        nonlocal deleted
        with collection.statement():
            found = _select(collection, statement["q"], None, int(statement["limit"]), statement)
            for number, _ in found:
                collection.delete(number)
        deleted += len(found)

    errors = _statements(command, command["deletes"], run)
    return _with_errors({"n": deleted}, errors)


def _check_delete(statement: Any) -> None:
    check_fields("delete.deletes", statement, {"q", "limit", "hint", "collation"})
    if "limit" not in statement:
        raise DatabaseError(40414, "BSON field 'delete.deletes.limit' is missing")
    limit = statement["limit"]
    if isinstance(limit, bool) or limit not in (0, 1):
        raise DatabaseError(9, f"The limit field in delete objects must be 0 or 1. Got {limit!r}")


def find_and_modify(engine: Engine, command: Command) -> Reply:
    """The ``findAndModify`` command."""
    query = command.get("query") or {}
    removes, change = bool(command.get("remove")), command.get("update")
    if removes == (change is not None):
        raise DatabaseError(9, "Either an update or remove=true must be specified")
    if removes and (command.get("new") or command.get("upsert")):
        raise DatabaseError(9, "Cannot specify new or upsert along with remove=true")
    project = compile_projection(command.get("fields"), query)
    collection = engine.writable(
        namespace_of(command, next(iter(command))), create=bool(command.get("upsert"))
    )
    with collection.statement():
        found = _select(collection, query, command.get("sort"), 1, command)
        if removes:
            for number, _ in found:
                collection.delete(number)
            value = _at_hand(project(found[0][1])) if found else None
            return {"lastErrorObject": {"n": len(found)}, "value": value}
        filters = command.get("arrayFilters")
        if found:
            number, document = found[0]
            _change(collection, number, document, change, query, filters)
            after = collection.documents[number]
            return {
                "lastErrorObject": {"n": 1, "updatedExisting": True},
                "value": _at_hand(project(after if command.get("new") else document)),
            }
        if not command.get("upsert"):
            return {"lastErrorObject": {"n": 0, "updatedExisting": False}, "value": None}
        made = _upsert(engine, collection, query, change, filters)
        return {
            "lastErrorObject": {"n": 1, "updatedExisting": False, "upserted": made["_id"]},
            "value": project(made) if command.get("new") else None,
        }


def _at_hand(document: dict[str, Any]) -> dict[str, Any]:
    """The document with its binaries in memory: the journal drops theirs before the reply goes."""
    return decode(encode(document))


def _select(
    collection: Collection,
    query: Mapping[str, Any],
    order: Mapping[str, Any] | None,
    limit: int,
    options: Mapping[str, Any],
) -> list[tuple[int, dict[str, Any]]]:
    """Documents a statement works on; `limit` 0 means all."""
    check_hint(collection, options.get("hint"))
    check_collation(options.get("collation"))
    order = order or natural_order(options.get("hint"))
    if order:
        return collection.first(query, order, limit)
    return list(itertools.islice(collection.find(query), limit or None))


def _change(
    collection: Collection,
    number: int,
    document: dict[str, Any],
    change: Any,
    query: Mapping[str, Any],
    array_filters: list[dict[str, Any]] | None,
) -> int:
    """Apply an update to one stored document; 1 if that changed it."""
    result = apply_update(document, change, query=query, array_filters=array_filters)
    if identical(document, result):
        return 0
    collection.replace(number, result)
    return 1


def _upsert(
    engine: Engine,
    collection: Collection,
    query: Mapping[str, Any],
    change: Any,
    array_filters: list[dict[str, Any]] | None,
) -> dict[str, Any]:
    """Insert what an upsert makes of its filter and its update."""
    start: dict[str, Any] = {}
    taken: list[tuple[str, ...]] = []
    for path, value in exact_values(query):
        if is_replacement(change) and path != "_id":
            continue
        parts = split_path(path)
        if any(parts[: len(other)] == other[: len(parts)] for other in taken):
            raise DatabaseError(
                54, f"cannot infer query fields to set, path {path!r} is matched twice"
            )
        taken.append(parts)
        for position in resolve(start, parts, {}, {}, creates=True):
            position.assign(clone(value))
    made = apply_update(start, change, query=query, array_filters=array_filters, inserting=True)
    if "_id" not in made:
        made = {"_id": ObjectId(), **made}
    return collection.insert(engine.next_number(), made)

"""Commands that read and write documents: insert, update, delete, find, findAndModify ..."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from . import aggregation, expressions
from .collection import Collection
from .errors import DatabaseError
from .matching import exact_values
from .positions import resolve
from .projecting import compile_projection
from .updating import apply_update, is_replacement
from .values import MISSING, clone, hash_key, identical, lookup, split_path

if TYPE_CHECKING:
    from .engine import Engine

Command = dict[str, Any]
Reply = dict[str, Any]


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
        except DatabaseError as error:
            errors.append(error.write_error(index))
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
    collection = engine.writable(namespace_of(command, "update"))
    matched = modified = 0
    upserted: list[dict[str, Any]] = []

    def run(index: int, statement: Any) -> None:
        nonlocal matched, modified
        check_fields("update.updates", statement, _UPDATE_FIELDS)
        query, change = statement["q"], statement["u"]
        multi = bool(statement.get("multi", False))
        if multi and is_replacement(change):
            raise DatabaseError(9, "multi update is not supported for replacement-style update")
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
            if not found and statement.get("upsert", False):
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
    collection = engine.writable(namespace_of(command, "delete"))
    deleted = 0

    def run(index: int, statement: Any) -> None:
        nonlocal deleted
        check_fields("delete.deletes", statement, {"q", "limit", "hint", "collation"})
        with collection.statement():
            found = _select(collection, statement["q"], None, statement.get("limit", 0), statement)
            for number, _ in found:
                collection.delete(number)
        deleted += len(found)

    errors = _statements(command, command["deletes"], run)
    return _with_errors({"n": deleted}, errors)


def find_and_modify(engine: Engine, command: Command) -> Reply:
    """The ``findAndModify`` command."""
    collection = engine.writable(namespace_of(command, next(iter(command))))
    query = command.get("query") or {}
    removes, change = bool(command.get("remove")), command.get("update")
    if removes == (change is not None):
        raise DatabaseError(9, "Either an update or remove=true must be specified")
    if removes and (command.get("new") or command.get("upsert")):
        raise DatabaseError(9, "Cannot specify new or upsert along with remove=true")
    project = compile_projection(command.get("fields"), query)
    with collection.statement():
        found = _select(collection, query, command.get("sort"), 1, command)
        if removes:
            for number, _ in found:
                collection.delete(number)
            value = project(found[0][1]) if found else None
            return {"lastErrorObject": {"n": len(found)}, "value": value}
        filters = command.get("arrayFilters")
        if found:
            number, document = found[0]
            _change(collection, number, document, change, query, filters)
            after = collection.documents[number]
            return {
                "lastErrorObject": {"n": 1, "updatedExisting": True},
                "value": project(after if command.get("new") else document),
            }
        if not command.get("upsert"):
            return {"lastErrorObject": {"n": 0, "updatedExisting": False}, "value": None}
        made = _upsert(engine, collection, query, change, filters)
        return {
            "lastErrorObject": {"n": 1, "updatedExisting": False, "upserted": made["_id"]},
            "value": project(made) if command.get("new") else None,
        }


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
    found = collection.find(query)
    if order:
        pairs = list(found)
        numbers = {id(document): number for number, document in pairs}
        ordered = expressions.sort_documents((document for _, document in pairs), order)
        found = iter([(numbers[id(document)], document) for document in ordered])
    return list(itertools.islice(found, limit or None))


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
    fields = exact_values(query)
    start: dict[str, Any] = {}
    if is_replacement(change):
        if "_id" in fields:
            start["_id"] = fields["_id"]
    else:
        for path, value in fields.items():
            for position in resolve(start, split_path(path), {}, {}, creates=True):
                if position.exists:
                    raise DatabaseError(
                        54, f"cannot infer query fields to set, path {path!r} is matched twice"
                    )
                position.assign(clone(value))
    made = apply_update(start, change, query=query, array_filters=array_filters, inserting=True)
    if "_id" not in made:
        made = {"_id": ObjectId(), **made}
    return collection.insert(engine.next_number(), made)


def find(engine: Engine, command: Command) -> Reply:
    """The ``find`` command."""
    namespace = namespace_of(command, "find")
    collection = engine.get(namespace)
    query = command.get("filter") or {}
    check_hint(collection, command.get("hint"))
    check_collation(command.get("collation"))
    for option in ("tailable", "awaitData", "returnKey", "showRecordId"):
        if command.get(option):
            raise DatabaseError(238, f"{option} is not supported by the embedded server")
    limit, skip = int(command.get("limit") or 0), int(command.get("skip") or 0)
    if limit < 0 or skip < 0:
        raise DatabaseError(2, "limit and skip must not be negative")
    project = compile_projection(command.get("projection"), query)
    matches: Iterable[dict[str, Any]] = (
        document for _, document in collection.find(query, command.get("let"))
    )
    if command.get("sort"):
        matches = expressions.sort_documents(matches, command["sort"])
    found = list(itertools.islice(matches, skip, skip + limit if limit else None))
    return engine.cursors.reply(
        namespace,
        map(project, found),
        command.get("batchSize"),
        single_batch=bool(command.get("singleBatch")),
        expires=not command.get("noCursorTimeout"),
    )


def get_more(engine: Engine, command: Command) -> Reply:
    """The ``getMore`` command."""
    namespace = f"{command['$db']}.{command['collection']}"
    return engine.cursors.more(int(command["getMore"]), namespace, command.get("batchSize"))


def kill_cursors(engine: Engine, command: Command) -> Reply:
    """The ``killCursors`` command."""
    return engine.cursors.kill([int(number) for number in command["cursors"]])


def aggregate(engine: Engine, command: Command) -> Reply:
    """The ``aggregate`` command."""
    if not isinstance(command["aggregate"], str):
        raise DatabaseError(238, "aggregate over a database is not supported by this server")
    namespace = namespace_of(command, "aggregate")
    collection = engine.get(namespace)
    check_hint(collection, command.get("hint"))
    check_collation(command.get("collation"))
    pipeline, variables = command["pipeline"], command.get("let")
    batch_size = (command.get("cursor") or {}).get("batchSize")
    counting = aggregation.count_query(pipeline) if isinstance(pipeline, list) else None
    if counting is not None:
        aggregation.check_pipeline(pipeline)
        conditions, skip, limit = counting
        number = _count(collection, conditions, skip, limit)
        documents = [{"_id": 1, "n": number}] if number else []
    elif command.get("explain"):
        raise DatabaseError(238, "explain of an aggregation is not supported by this server")
    else:
        documents = aggregation.aggregate(
            engine, command["$db"], command["aggregate"], pipeline, variables
        )
    return engine.cursors.reply(namespace, documents, batch_size)


def _count(collection: Collection, query: Mapping[str, Any], skip: int, limit: int | None) -> int:
    if not query:
        rest = max(len(collection) - skip, 0)
        return rest if limit is None else min(rest, limit)
    return aggregation.count(collection.find(query), skip, limit)


def count(engine: Engine, command: Command) -> Reply:
    """The ``count`` command."""
    collection = engine.get(namespace_of(command, "count"))
    check_hint(collection, command.get("hint"))
    check_collation(command.get("collation"))
    limit = abs(int(command.get("limit") or 0)) or None
    skip = int(command.get("skip") or 0)
    return {"n": _count(collection, command.get("query") or {}, skip, limit)}


def distinct(engine: Engine, command: Command) -> Reply:
    """The ``distinct`` command: values in order of first appearance, arrays taken apart."""
    collection = engine.get(namespace_of(command, "distinct"))
    check_hint(collection, command.get("hint"))
    check_collation(command.get("collation"))
    parts = split_path(command["key"])
    values: dict[Any, Any] = {}
    for _, document in collection.find(command.get("query") or {}):
        for value in lookup(document, parts):
            if value is MISSING:
                continue
            for item in value if isinstance(value, list) else [value]:
                values.setdefault(hash_key(item), item)
    return {"values": list(values.values())}


def explain(engine: Engine, command: Command) -> Reply:
    """The ``explain`` command for find, count and distinct: which index, how many documents."""
    inner = command["explain"]
    kind = next(iter(inner))
    if kind not in ("find", "count", "distinct"):
        raise DatabaseError(238, f"explain of {kind} is not supported by the embedded server")
    collection = engine.get(f"{command['$db']}.{inner[kind]}")
    query = inner.get("filter") or inner.get("query") or {}
    plan = collection.plan(query)
    if plan.numbers is None:
        stage: Reply = {"stage": "COLLSCAN", "direction": "forward"}
    else:
        stage = {"stage": "FETCH", "inputStage": {"stage": "IXSCAN", "keyPattern": {plan.path: 1}}}
    examined = len(collection) if plan.numbers is None else len(plan.numbers)
    returned = aggregation.count(collection.find(query))
    return {
        "queryPlanner": {
            "namespace": collection.namespace,
            "parsedQuery": query,
            "winningPlan": stage,
            "rejectedPlans": [],
        },
        "executionStats": {
            "executionSuccess": True,
            "nReturned": returned,
            "totalDocsExamined": examined,
            "totalKeysExamined": 0 if plan.numbers is None else examined,
        },
    }


_UPDATE_FIELDS = {
    "q", "u", "upsert", "multi", "arrayFilters", "hint", "collation", "sort",
}  # fmt: skip


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

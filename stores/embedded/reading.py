"""Commands that read documents: find, getMore, aggregate, count, distinct and explain."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from . import aggregation
from .arguments import (
    Command,
    Reply,
    check_collation,
    check_hint,
    namespace_of,
    natural_order,
)
from .collection import Collection
from .errors import DatabaseError
from .expressions import let_variables
from .projecting import compile_projection
from .values import MISSING, hash_key, lookup, split_path

if TYPE_CHECKING:
    from .engine import Engine


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
    variables = let_variables(command.get("let"))
    project = compile_projection(command.get("projection"), query, variables)
    last = skip + limit if limit else 0
    matches: Iterable[tuple[int, dict[str, Any]]]
    order = command.get("sort") or natural_order(command.get("hint"))
    if order:
        matches = collection.first(query, order, last, variables)
    else:
        matches = collection.find(query, variables)
    found = [document for _, document in itertools.islice(matches, skip, last or None)]
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
    if natural_order(command.get("hint")):
        raise DatabaseError(238, "an aggregation from the last document on is not supported")
    check_collation(command.get("collation"))
    if command.get("explain"):
        raise DatabaseError(238, "explain of an aggregation is not supported by this server")
    pipeline, variables = command["pipeline"], let_variables(command.get("let"))
    batch_size = (command.get("cursor") or {}).get("batchSize")
    plain = isinstance(pipeline, list) and not variables
    counting = aggregation.count_query(pipeline) if plain else None
    if counting is not None:
        conditions, skip, limit = counting
        number = _count(collection, conditions, skip, limit)
        documents = [{"_id": 1, "n": number}] if number else []
    else:
        documents = aggregation.aggregate(
            engine, command["$db"], command["aggregate"], pipeline, variables
        )
    return engine.cursors.reply(namespace, documents, batch_size)


def _count(collection: Collection, query: Mapping[str, Any], skip: int, limit: int | None) -> int:
    if not query:
        rest = max(len(collection) - skip, 0)
        return rest if limit is None else min(rest, limit)
    known = collection.count(query)
    if known is not None:
        rest = max(known - skip, 0)
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

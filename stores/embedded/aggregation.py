"""The ``aggregate`` command: pipelines over stored documents.

Reading, matching, sorting, ``$lookup``'s searches and the writing stages are done here, with
indexes; the other stages and all expressions are mongomock-ng's.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from . import expressions
from .errors import DatabaseError, not_implemented
from .matching import compile_filter
from .projecting import refuse_collisions
from .values import clone, hash_key
from .wire import decode, encode

if TYPE_CHECKING:
    from .collection import Collection
    from .engine import Engine

# Stages that build new documents and leave those they read alone.
_READING_STAGES = {"$group", "$project", "$sortByCount"}
_WRITING_STAGES = {"$out", "$merge"}
_UNSUPPORTED_STAGES = {
    "$changeStream", "$currentOp", "$documents", "$geoNear", "$indexStats", "$listSessions",
    "$listLocalSessions", "$planCacheStats", "$search", "$vectorSearch", "$densify",
}  # fmt: skip


class DatabaseView:
    """Read access to one database for stages such as ``$lookup``.

    Parameters
    ----------
    engine : the server's collections
    name : of the database
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name

    def get_collection(self, name: str) -> CollectionView:
        """Read access to a collection."""
        return CollectionView(self.engine, f"{self.name}.{name}")


class CollectionView:
    """Read access to one collection; hands out copies, for stages change what they get."""

    def __init__(self, engine: Engine, namespace: str) -> None:
        self._collection = engine.get(namespace)

    def find(self, conditions: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Copies of the documents that match."""
        return [clone(document) for _, document in self._collection.find(conditions)]


def aggregate(
    engine: Engine,
    database: str,
    name: str,
    pipeline: list[dict[str, Any]],
    variables: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Documents that come out of a pipeline; ``$out`` and ``$merge`` write them instead.

    Parameters
    ----------
    engine : the server's collections
    database, name : the collection that is read
    pipeline : stages
    variables : values of ``let``

    Raises
    ------
    DatabaseError
        For stages that are malformed, not supported or in the wrong place.
    """
    check_pipeline(pipeline)
    source = engine.get(f"{database}.{name}")
    view = DatabaseView(engine, database)
    stages = list(pipeline)
    conditions: Mapping[str, Any] = {}
    if stages and "$match" in stages[0]:
        conditions = stages.pop(0)["$match"]
    documents = _counted(source, conditions, stages[0]) if stages else None
    if documents is not None:
        stages.pop(0)
    else:
        documents = [document for _, document in source.find(conditions, variables)]
    shared = True  # the documents are the stored ones and must not be changed
    for stage in stages:
        ((operator, options),) = stage.items()
        if operator in _WRITING_STAGES:
            write = _out if operator == "$out" else _merge
            write(engine, database, options, documents)
            return []
        if operator == "$match":
            test = compile_filter(options, variables)
            documents = [document for document in documents if test(document)]
        elif operator == "$sort":
            if not isinstance(options, Mapping) or not options:
                raise DatabaseError(15976, "$sort needs an object with at least one key")
            documents = expressions.sort_documents(documents, options)
        elif operator in ("$limit", "$skip"):
            documents = _cut(documents, operator, options)
        elif operator == "$count":
            documents = expressions.run_stage(documents, stage, view) if documents else []
        elif operator == "$collStats":
            documents = [{"ns": source.namespace, "count": len(source)}]
        else:
            if shared and operator not in _READING_STAGES:
                documents = [clone(document) for document in documents]
                shared = False
            if operator == "$project":
                refuse_collisions(options)
            documents = expressions.run_stage(documents, clone(stage), view, variables)
    return documents


def _counted(
    source: Collection, conditions: Mapping[str, Any], stage: Mapping[str, Any]
) -> list[dict[str, Any]] | None:
    """Result of a ``$group`` that only counts by indexed fields; None if it does anything else."""
    group = stage.get("$group")
    if not isinstance(group, Mapping) or "_id" not in group:
        return None
    by = group["_id"]
    fields = {"": by} if isinstance(by, str) else by
    if not isinstance(fields, Mapping) or not fields:
        return None
    if not all(isinstance(f, str) and f[:1] == "$" and f[1:2] != "$" for f in fields.values()):
        return None
    if any(name.startswith("$") or "." in name for name in fields):
        return None
    steps = {name: _step(value) for name, value in group.items() if name != "_id"}
    if None in steps.values():
        return None
    paths = {name: field[1:] for name, field in fields.items()}
    found = source.tally(tuple(paths.values()), conditions)
    if found is None:
        return None
    totals: dict[Any, tuple[Any, int]] = {}
    for values, count in found:
        key = tuple(hash_key(values[path]) for path in paths.values())
        identifier = (
            values[paths[""]]
            if isinstance(by, str)
            else {name: values[path] for name, path in paths.items()}
        )
        totals[key] = (totals.get(key, (identifier, 0))[0], totals.get(key, (None, 0))[1] + count)
    return [
        {"_id": identifier, **{name: count * (step or 0) for name, step in steps.items()}}
        for identifier, count in totals.values()
    ]


def _step(accumulator: Any) -> int | None:
    """What an accumulator adds for each document if that is a constant, else None."""
    if accumulator == {"$count": {}}:
        return 1
    if isinstance(accumulator, Mapping) and set(accumulator) == {"$sum"}:
        amount = accumulator["$sum"]
        return amount if type(amount) is int else None
    return None


def check_pipeline(pipeline: Any, *, nested: bool = False) -> None:
    """Raise for a malformed pipeline, a writing stage not at the end, or a refused operator."""
    if not isinstance(pipeline, list):
        raise DatabaseError(14, "a pipeline must be an array of stages")
    expressions.refuse_scripts(pipeline)
    for number, stage in enumerate(pipeline):
        if not isinstance(stage, Mapping) or len(stage) != 1:
            raise DatabaseError(
                40323, "A pipeline stage specification object must contain exactly one field."
            )
        (operator,) = stage
        if operator in _UNSUPPORTED_STAGES:
            raise not_implemented(operator)
        if operator in _WRITING_STAGES and (nested or number != len(pipeline) - 1):
            raise DatabaseError(40601, f"{operator} can only be the final stage in the pipeline")
        options = stage[operator]
        if operator == "$facet":
            for inner in options.values():
                check_pipeline(inner, nested=True)
        elif isinstance(options, Mapping) and isinstance(options.get("pipeline"), list):
            check_pipeline(options["pipeline"], nested=True)


def _cut(documents: list[dict[str, Any]], operator: str, options: Any) -> list[dict[str, Any]]:
    if isinstance(options, bool) or not isinstance(options, int | float) or options < 0:
        raise DatabaseError(5107201, f"{operator} needs a number that is not negative")
    if operator == "$skip":
        return documents[int(options) :]
    if options == 0:
        raise DatabaseError(15958, "the limit must be positive")
    return documents[: int(options)]


def _target(database: str, options: Any) -> str:
    """Namespace that ``$out`` or ``$merge`` writes to."""
    if isinstance(options, str):
        return f"{database}.{options}"
    if isinstance(options, Mapping) and isinstance(options.get("coll"), str):
        return f"{options.get('db', database)}.{options['coll']}"
    raise DatabaseError(9, f"the target must be a collection name or {{db, coll}}: {options!r}")


def _stored(document: dict[str, Any]) -> dict[str, Any]:
    """Copy of a computed document as a restart would read it (milliseconds, no time zones)."""
    return decode(encode(document))


def _out(engine: Engine, database: str, options: Any, documents: Iterable[dict[str, Any]]) -> None:
    """Replace the target's documents; its indexes stay."""
    if isinstance(options, Mapping) and "timeseries" in options:
        raise not_implemented("$out into a time series")
    namespace = _target(database, options)
    copies = [_stored(document) for document in documents]
    old = engine.collections.get(namespace)
    if old is not None:
        engine.drop(namespace)
    new = engine.writable(namespace)
    for index in old.indexes.values() if old is not None else ():
        engine.create_index(new, index)
    with new.statement():
        for document in copies:
            new.insert(engine.next_number(), document)


def _merge(
    engine: Engine, database: str, options: Any, documents: Iterable[dict[str, Any]]
) -> None:
    """Merge into the target by ``on`` (default ``_id``)."""
    if isinstance(options, str):
        options = {"into": options}
    matched = options.get("whenMatched", "merge")
    not_matched = options.get("whenNotMatched", "insert")
    if isinstance(matched, list) or "let" in options:
        raise not_implemented("$merge with a pipeline for whenMatched")
    if matched not in ("replace", "keepExisting", "merge", "fail"):
        raise DatabaseError(2, f"unknown whenMatched of $merge: {matched!r}")
    if not_matched not in ("insert", "discard", "fail"):
        raise DatabaseError(2, f"unknown whenNotMatched of $merge: {not_matched!r}")
    on = options.get("on", "_id")
    fields = [on] if isinstance(on, str) else list(on)
    collection = engine.writable(_target(database, options["into"]))
    if fields != ["_id"] and not any(
        index.unique and set(index.key) == set(fields) for index in collection.indexes.values()
    ):
        raise DatabaseError(51183, f"$merge on {fields} needs a unique index on these fields")
    with collection.statement():
        for document in map(_stored, documents):
            missing = [field for field in fields if field not in document]
            if missing and fields != ["_id"]:
                raise DatabaseError(
                    51132, f"$merge needs the field {missing[0]!r} in each document"
                )
            query = {field: document.get(field) for field in fields}
            found = None if missing else next(collection.find(query), None)
            if found is None:
                if not_matched == "fail":
                    raise DatabaseError(13113, "$merge could not find a matching document")
                if not_matched == "insert":
                    collection.insert(engine.next_number(), document)
                continue
            number, existing = found
            if matched == "fail":
                raise DatabaseError(11000, "$merge found a matching document")
            if matched == "keepExisting":
                continue
            kept = {} if matched == "replace" else existing
            collection.replace(number, {**kept, **document, "_id": existing["_id"]})


def count_query(pipeline: list[dict[str, Any]]) -> tuple[Mapping[str, Any], int, int | None] | None:
    """Filter, skip and limit if the pipeline is what drivers send to count documents."""
    if not pipeline or pipeline[-1] != {"$group": {"_id": 1, "n": {"$sum": 1}}}:
        return None
    skip, limit = 0, None
    if "$match" not in pipeline[0]:
        return None
    for stage in pipeline[1:-1]:
        if set(stage) == {"$skip"} and limit is None:
            skip = int(stage["$skip"])
        elif set(stage) == {"$limit"}:
            limit = int(stage["$limit"])
        else:
            return None
    return pipeline[0]["$match"], skip, limit


def count(documents: Iterable[Any], skip: int = 0, limit: int | None = None) -> int:
    """How many documents there are after skipping and limiting."""
    stop = None if limit is None else skip + limit
    return sum(1 for _ in itertools.islice(documents, skip, stop))

"""Stages that write what comes out of a pipeline: ``$out`` and ``$merge``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .arguments import check_fields
from .errors import DatabaseError, not_implemented
from .wire import decode, encode

if TYPE_CHECKING:
    from .engine import Engine


def _target(stage: str, database: str, options: Any, code: int) -> str:
    """Namespace that ``$out`` or ``$merge`` writes to.

    Raises
    ------
    DatabaseError
        With `code` unless the options are a string or an object; 40415, 40414 or 14 for fields
        that are unknown, missing or no strings.
    """
    if isinstance(options, str):
        return f"{database}.{options}"
    if not isinstance(options, Mapping):
        raise DatabaseError(code, f"{stage} needs a collection name or {{db, coll}}: {options!r}")
    check_fields(stage, options, ("db", "coll"))
    if "coll" not in options:
        raise DatabaseError(40414, f"BSON field '{stage}.coll' is missing but a required field")
    for name, value in options.items():
        if not isinstance(value, str):
            raise DatabaseError(14, f"BSON field '{stage}.{name}' must be a string: {value!r}")
    return f"{options.get('db', database)}.{options['coll']}"


def _stored(document: dict[str, Any]) -> dict[str, Any]:
    """Copy of a computed document as a restart would read it (milliseconds, no time zones)."""
    return decode(encode(document))


def _out(engine: Engine, database: str, options: Any, documents: Iterable[dict[str, Any]]) -> None:
    """Replace the target's documents; its indexes stay."""
    if isinstance(options, Mapping) and "timeseries" in options:
        raise not_implemented("$out into a time series")
    namespace = _target("$out", database, options, 16990)
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
    if not isinstance(options, Mapping):
        raise DatabaseError(51182, f"$merge needs a string or an object, not {options!r}")
    check_fields("$merge", options, ("into", "on", "let", "whenMatched", "whenNotMatched"))
    if "into" not in options:
        raise DatabaseError(40414, "BSON field '$merge.into' is missing but a required field")
    matched = options.get("whenMatched", "merge")
    not_matched = options.get("whenNotMatched", "insert")
    if isinstance(matched, list) or "let" in options:
        raise not_implemented("$merge with a pipeline for whenMatched")
    if matched not in ("replace", "keepExisting", "merge", "fail"):
        raise DatabaseError(2, f"unknown whenMatched of $merge: {matched!r}")
    if not_matched not in ("insert", "discard", "fail"):
        raise DatabaseError(2, f"unknown whenNotMatched of $merge: {not_matched!r}")
    on = options.get("on", "_id")
    fields = [on] if isinstance(on, str) else on
    if not isinstance(fields, list) or not all(isinstance(field, str) for field in fields):
        raise DatabaseError(51186, f"'on' of $merge must be a string or strings, not {on!r}")
    if not fields:
        raise DatabaseError(51187, "'on' of $merge must have at least one field")
    collection = engine.writable(_target("$merge.into", database, options["into"], 51178))
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


EXPORTS = {"$out": _out, "$merge": _merge}
"""Stages by name: functions of the engine, the database, their options and the documents."""

"""The ``aggregate`` command: pipelines over the documents of a collection.

The first ``$match`` searches with indexes, and a ``$group`` that only counts by indexed fields is
read off a tally; everything else is in `stages`, `joining` and `exporting`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from . import joining  # noqa: F401  (registers its stages)
from .errors import DatabaseError
from .exporting import EXPORTS
from .stages import Context, compile_pipeline, run_stages
from .values import hash_key, identical

if TYPE_CHECKING:
    from .collection import Collection
    from .engine import Engine

_COUNTING = {"$group": {"_id": 1, "n": {"$sum": 1}}}


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
    if not isinstance(pipeline, list):
        raise DatabaseError(14, "a pipeline must be an array of stages")
    export, specifications = None, pipeline
    if pipeline and isinstance(pipeline[-1], Mapping) and len(pipeline[-1]) == 1:
        ((operator, options),) = pipeline[-1].items()
        if operator in EXPORTS:
            export, specifications = EXPORTS[operator], pipeline[:-1]
    stages = compile_pipeline(specifications, Context(engine, database, variables or {}))
    source = engine.get(f"{database}.{name}")
    conditions: Mapping[str, Any] = {}
    if specifications and "$match" in specifications[0]:
        conditions = specifications[0]["$match"]
        stages, specifications = stages[1:], specifications[1:]
    documents = _counted(source, conditions, specifications[0]) if specifications else None
    if documents is not None:
        stages = stages[1:]
    else:
        documents = [document for _, document in source.find(conditions, variables)]
    documents = run_stages(stages, documents)
    if export is not None:
        export(engine, database, options, documents)
        return []
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


def count_query(pipeline: list[dict[str, Any]]) -> tuple[Any, int, int | None] | None:
    """Filter, skip and limit if the pipeline is what drivers send to count documents."""
    if len(pipeline) < 2 or not identical(pipeline[-1], _COUNTING):
        return None
    first = pipeline[0]
    if not isinstance(first, Mapping) or list(first) != ["$match"]:
        return None
    skip, limit = 0, None
    for stage in pipeline[1:-1]:
        ((operator, number),) = stage.items() if len(stage) == 1 else ((None, None),)
        if type(number) is not int or number < 0:
            return None
        if operator == "$skip" and limit is None:
            skip += number
        elif operator == "$limit" and limit is None and number > 0:
            limit = number
        else:
            return None
    return first["$match"], skip, limit


def count(documents: Iterable[Any], skip: int = 0, limit: int | None = None) -> int:
    """How many documents there are after skipping and limiting."""
    stop = None if limit is None else skip + limit
    return sum(1 for _ in itertools.islice(documents, skip, stop))

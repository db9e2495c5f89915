"""Pipelines compiled to functions of a list of documents, stage by stage.

A pipeline is compiled as a whole before any document is read, so a mistake in the last stage is
found on an empty collection as well. Stages make new documents and never change those they get,
which may be the stored ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bson import Int64

from .errors import DatabaseError, not_implemented
from .expressions import field_path, nullish
from .grouping import Documents, Stage, compile_bucket, compile_group, compile_sort_by_count
from .matching import compile_filter
from .reshaping import RESHAPING, Reshaping
from .sorting import sort_documents
from .values import MISSING

if TYPE_CHECKING:
    from .engine import Engine
    from .indexes import Finder

WRITING_STAGES = {"$out", "$merge"}
REFUSED_STAGES = {
    "$bucketAuto", "$changeStream", "$changeStreamSplitLargeEvent", "$collStats", "$currentOp",
    "$densify", "$documents", "$fill", "$geoNear", "$graphLookup", "$indexStats",
    "$listLocalSessions", "$listSampledQueries", "$listSearchIndexes", "$listSessions",
    "$planCacheStats", "$redact", "$search", "$searchMeta", "$setWindowFields",
    "$shardedDataDistribution", "$vectorSearch",
}  # fmt: skip
"""What MongoDB knows and this server does not."""


@dataclass(frozen=True)
class Context:
    """Where a pipeline runs.

    Parameters
    ----------
    engine : the server's collections
    database : name of the database
    variables : values of ``let``
    finders : searches made for this pipeline, by collection and path
    """

    engine: Engine
    database: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    finders: dict[tuple[str, str], Finder] = field(default_factory=dict)


StageBuilder = Callable[[Any, Context], Stage]
"""Compiles the options of a stage."""


def run_stages(stages: Iterable[Stage], documents: Documents) -> Documents:
    """Documents that come out of the last stage."""
    for stage in stages:
        documents = stage(documents)
    return documents


def compile_pipeline(pipeline: Any, context: Context) -> list[Stage]:
    """Compile a pipeline without writing stages.

    Raises
    ------
    DatabaseError
        For stages that are malformed, not supported (238) or do not exist (40324).
    """
    if not isinstance(pipeline, list):
        raise DatabaseError(14, "a pipeline must be an array of stages")
    stages = []
    for specification in pipeline:
        if not isinstance(specification, Mapping) or len(specification) != 1:
            raise DatabaseError(
                40323, "A pipeline stage specification object must contain exactly one field."
            )
        ((name, options),) = specification.items()
        if name in WRITING_STAGES:
            raise DatabaseError(40601, f"{name} can only be the final stage in the pipeline")
        if name in REFUSED_STAGES:
            raise not_implemented(f"the stage {name}")
        if name not in STAGES:
            raise DatabaseError(40324, f"Unrecognized pipeline stage name: '{name}'")
        stages.append(STAGES[name](options, context))
    return stages


def _match(options: Any, context: Context) -> Stage:
    if not isinstance(options, Mapping):
        raise DatabaseError(15959, "the match filter must be an expression in an object")
    test = compile_filter(options, dict(context.variables))
    return lambda documents: [document for document in documents if test(document)]


def _sort(options: Any, context: Context) -> Stage:
    if not isinstance(options, Mapping) or not options:
        raise DatabaseError(15976, "$sort needs an object with at least one key")
    for path in options:
        field_path(path)  # "$natural" is none: a pipeline knows no order of insertion
    sort_documents([], options)
    return lambda documents: sort_documents(documents, options)


def _number(name: str, options: Any) -> int:
    if isinstance(options, bool) or not isinstance(options, int | float) or options < 0:
        raise DatabaseError(5107201, f"{name} needs a number that is not negative")
    if options != int(options):
        raise DatabaseError(5107201, f"{name} needs a whole number, not {options!r}")
    return int(options)


def _skip(options: Any, context: Context) -> Stage:
    number = _number("$skip", options)
    return lambda documents: documents[number:]


def _limit(options: Any, context: Context) -> Stage:
    number = _number("$limit", options)
    if number == 0:
        raise DatabaseError(15958, "the limit must be positive")
    return lambda documents: documents[:number]


def _sample(options: Any, context: Context) -> Stage:
    if not isinstance(options, Mapping) or set(options) != {"size"}:
        raise DatabaseError(28745, "$sample needs an object with size and nothing else")
    size = _number("$sample", options["size"])
    return lambda documents: random.sample(documents, min(size, len(documents)))


def _count(options: Any, context: Context) -> Stage:
    if not isinstance(options, str) or not options:
        raise DatabaseError(40156, "the count field must be a non-empty string")
    if options.startswith("$"):
        raise DatabaseError(40158, "the count field cannot be a $-prefixed path")
    if "." in options:
        raise DatabaseError(40160, "the count field cannot contain '.'")
    return lambda documents: [{options: len(documents)}] if documents else []


def _unwind(options: Any, context: Context) -> Stage:
    if isinstance(options, str):
        options = {"path": options}
    if not isinstance(options, Mapping) or not isinstance(options.get("path"), str):
        raise DatabaseError(28812, "$unwind needs a path")
    unknown = set(options) - {"path", "includeArrayIndex", "preserveNullAndEmptyArrays"}
    if unknown:
        raise DatabaseError(28811, f"unrecognized option to $unwind stage: {unknown.pop()}")
    if not options["path"].startswith("$"):
        raise DatabaseError(28818, "path option to $unwind stage should be prefixed with a '$'")
    path = field_path(options["path"][1:])
    keep = options.get("preserveNullAndEmptyArrays", False)
    if not isinstance(keep, bool):
        raise DatabaseError(28809, "preserveNullAndEmptyArrays of $unwind must be a boolean")
    index = field_path(options["includeArrayIndex"]) if "includeArrayIndex" in options else None

    def unwound(document: dict[str, Any]) -> Documents:
        value = nested_field(document, path)
        if nullish(value) or value == []:
            if not keep:
                return []
            whole = with_field(document, path, MISSING) if value == [] else document
            return [with_field(whole, index, None) if index else whole]
        if not isinstance(value, list):
            return [with_field(document, index, None) if index else document]
        found = []
        for number, item in enumerate(value):
            single = with_field(document, path, item)
            found.append(with_field(single, index, Int64(number)) if index else single)
        return found

    return lambda documents: [new for document in documents for new in unwound(document)]


def _reshaping(compile_one: Callable[[Any, Mapping[str, Any]], Reshaping]) -> StageBuilder:
    def build(options: Any, context: Context) -> Stage:
        reshape = compile_one(options, context.variables)
        return lambda documents: [reshape(document) for document in documents]

    return build


def _gathering(compile_all: Callable[[Any, Mapping[str, Any]], Stage]) -> StageBuilder:
    return lambda options, context: compile_all(options, context.variables)


STAGES: dict[str, StageBuilder] = {
    **{name: _reshaping(compile_one) for name, compile_one in RESHAPING.items()},
    "$match": _match,
    "$sort": _sort,
    "$skip": _skip,
    "$limit": _limit,
    "$sample": _sample,
    "$count": _count,
    "$unwind": _unwind,
    "$group": _gathering(compile_group),
    "$bucket": _gathering(compile_bucket),
    "$sortByCount": _gathering(compile_sort_by_count),
}
"""Stages by name; `joining` adds those that run pipelines of their own."""


def nested_field(document: Any, path: tuple[str, ...]) -> Any:
    """What a path leads to through documents alone; MISSING beyond an array or a scalar."""
    for part in path:
        document = document.get(part, MISSING) if isinstance(document, dict) else MISSING
    return document


def with_field(document: Any, path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Copy of a document with a nested field set, or taken away where the value is MISSING."""
    result = dict(document) if isinstance(document, dict) else {}
    name, *rest = path
    if rest:
        value = with_field(result.get(name), tuple(rest), value)
    if value is MISSING:
        result.pop(name, None)
    else:
        result[name] = value
    return result

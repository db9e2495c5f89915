"""Stages that run pipelines of their own: ``$lookup``, ``$unionWith`` and ``$facet``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import permutations
from typing import Any

from .errors import DatabaseError, not_implemented
from .expressions import compile_expression, field_path, scope_of
from .expressions.scopes import check_name
from .grouping import Documents, Stage
from .stages import STAGES, Context, compile_pipeline, run_stages, with_field
from .values import MISSING, hash_key, lookup


def _documents(context: Context, name: str) -> Documents:
    return list(context.engine.get(f"{context.database}.{name}").documents.values())


def _holders(context: Context, name: str, path: str, values: Iterable[Any]) -> Documents:
    """Documents that have one of some values at a path, as an equality of a query sees it.

    Where no index knows the path, all documents are looked at once for the whole pipeline.
    """
    collection = context.engine.get(f"{context.database}.{name}")
    if (name, path) not in context.finders:
        context.finders[name, path] = collection.finder(path)
    numbers = set().union(*context.finders[name, path](map(hash_key, values)))
    return [collection.documents[number] for number in sorted(numbers)]


def _lookup(options: Any, context: Context) -> Stage:
    known = {"from", "localField", "foreignField", "let", "pipeline", "as"}
    if not isinstance(options, Mapping):
        raise DatabaseError(9, "the $lookup specification must be an object")
    if set(options) - known:
        raise DatabaseError(9, f"unknown argument to $lookup: {(set(options) - known).pop()}")
    if isinstance(options.get("from"), Mapping) or "from" not in options:
        raise not_implemented("$lookup from another database or from its pipeline alone")
    has_fields = "localField" in options, "foreignField" in options
    if has_fields[0] != has_fields[1] or not (has_fields[0] or "pipeline" in options):
        raise DatabaseError(9, "$lookup needs both localField and foreignField, or a pipeline")
    for name in ("from", "as", *(("localField", "foreignField") if has_fields[0] else ())):
        if not isinstance(options.get(name), str):
            raise DatabaseError(9, f"$lookup argument '{name}' must be a string")
    target = field_path(options["as"])
    local = field_path(options["localField"]) if has_fields[0] else None
    if has_fields[0]:
        field_path(options["foreignField"])
    let = options.get("let", {})
    if not isinstance(let, Mapping):
        raise DatabaseError(9, "$lookup argument 'let' must be an object")
    names = frozenset(context.variables)
    variables = {check_name(name): compile_expression(let[name], names) for name in let}
    stages = options.get("pipeline", [])
    nothing = {**context.variables, **dict.fromkeys(variables, MISSING)}
    compile_pipeline(stages, replace(context, variables=nothing))

    bounds = list(_expression_bounds(stages, set(variables)))

    def candidates(document: dict[str, Any], values: Mapping[str, Any]) -> Documents:
        if local is not None:
            wanted = _local_values(document, local)
            return _holders(context, options["from"], options["foreignField"], wanted)
        for path, name in bounds:
            # of an array on the way the expression makes an array, which no index knows
            if "." not in path or not isinstance(values[name], list):
                return _holders(context, options["from"], path, [values[name]])
        return _documents(context, options["from"])

    def found(document: dict[str, Any]) -> Documents:
        scope = scope_of(document, context.variables)
        values = {name: evaluate(scope) for name, evaluate in variables.items()}
        inner = replace(context, variables={**context.variables, **values})
        return run_stages(compile_pipeline(stages, inner), candidates(document, values))

    return lambda documents: [with_field(d, target, found(d)) for d in documents]


def _local_values(document: dict[str, Any], path: tuple[str, ...]) -> list[Any]:
    """Values one of which the foreign field must have; the elements of an array each count."""
    values: list[Any] = []
    for value in lookup(document, path):
        values += value if isinstance(value, list) else [value]
    if not values:
        raise not_implemented("$lookup of an empty array")
    return values


def _expression_bounds(pipeline: list[Any], names: set[str]) -> Iterator[tuple[str, str]]:
    """Paths, and the variables whose values they have, in what passes a pipeline's first ``$expr``.

    They narrow down what is looked at; the stage itself decides.
    """
    conditions = pipeline[0].get("$match", {}) if pipeline else {}
    expressions = [conditions.get("$expr")]
    for expression in expressions:
        if not isinstance(expression, Mapping):
            continue
        both = expression.get("$and", [])
        expressions += both if isinstance(both, list) else [both]
        sides = expression.get("$eq")
        for field, variable in permutations(sides) if isinstance(sides, list) else ():
            if not (isinstance(field, str) and isinstance(variable, str)):
                continue
            if field[:1] == "$" != field[1:2] and variable[:2] == "$$" and variable[2:] in names:
                yield field[1:], variable[2:]


def _union_with(options: Any, context: Context) -> Stage:
    if isinstance(options, str):
        options = {"coll": options}
    if not isinstance(options, Mapping) or set(options) - {"coll", "pipeline"}:
        raise DatabaseError(9, "$unionWith needs a collection name, or coll and pipeline")
    if not isinstance(options.get("coll"), str):
        raise not_implemented("$unionWith without a collection")
    stages = compile_pipeline(options.get("pipeline", []), context)
    return lambda documents: [
        *documents,
        *run_stages(stages, _documents(context, options["coll"])),
    ]


def _facet(options: Any, context: Context) -> Stage:
    if not isinstance(options, Mapping) or not options:
        raise DatabaseError(40169, "the $facet specification must be a non-empty object")
    branches = {}
    for name, pipeline in options.items():
        if not isinstance(pipeline, list):
            raise DatabaseError(40170, f"arguments to $facet must be arrays, {name} is not")
        if any(isinstance(stage, Mapping) and "$facet" in stage for stage in pipeline):
            raise DatabaseError(40600, "$facet is not allowed to be used within a $facet stage")
        if len(field_path(name)) > 1:
            raise DatabaseError(40169, f"the name of a facet cannot contain '.': {name!r}")
        branches[name] = compile_pipeline(pipeline, context)
    return lambda documents: [
        {name: run_stages(stages, documents) for name, stages in branches.items()}
    ]


STAGES.update({"$lookup": _lookup, "$unionWith": _union_with, "$facet": _facet})

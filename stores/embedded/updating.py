"""Update documents applied to a copy: ``$set``, ``$inc``, ``$push`` and the rest.

`apply_update` never touches the document it is given, so an update that fails half-way leaves
nothing behind. Semantics: MongoDB manual, "Update Operators".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .errors import DatabaseError
from .matching import compile_filter
from .modifiers import MODIFIERS, NEVER_CREATE
from .positions import resolve
from .reshaping import RESHAPING, Tree
from .values import clone, equal, identical, split_path
from .wire import decode, encode


def is_replacement(update: Any) -> bool:
    """True when the update is a whole new document instead of operators.

    Raises
    ------
    DatabaseError
        When operators and plain fields are mixed.
    """
    if isinstance(update, list):
        return False
    if not isinstance(update, Mapping):
        raise DatabaseError(9, "an update must be a document or a pipeline")
    dollars = [key.startswith("$") for key in update]
    if any(dollars) and not all(dollars):
        raise DatabaseError(9, "an update mixes operators with plain fields")
    return not any(dollars)


def apply_update(
    document: dict[str, Any],
    update: dict[str, Any] | list[dict[str, Any]],
    *,
    query: Mapping[str, Any],
    array_filters: list[dict[str, Any]] | None = None,
    inserting: bool = False,
) -> dict[str, Any]:
    """The document after the update; the argument stays as it was.

    Parameters
    ----------
    document : the stored document (or the beginnings of an upserted one)
    update : operators, replacement document or pipeline
    query : the filter that found the document; the positional ``$`` refers to it
    array_filters : conditions of ``$[name]``
    inserting : True for an upsert, which makes ``$setOnInsert`` count

    Raises
    ------
    DatabaseError
        For unknown operators, impossible paths or types, and a change of ``_id`` (66).
    """
    if array_filters and (is_replacement(update) or isinstance(update, list)):
        raise DatabaseError(9, "arrayFilters go with update operators only")
    if is_replacement(update):
        assert isinstance(update, Mapping)
        result = clone(dict(update))
        if "_id" in document:
            result = {"_id": result.get("_id", document["_id"]), **result}
    elif isinstance(update, list):
        result = _apply_pipeline(document, update)
    else:
        result = _apply_operators(clone(document), update, query, array_filters or [], inserting)
    if "_id" in document and not identical(document["_id"], result.get("_id")):
        if "_id" not in result or not equal(document["_id"], result["_id"]):
            raise DatabaseError(
                66, "after applying the update, the (immutable) field '_id' would have changed"
            )
        result["_id"] = document["_id"]
    return result


def _apply_pipeline(document: dict[str, Any], pipeline: list[dict[str, Any]]) -> dict[str, Any]:
    result = document
    for stage in pipeline:
        name = next(iter(stage), "") if isinstance(stage, Mapping) and len(stage) == 1 else ""
        if name not in RESHAPING:
            raise DatabaseError(2, f"{name} is not allowed within an update")
        result = RESHAPING[name](stage[name], None)(result)
    if "_id" in document and "_id" not in result:
        result = {"_id": document["_id"], **result}
    # through BSON, so that memory holds what a restart would read
    return decode(encode(result))


def _apply_operators(
    document: dict[str, Any],
    update: Mapping[str, Any],
    query: Mapping[str, Any],
    array_filters: list[dict[str, Any]],
    inserting: bool,
) -> dict[str, Any]:
    _refuse_conflicts(update)
    filters = _compile_array_filters(array_filters)
    _refuse_unused(filters, update)
    for operator, fields in update.items():
        if operator == "$rename":
            _rename(document, fields)
            continue
        change = MODIFIERS.get("$set" if operator == "$setOnInsert" else operator)
        if change is None:
            raise DatabaseError(9, f"Unknown modifier: {operator}")
        if operator == "$setOnInsert" and not inserting:
            continue
        for path, operand in fields.items():
            creates = operator not in NEVER_CREATE
            for position in resolve(document, split_path(path), query, filters, creates):
                change(position, operand)
    return document


def _refuse_conflicts(update: Mapping[str, Any]) -> None:
    """Two operators must not touch the same field or a field and its parent."""
    taken = Tree()
    for operator, fields in update.items():
        if not isinstance(fields, Mapping):
            raise DatabaseError(9, f"Modifiers operate on fields but {operator} got {fields!r}")
        paths = list(fields)
        if operator == "$rename":
            paths += [target for target in fields.values() if isinstance(target, str)]
        for path in paths:
            parts = split_path(path)
            if not all(parts):
                raise DatabaseError(56, f"the update path {path!r} has an empty field name")
            taken.grow(parts, None, 40)


def _compile_array_filters(
    array_filters: list[dict[str, Any]],
) -> dict[str, Callable[[Any], bool]]:
    filters: dict[str, Callable[[Any], bool]] = {}
    for condition in array_filters:
        names = _filter_names(condition)
        if len(names) != 1:
            raise DatabaseError(9, f"an array filter must use exactly one name, not {condition!r}")
        (name,) = names
        if name in filters:
            raise DatabaseError(9, f"two array filters for the name {name!r}")
        filters[name] = _named_element(name, compile_filter(condition))
    return filters


def _refuse_unused(filters: Mapping[str, Any], update: Mapping[str, Any]) -> None:
    parts = {part for fields in update.values() for path in fields for part in split_path(path)}
    for name in filters:
        if f"$[{name}]" not in parts:
            raise DatabaseError(
                9, f"The array filter for identifier {name!r} was not used in the update"
            )


def _named_element(name: str, test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda element: test({name: element})


def _filter_names(condition: Mapping[str, Any]) -> set[str]:
    names: set[str] = set()
    for key, value in condition.items():
        if key in ("$and", "$or", "$nor"):
            for branch in value:
                names |= _filter_names(branch)
        else:
            names.add(key.split(".")[0])
    return names


def _rename(document: dict[str, Any], fields: Mapping[str, Any]) -> None:
    for source, target in fields.items():
        if not isinstance(target, str):
            raise DatabaseError(2, f"the target of $rename for {source!r} must be a string")
        found = resolve(document, split_path(source), {}, {}, creates=False)
        if not found or not found[0].exists:
            continue
        for end, path in (("source", source), ("destination", target)):
            if _leads_through_array(document, split_path(path)):
                raise DatabaseError(2, f"The {end} field cannot be an array element, {path!r}")
        value = found[0].value
        found[0].delete()
        resolve(document, split_path(target), {}, {}, creates=True)[0].assign(value)


def _leads_through_array(document: dict[str, Any], parts: tuple[str, ...]) -> bool:
    value: Any = document
    for part in parts:
        if isinstance(value, list):
            return True
        value = value.get(part) if isinstance(value, dict) else None
    return False

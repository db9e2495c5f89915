"""Update documents applied to a copy: ``$set``, ``$inc``, ``$push`` and the rest.

`apply_update` never touches the document it is given, so an update that fails half-way leaves
nothing behind. Semantics: MongoDB manual, "Update Operators".
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping
from typing import Any

from bson import Decimal128, Int64, Timestamp

from . import expressions
from .errors import DatabaseError
from .matching import compile_field, compile_filter, element_test
from .positions import Position, resolve
from .values import clone, equal, identical, sort_key, split_path

_INT64 = range(-(2**63), 2**63)
_PIPELINE_STAGES = {"$addFields", "$set", "$project", "$unset", "$replaceRoot", "$replaceWith"}


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
    if is_replacement(update):
        assert isinstance(update, Mapping)
        result = clone(dict(update))
        if "_id" in document:
            result = {"_id": result.get("_id", document["_id"]), **result}
    elif isinstance(update, list):
        result = _apply_pipeline(clone(document), update)
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
    expressions.refuse_scripts(pipeline)
    documents = [document]
    for stage in pipeline:
        if len(stage) != 1 or next(iter(stage)) not in _PIPELINE_STAGES:
            raise DatabaseError(2, f"{next(iter(stage), '')} is not allowed within an update")
        documents = expressions.run_stage(documents, stage, _NO_DATABASE)
    return documents[0]


class _NoDatabase:
    """Update pipelines see the one document only."""

    name = ""

    def get_collection(self, name: str) -> Any:
        raise DatabaseError(2, "an update pipeline cannot read another collection")


_NO_DATABASE = _NoDatabase()


def _apply_operators(
    document: dict[str, Any],
    update: Mapping[str, Any],
    query: Mapping[str, Any],
    array_filters: list[dict[str, Any]],
    inserting: bool,
) -> dict[str, Any]:
    _refuse_conflicts(update)
    filters = _compile_array_filters(array_filters)
    for operator, fields in update.items():
        if operator == "$rename":
            _rename(document, fields)
            continue
        change = _OPERATORS.get("$set" if operator == "$setOnInsert" else operator)
        if change is None:
            raise DatabaseError(9, f"Unknown modifier: {operator}")
        if operator == "$setOnInsert" and not inserting:
            continue
        for path, operand in fields.items():
            creates = operator not in _NEVER_CREATE
            for position in resolve(document, split_path(path), query, filters, creates):
                change(position, operand)
    return document


def _refuse_conflicts(update: Mapping[str, Any]) -> None:
    """Two operators must not touch the same field or a field and its parent."""
    seen: set[tuple[str, ...]] = set()
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
            for other in seen:
                shorter = min(len(other), len(parts))
                if other[:shorter] == parts[:shorter]:
                    raise DatabaseError(
                        40, f"Updating the path {path!r} would create a conflict at {path!r}"
                    )
            seen.add(parts)


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
        test = compile_filter(condition)
        filters[name] = lambda element, name=name, test=test: test({name: element})
    return filters


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
        value = found[0].value
        found[0].delete()
        resolve(document, split_path(target), {}, {}, creates=True)[0].assign(value)


def _number(value: Any, what: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal128):
        raise DatabaseError(14, f"{what} needs a number, not {value!r}")
    return value


def _arithmetic(operator: str, combine: Callable[[Any, Any], Any], missing: Callable[[Any], Any]):  # type: ignore[no-untyped-def]
    def change(position: Position, operand: Any) -> None:
        _number(operand, operator)
        if not position.exists:
            position.assign(missing(operand))
            return
        current = _number(position.value, f"{operator} of {position.name!r}")
        if isinstance(current, Decimal128) or isinstance(operand, Decimal128):
            a, b = (
                x.to_decimal()
                if isinstance(x, Decimal128)
                else type(Decimal128("0").to_decimal())(x)
                for x in (current, operand)
            )
            position.assign(Decimal128(combine(a, b)))
            return
        result = combine(current, operand)
        if isinstance(result, int):
            if result not in _INT64:
                raise DatabaseError(2, f"{operator} of {position.name!r} leaves the 64-bit range")
            if Int64 in (type(current), type(operand)):
                result = Int64(result)  # a 64-bit integer stays one
        position.assign(result)

    return change


def _set(position: Position, operand: Any) -> None:
    position.assign(clone(operand))


def _unset(position: Position, operand: Any) -> None:
    if position.exists:
        position.delete()


def _minimum(position: Position, operand: Any) -> None:
    if not position.exists or sort_key(operand) < sort_key(position.value):
        position.assign(clone(operand))


def _maximum(position: Position, operand: Any) -> None:
    if not position.exists or sort_key(operand) > sort_key(position.value):
        position.assign(clone(operand))


def _current_date(position: Position, operand: Any) -> None:
    if operand == {"$type": "timestamp"}:
        position.assign(Timestamp(int(time.time()), 1))
    elif operand is True or operand == {"$type": "date"}:
        now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        position.assign(now.replace(microsecond=now.microsecond // 1000 * 1000))
    else:
        raise DatabaseError(2, f"$currentDate takes true or {{$type: ...}}, not {operand!r}")


def _bit(position: Position, operand: Any) -> None:
    value = position.value if position.exists else 0
    for name, number in operand.items():
        if name not in ("and", "or", "xor") or not isinstance(number, int):
            raise DatabaseError(2, f"$bit takes and, or, xor with integers, not {operand!r}")
        value = {"and": value & number, "or": value | number, "xor": value ^ number}[name]
    position.assign(value)


def _array(position: Position, operator: str) -> list[Any]:
    """The array at the position, made if nothing is there."""
    if not position.exists:
        position.assign([])
    value = position.value
    if not isinstance(value, list):
        raise DatabaseError(
            2, f"{operator} needs an array at {position.name!r}, found {type(value).__name__}"
        )
    return value


def _each(operand: Any, operator: str) -> list[Any]:
    if isinstance(operand, Mapping) and "$each" in operand:
        if not isinstance(operand["$each"], list):
            raise DatabaseError(2, f"the argument of $each in {operator} must be an array")
        return [clone(item) for item in operand["$each"]]
    return [clone(operand)]


def _push(position: Position, operand: Any) -> None:
    array = _array(position, "$push")
    items = _each(operand, "$push")
    if not (isinstance(operand, Mapping) and "$each" in operand):
        array.extend(items)
        return
    unknown = set(operand) - {"$each", "$position", "$sort", "$slice"}
    if unknown:
        raise DatabaseError(2, f"Unrecognized clause in $push: {unknown.pop()}")
    place = operand.get("$position", len(array))
    array[place:place] = items
    order = operand.get("$sort")
    if isinstance(order, Mapping):
        wrapped = expressions.sort_documents(
            [{"item": item} for item in array], {f"item.{key}": way for key, way in order.items()}
        )
        array[:] = [item["item"] for item in wrapped]
    elif order is not None:
        array.sort(key=sort_key, reverse=order == -1)
    if "$slice" in operand:
        count = int(operand["$slice"])
        array[:] = array[:count] if count >= 0 else array[count:]


def _add_to_set(position: Position, operand: Any) -> None:
    array = _array(position, "$addToSet")
    for item in _each(operand, "$addToSet"):
        if not any(equal(item, present) for present in array):
            array.append(item)


def _pop(position: Position, operand: Any) -> None:
    if isinstance(operand, bool) or operand not in (1, -1):
        raise DatabaseError(9, f"$pop expects 1 or -1, found: {operand!r}")
    if position.exists:
        array = _array(position, "$pop")
        if array:
            array.pop(-1 if operand == 1 else 0)


def _pull(position: Position, operand: Any) -> None:
    if not position.exists:
        return
    array = _array(position, "$pull")
    unwanted = element_test(operand) if isinstance(operand, Mapping) else _whole(operand)
    array[:] = [element for element in array if not unwanted(element)]


def _whole(operand: Any) -> Callable[[Any], bool]:
    test = compile_field((), operand)
    return lambda element: not isinstance(element, list) and test(element)


def _pull_all(position: Position, operand: Any) -> None:
    if not isinstance(operand, list):
        raise DatabaseError(2, "$pullAll needs an array")
    if position.exists:
        array = _array(position, "$pullAll")
        array[:] = [
            element for element in array if not any(equal(element, item) for item in operand)
        ]


_NEVER_CREATE = {"$unset", "$pop", "$pull", "$pullAll"}

_OPERATORS: dict[str, Callable[[Position, Any], None]] = {
    "$set": _set,
    "$unset": _unset,
    "$inc": _arithmetic("$inc", lambda a, b: a + b, lambda operand: operand),
    "$mul": _arithmetic("$mul", lambda a, b: a * b, lambda operand: operand * 0),
    "$min": _minimum,
    "$max": _maximum,
    "$currentDate": _current_date,
    "$bit": _bit,
    "$push": _push,
    "$addToSet": _add_to_set,
    "$pop": _pop,
    "$pull": _pull,
    "$pullAll": _pull_all,
}

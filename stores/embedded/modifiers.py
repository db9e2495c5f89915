"""Update operators on one place of a document: ``$set``, ``$inc``, ``$push`` and the rest.

Each takes the place (a `Position`, in a copy of the document) and its operand.
Semantics: MongoDB manual, "Update Operators".
"""

from __future__ import annotations

import datetime as dt
import decimal
import time
from collections.abc import Callable, Mapping
from typing import Any

from bson import Decimal128, Int64, Timestamp

from .errors import DatabaseError
from .matching import compile_field, element_test
from .positions import Position
from .sorting import sort_documents
from .values import clone, equal, sort_key

Modifier = Callable[[Position, Any], None]

_INT64 = range(-(2**63), 2**63)


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
                x.to_decimal() if isinstance(x, Decimal128) else decimal.Decimal(x)
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
        wrapped = sort_documents(
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


NEVER_CREATE = frozenset({"$unset", "$pop", "$pull", "$pullAll"})
"""Operators that leave a document alone where their path leads nowhere."""

MODIFIERS: dict[str, Modifier] = {
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

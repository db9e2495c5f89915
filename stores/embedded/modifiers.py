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

from bson import Decimal128, Int64, Regex, Timestamp
from bson.decimal128 import create_decimal128_context

from .errors import DatabaseError
from .matching import compile_field, element_test, is_value_condition
from .positions import Position
from .predicates import Predicate
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
            with decimal.localcontext(create_decimal128_context()):
                position.assign(Decimal128(combine(_decimal(current), _decimal(operand))))
            return
        result = combine(current, operand)
        if isinstance(result, int):
            if result not in _INT64:
                raise DatabaseError(2, f"{operator} of {position.name!r} leaves the 64-bit range")
            if Int64 in (type(current), type(operand)):
                result = Int64(result)  # a 64-bit integer stays one
        position.assign(result)

    return change


def _decimal(number: int | float | Decimal128) -> decimal.Decimal:
    """A number as decimal; of a double 15 digits count, as in MongoDB."""
    if isinstance(number, Decimal128):
        return number.to_decimal()
    exact = decimal.Decimal(number)
    if isinstance(number, int) or not number or not exact.is_finite():
        return exact
    return exact.quantize(decimal.Decimal(1).scaleb(exact.adjusted() - 14))


def _zero(operand: Any) -> Any:
    return Decimal128("0") if isinstance(operand, Decimal128) else type(operand)(0)


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
    if not isinstance(operand, Mapping) or not operand:
        raise DatabaseError(2, f"$bit takes and, or, xor with integers, not {operand!r}")
    if not _is_integer(value):
        raise DatabaseError(2, f"Cannot apply $bit to {position.name!r}, which is no integer")
    is_long = isinstance(value, Int64)
    for name, number in operand.items():
        if name not in ("and", "or", "xor") or not _is_integer(number):
            raise DatabaseError(2, f"$bit takes and, or, xor with integers, not {operand!r}")
        value = {"and": value & number, "or": value | number, "xor": value ^ number}[name]
        is_long |= isinstance(number, Int64)
    position.assign(Int64(value) if is_long else value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


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


_PUSH_CLAUSES = {"$each", "$position", "$sort", "$slice"}


def _push(position: Position, operand: Any) -> None:
    array = _array(position, "$push")
    items = _each(operand, "$push")
    clauses = operand if isinstance(operand, Mapping) else {}
    if "$each" not in clauses:
        if _PUSH_CLAUSES & set(clauses):
            raise DatabaseError(2, f"$push with {next(iter(clauses))} needs $each")
        array.extend(items)
        return
    unknown = set(clauses) - _PUSH_CLAUSES
    if unknown:
        raise DatabaseError(2, f"Unrecognized clause in $push: {unknown.pop()}")
    place, count, order = (clauses.get(name) for name in ("$position", "$slice", "$sort"))
    for name, number in (("$position", place), ("$slice", count)):
        if name in clauses and not _is_whole(number):
            raise DatabaseError(2, f"The value for {name} must be an integer value, not {number!r}")
    place = len(array) if place is None else int(place)
    array[place:place] = items
    if isinstance(order, Mapping):
        wrapped = sort_documents(
            [{"item": item} for item in array], {f"item.{key}": way for key, way in order.items()}
        )
        array[:] = [item["item"] for item in wrapped]
    elif "$sort" in clauses:
        if isinstance(order, bool) or order not in (1, -1):
            raise DatabaseError(2, f"The $sort is invalid: use 1, -1 or fields, not {order!r}")
        array.sort(key=sort_key, reverse=order == -1)
    if count is not None:
        array[:] = array[: int(count)] if count >= 0 else array[int(count) :]


def _is_whole(value: Any) -> bool:
    """Whether a number is whole, of whichever type."""
    return _is_integer(value) or (isinstance(value, float) and value.is_integer())


def _add_to_set(position: Position, operand: Any) -> None:
    if isinstance(operand, Mapping) and "$each" in operand and len(operand) > 1:
        raise DatabaseError(2, f"Found unexpected fields after $each in $addToSet: {operand!r}")
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
    unwanted = _pull_test(operand)
    array[:] = [element for element in array if not unwanted(element)]


def _pull_test(operand: Any) -> Predicate:
    if isinstance(operand, Regex) or (isinstance(operand, Mapping) and is_value_condition(operand)):
        return compile_field((), operand)
    if isinstance(operand, Mapping):
        return element_test(operand)
    return lambda element: equal(element, operand)


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
    "$mul": _arithmetic("$mul", lambda a, b: a * b, _zero),
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

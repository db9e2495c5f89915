"""What an expression sees, and what it takes for a path, for missing and for true.

A *scope* holds the document as ``ROOT`` and ``CURRENT``, and the variables of ``let``, ``$let``,
``$map`` and the like.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson import Decimal128

from ..errors import DatabaseError
from ..values import MISSING

Scope = Mapping[str, Any]
"""Variables by name, without the dollars."""

_REFERENCE = {"$ref", "$id", "$db"}
"""Fields of a DBRef, the only ones of a path that may begin with a dollar."""


def nullish(value: Any) -> bool:
    """True for null and for what is missing."""
    return value is None or value is MISSING


def truth(value: Any) -> bool:
    """Truth in an expression: false, null, missing and zero are false, all else is true."""
    if isinstance(value, Decimal128):
        return bool(value.to_decimal() != 0)
    return not (nullish(value) or (isinstance(value, int | float) and value == 0))


def scope_of(document: dict[str, Any], variables: Mapping[str, Any] | None = None) -> Scope:
    """What an expression on a document can see."""
    if not variables:
        return {"ROOT": document, "CURRENT": document}
    return {**variables, "ROOT": document, "CURRENT": document}


def walk(value: Any, parts: tuple[str, ...]) -> Any:
    """What a path of an expression leads to.

    Of an array on the way, the sub-documents' values make a new array; numbers in a path are
    names, never positions.
    """
    for position, part in enumerate(parts):
        if isinstance(value, dict):
            value = value.get(part, MISSING)
        elif isinstance(value, list):
            found = (walk(item, parts[position:]) for item in value if isinstance(item, dict))
            return [item for item in found if item is not MISSING]
        else:
            return MISSING
    return value


def present(value: Any) -> Any:
    """The value, or null in place of what is missing (arrays have no gaps)."""
    return None if value is MISSING else value


def field_path(path: Any) -> tuple[str, ...]:
    """Parts of a path in an expression or stage.

    Raises
    ------
    DatabaseError
        For empty parts (15998, 40353) and parts that begin with a dollar (16410).
    """
    if not isinstance(path, str):
        raise DatabaseError(14, f"a field path must be a string, not {path!r}")
    if path.endswith("."):
        raise DatabaseError(40353, f"FieldPath must not end with a '.': {path!r}")
    parts = tuple(path.split("."))
    if not all(parts):
        raise DatabaseError(15998, f"FieldPath field names may not be empty strings: {path!r}")
    if any(part.startswith("$") and part not in _REFERENCE for part in parts):
        raise DatabaseError(16410, f"FieldPath field names may not start with '$': {path!r}")
    return parts


def is_operator(specification: Any) -> bool:
    """True for ``{"$add": [...]}``, false for values and documents of further expressions.

    Raises
    ------
    DatabaseError
        If an operator stands beside other fields (15983).
    """
    if not isinstance(specification, Mapping):
        return False
    if not any(name.startswith("$") for name in specification):
        return False
    if len(specification) != 1:
        raise DatabaseError(
            15983, "an object representing an expression must have exactly one field"
        )
    return True


def check_name(name: Any) -> str:
    """The name of a variable a client defines.

    Raises
    ------
    DatabaseError
        Unless it begins with a small letter and has letters, digits and underscores (16867).
    """
    if (
        not isinstance(name, str)
        or not (name[:1].islower() or name[:1] > "\x7f")
        or not all(c.isalnum() or c == "_" or c > "\x7f" for c in name)
    ):
        raise DatabaseError(16867, f"{name!r} is not a valid name of a variable")
    return name

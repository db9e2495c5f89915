"""What makes two things the same: the hash of their content.

A simulation, a crystal or a data-set recipe is identified by the SHA-256 of one canonical JSON
text, so the same inputs give the same key in every process, on every machine and after any trip
through YAML, JSON or BSON.  This is the only place in the project where such a hash is made.
"""

from __future__ import annotations

import hashlib
import json
import math
import numbers
from collections.abc import Mapping
from enum import Enum
from typing import Any

SIGNIFICANT_DIGITS = 12
_EXACT_INTEGERS = 2**53


class IdentityError(ValueError):
    """A value has no canonical form; the message gives the path to it and what to do."""


def canonical_json(obj: Any) -> str:
    """Canonical JSON text of a plain value.

    Parameters
    ----------
    obj : nested mappings with string keys, lists or tuples, strings, booleans, ``None``, integers
        and finite floats; NumPy scalars count as the Python number they hold, an ``Enum`` member
        as its value.

    Returns
    -------
    ASCII text without white space, mapping keys in code-point order.

    Raises
    ------
    IdentityError
        For NaN, infinity, arrays, sets, bytes, dates, paths and other objects, and for keys that
        are not strings.  Nothing is converted by guess.

    Notes
    -----
    The rule for numbers.  Integers are exact.  A float that equals an integer of magnitude up to
    2**53 is written as that integer, so 20, 20.0 and ``numpy.float32(20)`` are one value and -0.0
    is 0, as BSON, YAML and JSON do not keep the difference either.  Every other float is rounded to
    12 significant digits (and is an integer if it becomes one), so that sums in another order do
    not make another crystal.  Booleans are not numbers.  Lists and tuples are the same thing.

    Examples
    --------
    >>> canonical_json({"b": (1.0, -0.0), "a": 0.1 + 0.2})
    '{"a":0.3,"b":[1,0]}'
    """
    try:
        plain = _canonical_plain(obj)
    except IdentityError:
        plain = _canonical(obj, "value")  # says where it is if it has no canonical form
    return json.dumps(
        plain,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        allow_nan=False,
    )


def content_hash(obj: Any) -> str:
    """SHA-256 of :func:`canonical_json` of ``obj``, as 64 hexadecimal digits.

    Raises
    ------
    IdentityError
        If ``obj`` has no canonical form.

    Examples
    --------
    >>> content_hash({"a": 1})[:16] == content_hash({"a": 1.0})[:16]
    True
    """
    return hashlib.sha256(canonical_json(obj).encode("ascii")).hexdigest()


def _canonical_plain(value: Any) -> Any:
    """The same as `_canonical` for values of JSON's own types, several times faster.

    Raises
    ------
    IdentityError
        For anything else, and for what has no canonical form.
    """
    kind = type(value)
    if kind is float:
        return _canonical_float(value, "")
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is list or kind is tuple:
        return [_canonical_plain(item) for item in value]
    if kind is dict and all(type(key) is str for key in value):
        return {key: _canonical_plain(item) for key, item in value.items()}
    raise IdentityError(f"{kind.__name__} is not one of JSON's types")


def _canonical(value: Any, path: str) -> Any:
    """Plain JSON value with numbers in canonical form; ``path`` names the value in errors."""
    if isinstance(value, Enum):
        return _canonical(value.value, path)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if type(value).__module__ == "numpy" and hasattr(value, "dtype"):
        if getattr(value, "shape", None) != ():
            raise IdentityError(
                f"{path} is an array of shape {value.shape}: arrays have no place in an identity; "
                "give a list, or the sha256 of the file that holds it"
            )
        return _canonical(value.item(), path)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, float):
        return _canonical_float(value, path)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise IdentityError(
                    f"{path} has the key {key!r} of type {type(key).__name__}: keys must be strings"
                )
        return {str(key): _canonical(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(item, f"{path}[{i}]") for i, item in enumerate(value)]
    raise IdentityError(
        f"{path} is a {type(value).__name__}: only mappings, lists, strings, booleans, None and "
        "finite numbers have an identity; convert it first"
    )


def _canonical_float(value: float, path: str) -> int | float:
    """Integer or 12-digit float standing for ``value``."""
    if not math.isfinite(value):
        raise IdentityError(f"{path} is {value}: a number in an identity must be finite")
    if value.is_integer() and abs(value) <= _EXACT_INTEGERS:
        return int(value)
    rounded = float(f"{value:.{SIGNIFICANT_DIGITS - 1}e}")
    if not math.isfinite(rounded):
        return float(value)
    if rounded.is_integer() and abs(rounded) <= _EXACT_INTEGERS:
        return int(rounded)
    return rounded

"""Strings: ``$concat``, ``$substrCP``, ``$toUpper``, ``$regexMatch`` ...

Case is changed for ASCII letters only, as in MongoDB.
"""

from __future__ import annotations

from typing import Any

from bson import Regex

from ..errors import DatabaseError
from ..predicates import regex_predicate
from ..values import MISSING
from .arithmetic import is_number, whole_number
from .compiling import Evaluator, Names, compile_expression, function, named, special
from .scopes import Scope, nullish
from .texts import number_text, time_text
from .times import Date

_WHITESPACE = "\0 \t\n\v\f\r\u00a0\u1680" + "".join(map(chr, range(0x2000, 0x200B)))


def _text(operator: str, value: Any) -> str:
    """What the old operators take for a string: null is empty, numbers and dates are written."""
    if nullish(value):
        return ""
    if isinstance(value, str):
        return value
    if is_number(value):
        return number_text(operator, value)
    if isinstance(value, Date):
        return time_text(value)
    raise DatabaseError(16007, f"{operator} cannot convert {value!r} to a string")


@function("$concat", 0, None)
def _concat(*values: Any) -> Any:
    for value in values:
        if nullish(value):
            return None
        if not isinstance(value, str):
            raise DatabaseError(16702, f"$concat only supports strings, not {value!r}")
    return "".join(values)


@function("$toLower", 1)
def _to_lower(value: Any) -> str:
    return _text("$toLower", value).encode().lower().decode()


@function("$toUpper", 1)
def _to_upper(value: Any) -> str:
    return _text("$toUpper", value).encode().upper().decode()


@function("$strcasecmp", 2)
def _strcasecmp(a: Any, b: Any) -> int:
    first, second = (_text("$strcasecmp", value).encode().upper() for value in (a, b))
    return int(first > second) - int(first < second)


def _substring_of_bytes(value: Any, start: Any, length: Any) -> str:
    data = _text("$substrBytes", value).encode()
    first = whole_number("$substrBytes", start, 16034)
    count = whole_number("$substrBytes", length, 16035)
    if first < 0:
        raise DatabaseError(50752, f"$substrBytes: the start must not be negative: {first}")
    try:
        return data[first : len(data) if count < 0 else first + count].decode()
    except UnicodeDecodeError as error:
        raise DatabaseError(28656, "$substrBytes: range is in the middle of a character") from error


function("$substrBytes", 3)(_substring_of_bytes)
function("$substr", 3)(_substring_of_bytes)


@function("$substrCP", 3)
def _substring(value: Any, start: Any, length: Any) -> str:
    text = _text("$substrCP", value)
    first = whole_number("$substrCP", start, 34450)
    count = whole_number("$substrCP", length, 34452)
    if first < 0 or count < 0:
        raise DatabaseError(34455, "$substrCP: start and length must not be negative")
    return text[first : first + count]


@function("$strLenCP", 1)
def _length(value: Any) -> int:
    if not isinstance(value, str):
        raise DatabaseError(34471, f"$strLenCP requires a string argument, found: {value!r}")
    return len(value)


@function("$strLenBytes", 1)
def _length_in_bytes(value: Any) -> int:
    if not isinstance(value, str):
        raise DatabaseError(34473, f"$strLenBytes requires a string argument, found: {value!r}")
    return len(value.encode())


@function("$split", 2)
def _split(value: Any, separator: Any) -> Any:
    if nullish(value) or nullish(separator):
        return None
    if not isinstance(value, str):
        raise DatabaseError(40085, f"$split requires a string, found: {value!r}")
    if not isinstance(separator, str):
        raise DatabaseError(40086, f"$split requires a string to split at, found: {separator!r}")
    if not separator:
        raise DatabaseError(40087, "$split requires a non-empty separator")
    return value.split(separator)


def _trimming(operator: str, sides: str) -> None:
    @special(operator)
    def build(operand: Any, names: Names) -> Evaluator:
        parts = named(operator, operand, ("input",), ("chars",))
        text = compile_expression(parts["input"], names)
        chars = compile_expression(parts.get("chars", _WHITESPACE), names)

        def evaluate(scope: Scope) -> Any:
            value, unwanted = text(scope), chars(scope)
            if nullish(value) or nullish(unwanted):
                return None
            if not isinstance(value, str):
                raise DatabaseError(50699, f"{operator} requires a string input, found: {value!r}")
            if not isinstance(unwanted, str):
                raise DatabaseError(50700, f"{operator} requires string chars, not {unwanted!r}")
            if not unwanted:  # Python would take whitespace
                return value
            if "l" in sides:
                value = value.lstrip(unwanted)
            return value.rstrip(unwanted) if "r" in sides else value

        return evaluate


_trimming("$trim", "lr")
_trimming("$ltrim", "l")
_trimming("$rtrim", "r")


@special("$regexMatch")
def _regex_match(operand: Any, names: Names) -> Evaluator:
    parts = named("$regexMatch", operand, ("input", "regex"), ("options",))
    text, regex, options = (
        compile_expression(parts.get(name), names) for name in ("input", "regex", "options")
    )

    def evaluate(scope: Scope) -> bool:
        value, pattern, flags = text(scope), regex(scope), options(scope)
        if not nullish(value) and not isinstance(value, str):
            raise DatabaseError(51104, "$regexMatch needs 'input' to be of type string")
        if nullish(value) or nullish(pattern):
            return False
        if not isinstance(pattern, str | Regex):
            raise DatabaseError(51105, "$regexMatch needs 'regex' to be of type string or regex")
        if isinstance(pattern, Regex) and pattern.flags and not nullish(flags):
            raise DatabaseError(51107, "$regexMatch: options in both 'regex' and 'options'")
        return regex_predicate(pattern, None if flags is MISSING else flags)(value)

    return evaluate

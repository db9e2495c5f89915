"""Checks of a settings object's fields, with errors that name the field and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def check_whole(settings: Any, name: str, low: int, error: type[ValueError]) -> None:
    """Refuse a field that is not a whole number of at least `low`.

    Parameters
    ----------
    settings : object with the field.
    name : of the field.
    low : least value.
    error : raised with the field, its value and what is allowed.
    """
    value = getattr(settings, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise error(f"{name} = {value!r}: must be an integer of at least {low}")


def check_number(
    settings: Any, name: str, least: float, most: float, error: type[ValueError]
) -> None:
    """Refuse a field that is not a finite number in a range; make it a float otherwise.

    Parameters
    ----------
    settings : frozen dataclass with the field.
    name : of the field.
    least, most : allowed range, both included.
    error : raised with the field, its value and what is allowed.
    """
    value = getattr(settings, name)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and math.isfinite(value) and least <= value <= most):
        raise error(f"{name} = {value!r}: must be from {least} to {most}")
    object.__setattr__(settings, name, float(value))


def check_text(settings: Any, name: str, error: type[ValueError]) -> None:
    """Refuse a field that is not text, or is empty.

    Parameters
    ----------
    settings : object with the field.
    name : of the field.
    error : raised with the field, its value and what is allowed.
    """
    value = getattr(settings, name)
    if not isinstance(value, str) or not value:
        raise error(f"{name} = {value!r}: must be text")


def check_choice(
    settings: Any, name: str, allowed: Sequence[object], error: type[ValueError]
) -> None:
    """Refuse a field whose value is not one of some; 1 and 0 become True and False.

    Parameters
    ----------
    settings : frozen dataclass with the field.
    name : of the field.
    allowed : values.
    error : raised with the field, its value and what is allowed.
    """
    value = getattr(settings, name)
    if value not in allowed:
        raise error(f"{name} = {value!r}: must be one of {tuple(allowed)}")
    if True in allowed:
        object.__setattr__(settings, name, bool(value))  # 1 and True are one setting


def from_mapping(cls: type[T], values: Mapping[str, Any], what: str, error: type[ValueError]) -> T:
    """Make a settings object from a mapping, refusing unknown keys.

    Parameters
    ----------
    cls : dataclass to make.
    values : fields by name.
    what : name of such a setting in the message.
    error : raised for an unknown key, with all that are known.
    """
    fields = cls.__dataclass_fields__  # type: ignore[attr-defined]
    unknown = sorted(map(str, set(values) - set(fields)))
    if unknown:
        known = ", ".join(sorted(fields))
        raise error(f"unknown {what} setting {', '.join(unknown)}; known: {known}")
    return cls(**values)

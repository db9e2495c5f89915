"""Update paths resolved to places in a document, including ``$``, ``$[]`` and ``$[name]``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import DatabaseError
from .matching import compile_field, element_test
from .predicates import DBREF_FIELDS, is_operator_document
from .values import MISSING, element_number

MOST_PADDING = 1_500_000
"""Elements an array may be filled up with to reach a place beyond its end, as in MongoDB."""


@dataclass
class Position:
    """One place an update operator changes.

    Attributes
    ----------
    container : the document or array that holds the value
    key : field name or element number
    name : the path as the client wrote it, for messages
    """

    container: dict[str, Any] | list[Any]
    key: Any
    name: str

    @property
    def exists(self) -> bool:
        """Whether a value is there."""
        if isinstance(self.container, list):
            return bool(self.key < len(self.container))
        return self.key in self.container

    @property
    def value(self) -> Any:
        """The value there; MISSING if none."""
        return self.container[self.key] if self.exists else MISSING

    def assign(self, value: Any) -> None:
        """Put a value there; an array is filled up with nulls to reach its place."""
        if isinstance(self.container, list):
            self.container.extend([None] * (self.key + 1 - len(self.container)))
        self.container[self.key] = value

    def delete(self) -> None:
        """Remove the value; inside an array it becomes null, so that the others keep places."""
        if isinstance(self.container, list):
            self.container[self.key] = None
        else:
            del self.container[self.key]


def resolve(
    document: dict[str, Any],
    parts: tuple[str, ...],
    query: Mapping[str, Any],
    filters: Mapping[str, Callable[[Any], bool]],
    creates: bool,
) -> list[Position]:
    """Places an update path leads to.

    Parameters
    ----------
    document : changed in place when missing parents are made
    parts : the path
    query : filter that found the document, for the positional ``$``
    filters : tests of ``$[name]``
    creates : make missing parents; otherwise a path into nothing leads nowhere

    Raises
    ------
    DatabaseError
        When the path crosses a scalar (28), or a positional part has nothing to stand for (2).
    """
    return list(_walk(document, parts, 0, query, filters, creates))


def _walk(
    container: Any,
    parts: tuple[str, ...],
    index: int,
    query: Mapping[str, Any],
    filters: Mapping[str, Callable[[Any], bool]],
    creates: bool,
) -> Iterator[Position]:
    part, name = parts[index], ".".join(parts)
    if not isinstance(container, dict | list):
        if creates:
            raise DatabaseError(
                28, f"Cannot create field {part!r} in element {{{parts[index - 1]}: {container!r}}}"
            )
        return
    if part.startswith("$") and not (index and part in DBREF_FIELDS):
        if not isinstance(container, list):
            raise DatabaseError(2, f"{part} in {name!r} needs an array there")
        keys: list[Any] = _elements(container, parts, index, query, filters)
    elif isinstance(container, list):
        number = element_number(part)
        if number is None:
            if creates:
                raise DatabaseError(28, f"Cannot create field {part!r} in an array ({name!r})")
            return
        if creates and number - len(container) > MOST_PADDING:
            raise DatabaseError(34, f"can't backfill more than {MOST_PADDING} elements ({name!r})")
        keys = [number]
    else:
        keys = [part]
    for key in keys:
        position = Position(container, key, name)
        if index == len(parts) - 1:
            yield position
            continue
        if not position.exists:
            if not creates:
                continue
            position.assign({})
        yield from _walk(position.value, parts, index + 1, query, filters, creates)


def _elements(
    array: list[Any],
    parts: tuple[str, ...],
    index: int,
    query: Mapping[str, Any],
    filters: Mapping[str, Callable[[Any], bool]],
) -> list[int]:
    part = parts[index]
    if part == "$[]":
        return list(range(len(array)))
    if part.startswith("$[") and part.endswith("]"):
        name = part[2:-1]
        if name not in filters:
            raise DatabaseError(2, f"No array filter found for identifier {name!r}")
        return [number for number, element in enumerate(array) if filters[name](element)]
    if part != "$":
        raise DatabaseError(52, f"the dollar ($) prefixed field {part!r} is not a valid name")
    matched = matched_element(array, ".".join(parts[:index]), query)
    if matched is None:
        raise DatabaseError(
            2, "The positional operator did not find the match needed from the query."
        )
    return [matched]


def matched_element(array: list[Any], path: str, query: Mapping[str, Any]) -> int | None:
    """Number of the first element that satisfies the query's condition on the array at `path`."""
    for key, condition in query.items():
        if key == "$and":
            for branch in condition:
                found = matched_element(array, path, branch)
                if found is not None:
                    return found
        if key == path:
            if is_operator_document(condition) and "$elemMatch" in condition:
                test = element_test(condition["$elemMatch"])
            else:
                test = compile_field(None, condition)
        elif key.startswith(path + "."):
            test = element_test({key[len(path) + 1 :]: condition})
        else:
            continue
        for number, element in enumerate(array):
            if test(element):
                return number
    return None

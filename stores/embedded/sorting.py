"""Documents in the order of a sort specification."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .errors import DatabaseError
from .expressions import field_path
from .values import document_sort_key


def sort_documents(
    documents: Iterable[dict[str, Any]], keys: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Documents in the order of a sort specification; equal ones keep their order.

    Raises
    ------
    DatabaseError
        For a direction other than 1 and -1 (2), and names that no path may have (15998, 16410,
        40353).
    """
    ordered = list(documents)
    for path, direction in reversed(list(keys.items())):
        if isinstance(direction, bool) or direction not in (1, -1):
            raise DatabaseError(2, f"sort direction of {path!r} must be 1 or -1, not {direction!r}")
        descending = direction == -1
        if path == "$natural":
            if descending:
                ordered.reverse()
            continue
        parts = field_path(path)
        ordered.sort(
            key=lambda document: document_sort_key(document, parts, descending),
            reverse=descending,
        )
    return ordered

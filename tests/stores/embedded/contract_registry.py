"""Checks of single operations, registered by name; see `test_contract`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pymongo.collection import Collection

C = Collection[dict[str, Any]]
"""An empty collection, in a database of its own."""

OPERATIONS: dict[str, Callable[[C], None]] = {}


def operation(name: str) -> Callable[[Callable[[C], None]], Callable[[C], None]]:
    """Register a check under the name of the operation."""

    def register(check: Callable[[C], None]) -> Callable[[C], None]:
        assert name not in OPERATIONS
        OPERATIONS[name] = check
        return check

    return register

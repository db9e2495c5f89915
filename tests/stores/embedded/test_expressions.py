"""What compiled expressions do once, not for every document."""

from __future__ import annotations

from typing import Any

import pytest

from stores.embedded.expressions import arrays, compile_expression, scope_of


@pytest.mark.parametrize("array", [list(range(100)), {"$literal": list(range(100))}])
def test_in_hashes_a_constant_list_once(array: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Any] = []
    hash_key = arrays.hash_key
    monkeypatch.setattr(arrays, "hash_key", lambda value: hashed.append(value) or hash_key(value))
    among = compile_expression({"$in": ["$n", array]})
    found = [n for n in range(1000) if among(scope_of({"n": n}))]
    assert found == list(range(100))
    assert len(hashed) == 100 + 1000

"""Shortcuts of ``$lookup`` find what looking at every document finds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bson import Int64, Regex
from hypothesis import given, settings
from hypothesis import strategies as st

from stores.embedded.collection import Collection
from stores.embedded.commands import execute
from stores.embedded.engine import Engine

SCALARS = [None, True, 0, 1, 1.0, Int64(1), float("nan"), "a", b"a", Regex("a"), {"$x": 1}]
values = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)
documents = st.lists(st.dictionaries(st.sampled_from("ab"), values, max_size=2), max_size=8)
paths = st.sampled_from(["a", "b", "a.b", "b.a"])


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    opened = Engine(tmp_path_factory.mktemp("joining") / "x.sqlite")
    yield opened
    opened.close()


def filled(engine: Engine, name: str, documents: list[Any], index: str | None = None) -> Collection:
    execute(engine, {"drop": name, "$db": "d"}, "here")
    numbered = [{"_id": i, **document} for i, document in enumerate(documents)]
    execute(engine, {"insert": name, "documents": numbered, "$db": "d"}, "here")
    if index:
        indexes = [{"key": {index: 1}, "name": "i"}]
        execute(engine, {"createIndexes": name, "indexes": indexes, "$db": "d"}, "here")
    return engine.get(f"d.{name}")


def joined(engine: Engine, **options: Any) -> list[list[int]]:
    stages = [{"$lookup": {"from": "foreign", **options, "as": "r"}}, {"$project": {"r._id": 1}}]
    command = {"aggregate": "local", "pipeline": stages, "cursor": {"batchSize": 100}, "$db": "d"}
    reply = execute(engine, command, "here")
    assert reply["ok"], reply
    return [[d["_id"] for d in dict(found)["r"]] for found in reply["cursor"]["firstBatch"]]


@settings(deadline=None)
@given(local=st.lists(values, min_size=1, max_size=5), foreign=documents, path=paths, kept=paths)
def test_by_fields(
    engine: Engine, local: list[Any], foreign: list[Any], path: str, kept: str
) -> None:
    local = [value for value in local if value != []]
    filled(engine, "local", [{"v": value} for value in local])
    among = filled(engine, "foreign", foreign, kept)
    expected = []
    for value in local:
        wanted = value if isinstance(value, list) else [value]
        found = [among.find({path: {"$eq": item}}) for item in wanted]
        expected.append(sorted({d["_id"] for matches in found for _, d in matches}))
    assert joined(engine, localField="v", foreignField=path) == expected


@settings(deadline=None)
@given(local=documents, foreign=documents, path=paths, kept=paths, turned=st.booleans())
def test_by_an_equality(
    engine: Engine, local: list[Any], foreign: list[Any], path: str, kept: str, turned: bool
) -> None:
    filled(engine, "local", local)
    filled(engine, "foreign", foreign, kept)
    sides = [f"${path}", "$$v"][:: -1 if turned else 1]
    equal: dict[str, Any] = {"$eq": sides}
    plain = {"$not": [{"$ne": sides}]}  # which no shortcut knows
    found = [
        joined(engine, let={"v": "$a"}, pipeline=[{"$match": {"$expr": test}}])
        for test in (equal, {"$and": [True, equal]}, plain)
    ]
    assert found[0] == found[1] == found[2]

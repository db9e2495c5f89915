"""The work of a command grows with the documents it is about, not with their square.

Work is counted in executed lines, which is the same on every machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from stores.embedded.commands import execute
from stores.embedded.engine import Engine
from stores.embedded.updating import apply_update


def lines(action: Callable[[], Any]) -> int:
    """Lines of Python that an action executes."""
    number = 0

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal number
        number += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        action()
    finally:
        sys.settrace(before)
    return number


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path / "x.sqlite")
    yield engine
    engine.close()


def aggregated(engine: Engine, pipeline: list[dict[str, Any]]) -> list[dict[str, Any]]:
    command = {"aggregate": "c", "pipeline": pipeline, "cursor": {"batchSize": 10_000}, "$db": "d"}
    reply = execute(engine, command, "here")
    assert reply["ok"], reply
    return [dict(document) for document in reply["cursor"]["firstBatch"]]


EQUALITY = [{"$match": {"$expr": {"$eq": ["$k", "$$k"]}}}]
LOOKUPS: dict[str, dict[str, Any]] = {
    "fields": {"localField": "k", "foreignField": "k"},
    "fields, the foreign one nested": {"localField": "k", "foreignField": "o.k"},
    "an equality": {"let": {"k": "$k"}, "pipeline": EQUALITY},
    "a $lookup within": {
        "let": {"k": "$k"},
        "pipeline": [
            *EQUALITY,
            {"$lookup": {"from": "c", "localField": "k", "foreignField": "k", "as": "w"}},
        ],
    },
}


@pytest.mark.parametrize("name", LOOKUPS)
def test_lookup_without_an_index(name: str, engine: Engine) -> None:
    counts = []
    for number in (50, 400):
        execute(engine, {"drop": "c", "$db": "d"}, "here")
        documents = [{"_id": i, "k": f"k{i}", "o": {"k": f"k{i}"}} for i in range(number)]
        execute(engine, {"insert": "c", "documents": documents, "$db": "d"}, "here")
        stages = [{"$lookup": {"from": "c", **LOOKUPS[name], "as": "r"}}]
        assert [len(d["r"]) for d in aggregated(engine, stages)] == [1] * number
        counts.append(lines(lambda stages=stages: aggregated(engine, stages)))
    assert counts[1] < 10 * counts[0]


def test_update_of_many_paths() -> None:
    counts = []
    for number in (50, 400):
        change = {"$set": {f"x.y{i}.z": i for i in range(number)}}
        assert len(apply_update({}, change, query={})["x"]) == number
        counts.append(lines(lambda change=change: apply_update({}, change, query={})))
    assert counts[1] < 10 * counts[0]

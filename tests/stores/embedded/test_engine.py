"""Memory, journal and indexes agree after anything that can happen to them."""

from __future__ import annotations

import datetime as dt
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from bson import Int64
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stores.embedded import indexes, updating
from stores.embedded.commands import execute
from stores.embedded.engine import Engine
from stores.embedded.journal import Batch, JournalError
from stores.embedded.matching import compile_filter
from stores.embedded.values import hash_key


def run(engine: Engine, command: dict[str, Any]) -> dict[str, Any]:
    return execute(engine, {**command, "$db": "d"}, "here")


def contents(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    return {name: list(c.documents.values()) for name, c in engine.collections.items()}


ids = st.integers(0, 6)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(0, 3),
    st.sampled_from([1.0, float("nan"), "a", "b", Int64(2), b"x", dt.datetime(2026, 1, 1)]),
    st.lists(st.sampled_from([1, "a", None, True]), max_size=3),
    st.fixed_dictionaries({"y": st.sampled_from([1, "a", None])}),
)
inserts = st.builds(
    lambda i, x, u: {"insert": "c", "documents": [{"_id": i, "x": x, "u": u}]}, ids, values, values
)
updates = st.builds(
    lambda i, change, multi: {
        "update": "c",
        "updates": [{"q": {} if multi else {"_id": i}, "u": change, "multi": multi}],
    },
    ids,
    st.one_of(
        st.builds(lambda x: {"$set": {"x": x}}, values),
        st.builds(lambda x: {"$set": {"u": x}, "$inc": {"n": 1}}, values),
        st.just({"$inc": {"x": 1}}),
        st.just({"$push": {"x": "a"}}),
        st.just({"$unset": {"u": ""}}),
    ),
    st.booleans(),
)
deletes = st.builds(
    lambda x, limit: {"delete": "c", "deletes": [{"q": {"x": x}, "limit": limit}]},
    values,
    st.integers(0, 1),
)
others = st.sampled_from(
    [
        {"createIndexes": "c", "indexes": [{"key": {"x": 1}, "name": "x_1"}]},
        {
            "createIndexes": "c",
            "indexes": [{"key": {"u": 1}, "name": "u_1", "unique": True, "sparse": True}],
        },
        {"dropIndexes": "c", "index": "u_1"},
        {"aggregate": "c", "pipeline": [{"$match": {"x": 1}}, {"$out": "o"}], "cursor": {}},
        {"drop": "o"},
    ]
)
commands = st.lists(st.one_of(inserts, updates, deletes, others), max_size=25)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=commands, wanted=values)
def test_a_reopened_journal_holds_what_memory_held(
    tmp_path_factory: pytest.TempPathFactory, history: list[dict[str, Any]], wanted: Any
) -> None:
    path = tmp_path_factory.mktemp("engine") / "journal"
    engine = Engine(path)
    for command in history:
        run(engine, command)
    collection = engine.get("d.c")
    for query in ({"x": wanted}, {"u": wanted}, {"x.y": 1}, {"x": {"$in": [wanted, 1]}}):
        test = compile_filter(query)
        scanned = [n for n, document in collection.documents.items() if test(document)]
        assert [n for n, _ in collection.find(query)] == scanned
    # opened without closing the first one: what a killed server leaves behind
    again = Engine(path)
    assert repr(contents(again)) == repr(contents(engine))
    for name, opened in again.collections.items():
        assert opened.indexes == engine.collections[name].indexes
    engine.close()
    again.close()


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    opened = Engine(tmp_path / "journal")
    yield opened
    opened.close()


@pytest.mark.parametrize("ordered", [True, False])
def test_an_error_nobody_foresaw_fails_its_own_statement_only(
    engine: Engine,
    tmp_path: Path,
    ordered: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    documents = [{"_id": 1, "a": 0}, {"_id": 2, "a": 0}, {"_id": 3, "a": 0, "bad": 1}]
    run(engine, {"insert": "c", "documents": documents})
    change = updating.MODIFIERS["$inc"]

    def increment(position: Any, operand: Any) -> None:
        if "bad" in position.container:
            raise OverflowError("a defect")
        change(position, operand)

    monkeypatch.setitem(updating.MODIFIERS, "$inc", increment)
    statements = [
        {"q": {"_id": 1}, "u": {"$inc": {"a": 1}}},
        {"q": {}, "u": {"$inc": {"a": 10}}, "multi": True},
        {"q": {"_id": 2}, "u": {"$inc": {"a": 100}}},
    ]
    reply = run(engine, {"update": "c", "updates": statements, "ordered": ordered})
    (error,) = reply.pop("writeErrors")
    number = 1 if ordered else 2
    assert reply == {"ok": 1.0, "n": number, "nModified": number}
    assert (error["index"], error["code"]) == (1, 1)
    assert "OverflowError: a defect" in error["errmsg"]
    assert "a defect" in caplog.text
    expected = [1, 0 if ordered else 100, 0]
    again = Engine(tmp_path / "journal")
    for opened in (engine, again):
        assert [d["a"] for d in opened.get("d.c").documents.values()] == expected
    again.close()


@pytest.mark.parametrize(
    "command",
    [
        {"insert": "c", "documents": [{"_id": 9}]},
        {"insert": "new", "documents": [{"_id": 9}]},
        {"update": "c", "updates": [{"q": {}, "u": {"$inc": {"n": 1}}, "multi": True}]},
        {"delete": "c", "deletes": [{"q": {}, "limit": 0}]},
        {"findAndModify": "c", "query": {"_id": 1}, "remove": True},
        {"drop": "c"},
        {"dropDatabase": 1},
        {"createIndexes": "c", "indexes": [{"key": {"z": 1}, "name": "z_1"}]},
        {"dropIndexes": "c", "index": "n_1"},
        {"aggregate": "c", "pipeline": [{"$out": "o"}], "cursor": {}},
        {"aggregate": "c", "pipeline": [{"$out": "c"}], "cursor": {}},
    ],
    ids=lambda command: " ".join(map(str, next(iter(command.items())))),
)
def test_a_failing_disk_leaves_memory_as_it_was(
    engine: Engine, command: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(engine, {"insert": "c", "documents": [{"_id": 1, "n": 1}, {"_id": 2, "n": 2}]})
    run(engine, {"createIndexes": "c", "indexes": [{"key": {"n": 1}, "name": "n_1"}]})
    before = contents(engine)

    def fail(batch: Batch, durable: bool) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(engine.journal, "commit", fail)
        reply = run(engine, command)
    assert reply["ok"] == 0.0 and "disk is full" in reply["errmsg"]
    assert contents(engine) == before
    assert list(engine.collections["d.c"].indexes) == ["n_1"]
    assert run(engine, {"count": "c", "query": {"n": 2}})["n"] == 1
    # and once there is room again, the same command works and is kept
    assert run(engine, command)["ok"] == 1.0
    again = Engine(engine.journal.path)
    assert contents(again) == contents(engine)
    again.close()


INDEXES = [
    {"key": {"a": 1}, "name": "a_1"},
    {"key": {"u": 1}, "name": "u_1", "unique": True, "sparse": True},
]


def levels(depth: int) -> Any:
    """A document of this many levels of nesting."""
    value: Any = 1
    for _ in range(depth):
        value = {"x": value}
    return value


@pytest.mark.parametrize("depth", [440, 700])
def test_a_document_too_deep_leaves_memory_and_journal_alike(engine: Engine, depth: int) -> None:
    run(engine, {"createIndexes": "c", "indexes": INDEXES})
    documents = [{"_id": "good", "a": 1}, {"_id": "deep", "a": levels(depth)}]
    reply = run(engine, {"insert": "c", "documents": documents})
    assert reply["n"] == 1 and reply["writeErrors"][0]["code"] == 15
    again = Engine(engine.journal.path)
    assert contents(again) == contents(engine) == {"d.c": documents[:1]}
    again.close()
    assert run(engine, {"delete": "c", "deletes": [{"q": {}, "limit": 0}]})["n"] == 1


@pytest.mark.parametrize(
    "command",
    [
        {"insert": "c", "documents": [{"_id": 8, "a": 8}, {"_id": 9, "a": "bad"}]},
        {"update": "c", "updates": [{"q": {}, "u": {"$set": {"n": 0}}, "multi": True}]},
        {"update": "c", "updates": [{"q": {}, "u": {"$set": {"a": "bad"}}, "multi": True}]},
        {"delete": "c", "deletes": [{"q": {}, "limit": 0}]},
        {"findAndModify": "c", "query": {"_id": 3}, "remove": True},
    ],
    ids=lambda command: " ".join(map(str, next(iter(command.items())))),
)
@pytest.mark.parametrize("bad", ["bad", 3])
def test_an_index_that_raises_leaves_memory_and_journal_alike(
    engine: Engine, command: dict[str, Any], bad: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(engine, {"createIndexes": "c", "indexes": INDEXES})
    documents = [{"_id": i, "a": i, "u": i, "n": 1} for i in range(5)]
    run(engine, {"insert": "c", "documents": documents})

    def fail(value: Any) -> Any:
        if value == bad:
            raise RecursionError("maximum recursion depth exceeded")
        return hash_key(value)

    with monkeypatch.context() as patch:
        patch.setattr(indexes, "hash_key", fail)
        run(engine, command)
    again = Engine(engine.journal.path)
    assert contents(again) == contents(engine)
    for i in range(10):
        for path in ("_id", "a", "u"):
            counts = [run(e, {"count": "c", "query": {path: i}})["n"] for e in (engine, again)]
            assert counts[0] == counts[1]
    again.close()
    assert run(engine, {"delete": "c", "deletes": [{"q": {}, "limit": 0}]})["ok"] == 1.0
    assert run(engine, {"insert": "c", "documents": documents})["n"] == 5


def test_ttl_index_deletes_what_has_expired(engine: Engine) -> None:
    index = {"key": {"at": 1}, "name": "at_1", "expireAfterSeconds": 60}
    run(engine, {"createIndexes": "c", "indexes": [index]})
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    documents = [
        {"_id": "old", "at": now - dt.timedelta(seconds=61)},
        {"_id": "young", "at": now},
        {"_id": "none"},
        {"_id": "earliest of several counts", "at": [now, now - dt.timedelta(days=1)]},
    ]
    run(engine, {"insert": "c", "documents": documents})
    assert engine.delete_expired() == 2
    assert [d["_id"] for d in engine.get("d.c").documents.values()] == ["young", "none"]


@pytest.mark.parametrize("seconds", [-10, "abc", float("nan"), 1e12, True])
def test_a_wrong_ttl_index_is_refused_and_one_of_before_deletes_nothing(
    engine: Engine, seconds: Any
) -> None:
    index = {"key": {"at": 1}, "name": "at_1", "expireAfterSeconds": seconds}
    assert run(engine, {"createIndexes": "c", "indexes": [index]})["code"] == 67
    long_ago = dt.datetime(1950, 1, 1)
    run(engine, {"insert": "c", "documents": [{"_id": 1, "at": long_ago, "b": long_ago}]})
    right = {"key": {"b": 1}, "name": "b_1", "expireAfterSeconds": 5}
    run(engine, {"createIndexes": "c", "indexes": [right, {**right, "name": "c", "key": {"c": 1}}]})
    engine.get("d.c").indexes["b_1"].expire_after = seconds
    run(engine, {"createIndexes": "c", "indexes": [{"key": {"z": 1}, "name": "z_1"}]})
    again = Engine(engine.journal.path)
    assert again.delete_expired() == 0
    run(again, {"update": "c", "updates": [{"q": {}, "u": {"$set": {"c": long_ago}}}]})
    assert again.delete_expired() == 1
    again.close()


def test_clauses_of_push_without_each_are_refused(engine: Engine) -> None:
    run(engine, {"insert": "c", "documents": [{"_id": 1, "a": []}]})
    change = {"$push": {"a": {"$position": 0}}}
    assert run(engine, {"findAndModify": "c", "query": {}, "update": change})["code"] == 2


def test_a_set_of_a_colon_and_letters_is_no_class_of_characters(engine: Engine) -> None:
    run(engine, {"insert": "c", "documents": [{"_id": i, "a": c} for i, c in enumerate("[:x")]})
    for pattern, expected in ((r"\[", [0]), ("[:x]", [1, 2]), ("[[:]", [0, 1]), (r"\[:x:\]", [])):
        found = run(engine, {"find": "c", "filter": {"a": {"$regex": pattern}}})["cursor"]
        assert [document["_id"] for document in found["firstBatch"]] == expected


def test_idle_cursors_are_closed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    run(engine, {"insert": "c", "documents": [{"_id": i} for i in range(10)]})
    number = run(engine, {"find": "c", "batchSize": 2})["cursor"]["id"]
    kept = run(engine, {"find": "c", "batchSize": 2, "noCursorTimeout": True})["cursor"]["id"]
    monkeypatch.setattr("stores.embedded.cursors.IDLE_SECONDS", -1)
    engine.delete_expired()
    assert run(engine, {"getMore": number, "collection": "c"})["code"] == 43
    assert len(run(engine, {"getMore": kept, "collection": "c"})["cursor"]["nextBatch"]) == 8


def test_a_cursor_of_before_a_restart_leads_nowhere(engine: Engine) -> None:
    run(engine, {"insert": "c", "documents": [{"_id": i} for i in range(10)]})
    old = run(engine, {"find": "c", "batchSize": 2})["cursor"]["id"]
    again = Engine(engine.journal.path)
    new = run(again, {"find": "c", "batchSize": 2})["cursor"]["id"]
    assert run(again, {"getMore": old, "collection": "c"})["code"] == 43
    assert len(run(again, {"getMore": new, "collection": "c"})["cursor"]["nextBatch"]) == 8
    again.close()


def test_a_batch_has_at_most_16_megabytes(engine: Engine) -> None:
    run(engine, {"insert": "c", "documents": [{"_id": i, "x": "a" * 5_000_000} for i in range(7)]})
    cursor = run(engine, {"find": "c"})["cursor"]
    sizes = [len(cursor["firstBatch"])]
    while cursor["id"]:
        cursor = run(engine, {"getMore": cursor["id"], "collection": "c"})["cursor"]
        sizes.append(len(cursor["nextBatch"]))
    assert sizes == [3, 3, 1]


def test_a_journal_of_another_layout_is_refused(tmp_path: Path) -> None:
    Engine(tmp_path / "journal").close()
    with sqlite3.connect(tmp_path / "journal") as journal:
        journal.execute("UPDATE format SET version=99")
    journal.close()
    with pytest.raises(JournalError, match="layout 99"):
        Engine(tmp_path / "journal")

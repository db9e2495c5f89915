"""A statement happens completely or not at all, and commands do not mix."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from pymongo import ReturnDocument, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure

C = Collection[dict[str, Any]]


def test_a_failed_update_leaves_document_and_indexes(collection: C) -> None:
    collection.create_index("a", unique=True)
    collection.insert_many([{"_id": 1, "a": 1, "s": "x"}, {"_id": 2, "a": 2}])
    with pytest.raises(OperationFailure):
        collection.update_one({"_id": 1}, {"$set": {"a": 7, "new.deep": 1}, "$inc": {"s": 1}})
    assert collection.find_one({"_id": 1}) == {"_id": 1, "a": 1, "s": "x"}
    assert collection.count_documents({"a": 1}) == 1 and collection.count_documents({"a": 7}) == 0
    with pytest.raises(DuplicateKeyError):
        collection.update_one({"_id": 1}, {"$set": {"a": 2, "z": 1}})
    assert collection.find_one({"_id": 1}) == {"_id": 1, "a": 1, "s": "x"}
    collection.insert_one({"_id": 3, "a": 7})  # the failed 7 holds no place in the index
    with pytest.raises(DuplicateKeyError):
        collection.insert_one({"_id": 4, "a": 1})  # and 1 has kept its own


def test_update_many_that_fails_half_way_changes_nothing(collection: C) -> None:
    collection.insert_many([{"_id": 1, "n": 1}, {"_id": 2, "n": "text"}, {"_id": 3, "n": 3}])
    with pytest.raises(OperationFailure):
        collection.update_many({}, {"$inc": {"n": 1}})
    assert [d["n"] for d in collection.find()] == [1, "text", 3]


def test_update_many_into_a_duplicate_changes_nothing(collection: C) -> None:
    collection.create_index("u", unique=True)
    collection.insert_many([{"_id": i, "u": i} for i in range(3)])
    with pytest.raises(DuplicateKeyError):
        collection.update_many({}, {"$set": {"u": 9}})
    assert [d["u"] for d in collection.find()] == [0, 1, 2]
    for i in range(3):
        assert collection.find_one({"u": i}) == {"_id": i, "u": i}


def test_failed_find_one_and_update_and_replace(collection: C) -> None:
    collection.create_index("u", unique=True)
    collection.insert_many([{"_id": 1, "u": 1}, {"_id": 2, "u": 2}])
    with pytest.raises(OperationFailure):
        collection.find_one_and_update({"_id": 1}, {"$set": {"u": 2, "x": 1}})
    with pytest.raises(OperationFailure):
        collection.find_one_and_replace({"_id": 1}, {"u": 2})
    with pytest.raises(OperationFailure):
        collection.replace_one({"_id": 1}, {"_id": 5, "u": 3})
    assert list(collection.find()) == [{"_id": 1, "u": 1}, {"_id": 2, "u": 2}]


def test_failed_upsert_inserts_nothing(collection: C) -> None:
    collection.create_index("u", unique=True)
    collection.insert_one({"_id": 1, "u": 1})
    with pytest.raises(DuplicateKeyError):
        collection.update_one({"_id": 9}, {"$set": {"u": 1}}, upsert=True)
    assert collection.count_documents({}) == 1


def test_statements_before_a_failed_one_stay(collection: C) -> None:
    collection.insert_many([{"_id": 1, "n": 1}, {"_id": 2, "n": "x"}, {"_id": 3, "n": 1}])
    requests = [UpdateOne({"_id": i}, {"$inc": {"n": 1}}) for i in (1, 2, 3)]
    with pytest.raises(BulkWriteError) as caught:
        collection.bulk_write(requests)
    assert caught.value.details["nModified"] == 1
    assert [d["n"] for d in collection.find()] == [2, "x", 1]


def test_failed_pipelines_leave_the_target(collection: C) -> None:
    collection.insert_many([{"_id": i, "u": 1} for i in range(3)])
    target = collection.database["target"]
    target.create_index("u", unique=True)
    target.insert_one({"_id": "kept", "u": 5})
    for stage in ({"$out": "target"}, {"$merge": {"into": "target"}}):
        with pytest.raises(OperationFailure):
            collection.aggregate([stage])
        assert list(target.find()) == [{"_id": "kept", "u": 5}]
        assert target.find_one({"u": 5}) is not None
        assert "u_1" in target.index_information()


def test_failed_create_indexes_makes_none(collection: C) -> None:
    collection.insert_many([{"u": 1, "v": 1}, {"u": 1, "v": 2}])
    with pytest.raises(OperationFailure):
        collection.database.command(
            "createIndexes",
            collection.name,
            indexes=[
                {"key": {"v": 1}, "name": "v_1"},
                {"key": {"u": 1}, "name": "u_1", "unique": True},
            ],
        )
    assert sorted(collection.index_information()) == ["_id_"]


def test_a_cursor_sees_the_collection_as_it_was(collection: C) -> None:
    collection.insert_many([{"_id": i, "n": 0} for i in range(300)])
    cursor = collection.find(batch_size=50)
    first = next(cursor)
    collection.update_many({}, {"$set": {"n": 1}})
    collection.delete_many({"_id": {"$gt": 100}})
    assert [first, *cursor] == [{"_id": i, "n": 0} for i in range(300)]


def test_concurrent_find_one_and_update_hands_out_each_once(collection: C) -> None:
    collection.insert_many([{"_id": i, "state": "READY"} for i in range(200)])
    taken: list[int] = []

    def worker() -> None:
        while found := collection.find_one_and_update(
            {"state": "READY"},
            {"$set": {"state": "RUNNING"}},
            sort=[("_id", 1)],
            return_document=ReturnDocument.AFTER,
        ):
            taken.append(found["_id"])

    threads = [threading.Thread(target=worker) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(200))

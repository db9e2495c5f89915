"""Writes: insert, update, delete, findAndModify and bulk_write, as MongoDB 7.0 documents them."""

from __future__ import annotations

import pytest
from bson import ObjectId
from pymongo import (
    DeleteOne,
    InsertOne,
    ReplaceOne,
    ReturnDocument,
    UpdateMany,
    UpdateOne,
    WriteConcern,
)
from pymongo.errors import (
    BulkWriteError,
    DuplicateKeyError,
)

from .contract_registry import C, operation


@operation("insert_one makes an ObjectId")
def _(c: C) -> None:
    identifier = c.insert_one({"a": 1}).inserted_id
    assert isinstance(identifier, ObjectId)
    assert c.find_one({"_id": identifier}) == {"_id": identifier, "a": 1}


@operation("insert_many and find in insertion order")
def _(c: C) -> None:
    assert len(c.insert_many([{"_id": i} for i in (3, 1, 2)]).inserted_ids) == 3
    assert [d["_id"] for d in c.find()] == [3, 1, 2]


@operation("insert_many stops at an error when ordered")
def _(c: C) -> None:
    with pytest.raises(BulkWriteError) as caught:
        c.insert_many([{"_id": 1}, {"_id": 1}, {"_id": 2}])
    assert caught.value.details["nInserted"] == 1
    assert caught.value.details["writeErrors"][0]["index"] == 1
    assert c.count_documents({}) == 1


@operation("duplicate _id")
def _(c: C) -> None:
    c.insert_one({"_id": 1})
    with pytest.raises(DuplicateKeyError):
        c.insert_one({"_id": 1.0})


@operation("update_one counts")
def _(c: C) -> None:
    c.insert_many([{"a": 1}, {"a": 1}])
    result = c.update_one({"a": 1}, {"$set": {"a": 2}})
    assert (result.matched_count, result.modified_count) == (1, 1)
    result = c.update_one({"a": 2}, {"$set": {"a": 2}})
    assert (result.matched_count, result.modified_count) == (1, 0)


@operation("update_many counts")
def _(c: C) -> None:
    c.insert_many([{"n": i} for i in range(5)])
    result = c.update_many({"n": {"$gte": 3}}, {"$inc": {"m": 2}})
    assert (result.matched_count, result.modified_count) == (2, 2)
    assert c.count_documents({"m": 2}) == 2


@operation("upsert with $setOnInsert")
def _(c: C) -> None:
    update = {"$set": {"a": 1}, "$setOnInsert": {"b": 2}}
    assert c.update_one({"_id": 7}, update, upsert=True).upserted_id == 7
    assert c.find_one() == {"_id": 7, "a": 1, "b": 2}
    c.update_one({"_id": 7}, {"$setOnInsert": {"b": 3}}, upsert=True)
    assert c.find_one() == {"_id": 7, "a": 1, "b": 2}


@operation("upsert takes fields of its filter")
def _(c: C) -> None:
    c.update_one({"u.v": "x", "n": {"$gt": 3}, "m": {"$eq": 4}}, {"$set": {"q": 1}}, upsert=True)
    assert c.find_one({}, {"_id": 0}) == {"u": {"v": "x"}, "m": 4, "q": 1}


@operation("replace_one")
def _(c: C) -> None:
    c.insert_one({"_id": 1, "a": 1, "b": 2})
    assert c.replace_one({"a": 1}, {"a": 5}).modified_count == 1
    assert c.find_one() == {"_id": 1, "a": 5}


@operation("replace_one with upsert")
def _(c: C) -> None:
    assert c.replace_one({"_id": 9}, {"t": 1}, upsert=True).upserted_id == 9
    assert c.find_one() == {"_id": 9, "t": 1}


@operation("delete_one deletes the first match")
def _(c: C) -> None:
    c.insert_many([{"_id": i, "a": 1} for i in range(3)])
    assert c.delete_one({"a": 1}).deleted_count == 1
    assert [d["_id"] for d in c.find()] == [1, 2]


@operation("delete_many")
def _(c: C) -> None:
    c.insert_many([{"i": i} for i in range(10)])
    assert c.delete_many({"i": {"$lt": 6}}).deleted_count == 6
    assert c.count_documents({}) == 4


@operation("find_one_and_update returns the document before")
def _(c: C) -> None:
    c.insert_one({"_id": 7, "s": "RUN", "x": 1})
    found = c.find_one_and_update({"_id": 7}, {"$set": {"s": "X"}}, projection={"s": 1})
    assert found == {"_id": 7, "s": "RUN"}


@operation("find_one_and_update returns the document after")
def _(c: C) -> None:
    c.insert_one({"_id": 7})
    found = c.find_one_and_update(
        {"_id": 7}, {"$set": {"s": "X"}}, return_document=ReturnDocument.AFTER
    )
    assert found == {"_id": 7, "s": "X"}


@operation("find_one_and_update by sort order")
def _(c: C) -> None:
    c.insert_many([{"_id": i, "n": i % 3} for i in range(6)])
    found = c.find_one_and_update({}, {"$inc": {"taken": 1}}, sort=[("n", -1), ("_id", -1)])
    assert found == {"_id": 5, "n": 2}


@operation("find_one_and_update as a counter")
def _(c: C) -> None:
    values = [
        c.find_one_and_update(
            {"_id": "id"}, {"$inc": {"v": 1}}, upsert=True, return_document=ReturnDocument.AFTER
        )
        for _ in range(3)
    ]
    assert [value["v"] for value in values] == [1, 2, 3]


@operation("find_one_and_update without a match")
def _(c: C) -> None:
    assert c.find_one_and_update({"_id": "no"}, {"$set": {"a": 1}}) is None
    assert c.count_documents({}) == 0


@operation("find_one_and_replace")
def _(c: C) -> None:
    c.insert_one({"_id": 1, "a": 1})
    after = c.find_one_and_replace({"a": 1}, {"z": 1}, return_document=ReturnDocument.AFTER)
    assert after == {"_id": 1, "z": 1}


@operation("find_one_and_delete")
def _(c: C) -> None:
    c.insert_one({"_id": 1, "a": 1})
    assert c.find_one_and_delete({"a": 1}) == {"_id": 1, "a": 1}
    assert c.find_one() is None


LARGE = {"_id": 1, "b": bytes(range(250)) * 400, "list": [{"b": bytes(range(250)) * 400}]}
"""A document whose binaries the embedded server keeps on the disk."""


@operation("find_one_and_delete of a large binary")
def _(c: C) -> None:
    c.insert_one(LARGE)
    assert c.find_one_and_delete({"_id": 1}) == LARGE
    c.insert_one(LARGE)
    # a plain command is not a retryable write
    reply = c.database.command("findAndModify", c.name, query={"_id": 1}, remove=True)
    assert reply["value"] == LARGE
    assert c.find_one() is None


@operation("find_one_and_update of a large binary returns the document before")
def _(c: C) -> None:
    change = {"$set": {"b": b"new", "list": []}}
    c.insert_one(LARGE)
    assert c.find_one_and_update({"_id": 1}, change) == LARGE
    c.replace_one({"_id": 1}, LARGE)
    reply = c.database.command("findAndModify", c.name, query={"_id": 1}, update=change)
    assert reply["value"] == LARGE
    assert c.find_one() == {"_id": 1, "b": b"new", "list": []}


@operation("bulk_write")
def _(c: C) -> None:
    result = c.bulk_write(
        [
            InsertOne({"_id": 1, "a": 1}),
            InsertOne({"_id": 2, "a": 1}),
            UpdateOne({"_id": 1}, {"$set": {"a": 2}}),
            UpdateMany({}, {"$inc": {"c": 1}}),
            ReplaceOne({"_id": 9}, {"t": 1}, upsert=True),
            DeleteOne({"_id": 2}),
        ]
    )
    counts = (result.inserted_count, result.modified_count, result.deleted_count)
    assert (*counts, result.upserted_count) == (2, 3, 1, 1)
    assert list(c.find().sort("_id", 1)) == [{"_id": 1, "a": 2, "c": 1}, {"_id": 9, "t": 1}]


@operation("unordered bulk_write goes on after an error")
def _(c: C) -> None:
    c.insert_one({"_id": 1})
    with pytest.raises(BulkWriteError) as caught:
        c.bulk_write([InsertOne({"_id": 1}), InsertOne({"_id": 55})], ordered=False)
    assert caught.value.details["writeErrors"][0]["code"] == 11000
    assert c.count_documents({"_id": 55}) == 1


@operation("unacknowledged write")
def _(c: C) -> None:
    c.with_options(write_concern=WriteConcern(w=0)).insert_one({"_id": 1})
    assert c.find_one({"_id": 1}) == {"_id": 1}


@operation("write concern majority with journal")
def _(c: C) -> None:
    c.with_options(write_concern=WriteConcern(w="majority", j=True)).insert_one({"_id": 1})
    assert c.count_documents({}) == 1

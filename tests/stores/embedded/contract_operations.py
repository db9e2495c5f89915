"""Operations that are more than one filter or update: writes, indexes, cursors, commands, types.

Each function gets an empty collection, does one thing and asserts what MongoDB 7.0 documents.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import bson
import gridfs
import pytest
from bson import Binary, Decimal128, Int64, ObjectId
from pymongo import (
    DeleteOne,
    InsertOne,
    ReplaceOne,
    ReturnDocument,
    UpdateMany,
    UpdateOne,
    WriteConcern,
)
from pymongo.collection import Collection
from pymongo.errors import (
    BulkWriteError,
    CollectionInvalid,
    CursorNotFound,
    DocumentTooLarge,
    DuplicateKeyError,
    OperationFailure,
    WriteError,
)

C = Collection[dict[str, Any]]
OPERATIONS: dict[str, Callable[[C], None]] = {}


def operation(name: str) -> Callable[[Callable[[C], None]], Callable[[C], None]]:
    """Register a check under the name of the operation."""

    def register(check: Callable[[C], None]) -> Callable[[C], None]:
        assert name not in OPERATIONS
        OPERATIONS[name] = check
        return check

    return register


# -- writing -----------------------------------------------------------------------------------


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


# -- reading -----------------------------------------------------------------------------------


@operation("count_documents with skip and limit")
def _(c: C) -> None:
    c.insert_many([{"n": i} for i in range(50)])
    assert c.count_documents({"n": {"$lt": 10}}) == 10
    assert c.count_documents({}, skip=45, limit=10) == 5


@operation("estimated_document_count")
def _(c: C) -> None:
    c.insert_many([{} for _ in range(5)])
    assert c.estimated_document_count() == 5


@operation("distinct")
def _(c: C) -> None:
    c.insert_many([{"t": ["a", "b"]}, {"t": "c"}, {"t": ["b"]}, {}])
    assert sorted(c.distinct("t")) == ["a", "b", "c"]


@operation("distinct of a nested field with a filter")
def _(c: C) -> None:
    c.insert_many([{"x": {"y": i % 4}, "n": i} for i in range(10)])
    assert sorted(c.distinct("x.y", {"n": {"$lt": 3}})) == [0, 1, 2]


@operation("find_one by nothing, by filter and by id")
def _(c: C) -> None:
    assert c.find_one() is None
    c.insert_one({"_id": "x", "a": 1})
    assert c.find_one() == c.find_one({"a": 1}) == c.find_one("x")


@operation("cursor with batches (getMore)")
def _(c: C) -> None:
    c.insert_many([{"i": i} for i in range(1200)])
    assert [d["i"] for d in c.find()] == list(range(1200))
    assert [d["i"] for d in c.find(batch_size=7).limit(20)] == list(range(20))


@operation("cursor rewind and clone")
def _(c: C) -> None:
    c.insert_many([{} for _ in range(30)])
    cursor = c.find(batch_size=7)
    assert len(list(cursor)) == 30
    cursor.rewind()
    assert len(list(cursor)) == len(list(cursor.clone())) == 30


@operation("killCursors")
def _(c: C) -> None:
    c.insert_many([{} for _ in range(30)])
    cursor = c.find(batch_size=5)
    next(cursor)
    number = cursor.cursor_id
    cursor.close()
    with pytest.raises(OperationFailure) as caught:
        c.database.command("getMore", Int64(number), collection=c.name)
    assert isinstance(caught.value, CursorNotFound) and caught.value.code == 43


@operation("hint")
def _(c: C) -> None:
    c.insert_many([{"u": i} for i in range(5)])
    c.create_index("u")
    assert len(list(c.find({"u": 2}).hint("u_1"))) == 1
    with pytest.raises(OperationFailure):
        list(c.find({"u": 2}).hint("nothing_1"))


@operation("max_time_ms and comment")
def _(c: C) -> None:
    c.insert_one({"a": 1})
    assert len(list(c.find({"a": 1}).max_time_ms(1000).comment("why"))) == 1


@operation("explain")
def _(c: C) -> None:
    c.insert_one({"a": 1})
    c.create_index("a")
    plan = c.find({"a": 1}).explain()["queryPlanner"]["winningPlan"]
    assert "IXSCAN" in str(plan)
    assert "COLLSCAN" in str(c.find({"b": 1}).explain()["queryPlanner"]["winningPlan"])


@operation("$out")
def _(c: C) -> None:
    c.insert_many([{"_id": i} for i in range(5)])
    c.database["out"].insert_one({"_id": "old"})
    assert list(c.aggregate([{"$match": {"_id": {"$lt": 3}}}, {"$out": "out"}])) == []
    assert sorted(d["_id"] for d in c.database["out"].find()) == [0, 1, 2]


@operation("$merge")
def _(c: C) -> None:
    c.insert_many([{"_id": i, "a": 1} for i in range(3)])
    c.database["out"].insert_one({"_id": 1, "b": 1})
    list(c.aggregate([{"$merge": {"into": "out"}}]))
    assert c.database["out"].find_one({"_id": 1}) == {"_id": 1, "a": 1, "b": 1}
    assert c.database["out"].count_documents({}) == 3


@operation("aggregate with let")
def _(c: C) -> None:
    c.insert_many([{"n": i} for i in range(5)])
    found = c.aggregate([{"$match": {"$expr": {"$gt": ["$n", "$$least"]}}}], let={"least": 2})
    assert len(list(found)) == 2


# -- indexes -----------------------------------------------------------------------------------


@operation("create_index names itself")
def _(c: C) -> None:
    assert c.create_index("uuid", unique=True) == "uuid_1"
    assert c.create_index([("n.x", 1), ("d", -1)]) == "n.x_1_d_-1"
    assert c.create_index("uuid", unique=True) == "uuid_1"


@operation("index_information")
def _(c: C) -> None:
    c.create_index("u", unique=True)
    assert c.index_information()["u_1"]["unique"] is True
    assert sorted(c.index_information()) == ["_id_", "u_1"]


@operation("index options in conflict")
def _(c: C) -> None:
    c.create_index("u")
    with pytest.raises(OperationFailure) as caught:
        c.create_index("u", unique=True)
    assert caught.value.code == 86


@operation("unique index")
def _(c: C) -> None:
    c.create_index("u", unique=True)
    c.insert_one({"u": 1})
    with pytest.raises(DuplicateKeyError) as caught:
        c.insert_one({"u": 1})
    assert caught.value.details["keyPattern"] == {"u": 1}
    c.insert_one({})
    with pytest.raises(DuplicateKeyError):  # a missing field counts as null
        c.insert_one({"u": None})


@operation("unique index on existing duplicates")
def _(c: C) -> None:
    c.insert_many([{"u": 1}, {"u": 1}])
    with pytest.raises(OperationFailure) as caught:
        c.create_index("u", unique=True)
    assert caught.value.code == 11000
    assert sorted(c.index_information()) == ["_id_"]


@operation("unique compound index")
def _(c: C) -> None:
    c.create_index([("a", 1), ("b", 1)], unique=True)
    c.insert_many([{"a": 1, "b": 1}, {"a": 1, "b": 2}])
    with pytest.raises(DuplicateKeyError):
        c.update_one({"b": 2}, {"$set": {"b": 1}})
    assert c.count_documents({"b": 2}) == 1


@operation("unique sparse index")
def _(c: C) -> None:
    c.create_index("u", unique=True, sparse=True)
    c.insert_many([{}, {}, {"u": 1}])
    with pytest.raises(DuplicateKeyError):
        c.insert_one({"u": 1})


@operation("unique partial index")
def _(c: C) -> None:
    c.create_index("u", unique=True, partialFilterExpression={"live": True})
    c.insert_many([{"u": 1, "live": True}, {"u": 1, "live": False}])
    with pytest.raises(DuplicateKeyError):
        c.update_one({"live": False}, {"$set": {"live": True}})


@operation("unique index over array elements")
def _(c: C) -> None:
    c.create_index("t", unique=True)
    c.insert_one({"t": ["a", "b"]})
    with pytest.raises(DuplicateKeyError):
        c.insert_one({"t": ["c", "b"]})


@operation("TTL index")
def _(c: C) -> None:
    c.create_index("at", expireAfterSeconds=3600)
    assert c.index_information()["at_1"]["expireAfterSeconds"] == 3600


@operation("drop_index")
def _(c: C) -> None:
    c.create_index("u", unique=True)
    c.drop_index("u_1")
    c.insert_many([{"u": 1}, {"u": 1}])
    with pytest.raises(OperationFailure) as caught:
        c.drop_index("u_1")
    assert caught.value.code == 27


@operation("drop_indexes")
def _(c: C) -> None:
    c.create_index("a")
    c.create_index("b")
    c.drop_indexes()
    assert sorted(c.index_information()) == ["_id_"]


# -- databases and collections -----------------------------------------------------------------


@operation("list_collection_names")
def _(c: C) -> None:
    c.insert_one({})
    c.database.create_collection("empty")
    assert sorted(c.database.list_collection_names()) == ["c", "empty"]
    assert c.database.list_collection_names(filter={"name": "empty"}) == ["empty"]


@operation("list_database_names")
def _(c: C) -> None:
    c.insert_one({})
    assert c.database.name in c.database.client.list_database_names()


@operation("create an existing collection")
def _(c: C) -> None:
    c.database.command("create", "x", comment="first")
    c.database["x"].insert_one({"_id": 1})
    with pytest.raises(CollectionInvalid):
        c.database.create_collection("x")


@operation("rename")
def _(c: C) -> None:
    c.insert_many([{}, {}])
    c.create_index("u", unique=True, sparse=True)
    c.rename("d")
    assert c.database["d"].count_documents({}) == 2 and c.count_documents({}) == 0
    assert "u_1" in c.database["d"].index_information()


@operation("rename onto another collection")
def _(c: C) -> None:
    c.insert_one({"_id": 1})
    c.database["d"].insert_one({"_id": 2})
    with pytest.raises(OperationFailure) as caught:
        c.rename("d")
    assert caught.value.code == 48
    c.rename("d", dropTarget=True)
    assert [d["_id"] for d in c.database["d"].find()] == [1]


@operation("drop")
def _(c: C) -> None:
    c.insert_one({})
    c.drop()
    c.drop()
    assert c.database.list_collection_names() == []


@operation("databases are separate")
def _(c: C) -> None:
    other = c.database.client[c.database.name + "_b"]
    c.insert_one({"_id": 1})
    other["c"].insert_one({"_id": "only"})
    assert c.count_documents({}) == other["c"].count_documents({}) == 1
    c.database.client.drop_database(other.name)
    assert other["c"].count_documents({}) == 0 and c.count_documents({}) == 1


@operation("dbStats and collStats")
def _(c: C) -> None:
    c.insert_many([{}, {}])
    assert c.database.command("dbstats")["objects"] == 2
    assert c.database.command("collstats", c.name)["count"] == 2


@operation("server_info and hello")
def _(c: C) -> None:
    client = c.database.client
    assert tuple(client.server_info()["versionArray"]) >= (7,)
    greeting = client.admin.command("hello")
    assert greeting["isWritablePrimary"] and greeting["maxWireVersion"] >= 21


@operation("sessions")
def _(c: C) -> None:
    with c.database.client.start_session() as session:
        c.insert_one({"_id": 1}, session=session)
        assert c.find_one({}, session=session) == {"_id": 1}


# -- types -------------------------------------------------------------------------------------


@operation("BSON types come back as they went in")
def _(c: C) -> None:
    document = {
        "_id": 1,
        "oid": ObjectId("64b5f0c8e1f1a2b3c4d5e6f7"),
        "bytes": b"\x00\x01",
        "subtype": Binary(b"x", 128),
        "int": 1,
        "long": Int64(5),
        "float": 1.0,
        "none": None,
        "list": [],
        "document": {},
        "text": "äΩ",
        "bool": True,
        "decimal": Decimal128("1.10"),
        "regex": bson.Regex("^a", "i"),
        "timestamp": bson.Timestamp(5, 6),
    }
    c.insert_one(document)
    found = c.find_one()
    assert found == document
    assert [type(v) for v in found.values()] == [type(v) for v in document.values()]


@operation("large integers")
def _(c: C) -> None:
    c.insert_one({"_id": 1, "x": 2**62})
    c.update_one({}, {"$inc": {"x": 1}})
    assert c.find_one({"x": 2**62 + 1})["x"] == 2**62 + 1


@operation("floats keep every bit")
def _(c: C) -> None:
    values = [0.1 + 0.2, 1 / 3 * 1e-17, 123456789.123456789, -0.0, float("inf")]
    c.insert_one({"x": values})
    assert c.find_one()["x"] == values


@operation("NaN equals NaN")
def _(c: C) -> None:
    c.insert_many([{"_id": 1, "x": float("nan")}, {"_id": 2, "x": 0.0}])
    assert [d["_id"] for d in c.find({"x": float("nan")})] == [1]
    assert [d["_id"] for d in c.find({"x": {"$lt": 1}})] == [2]


@operation("datetimes have milliseconds")
def _(c: C) -> None:
    c.insert_one({"x": dt.datetime(2026, 1, 1, 1, 2, 3, 456789)})
    assert c.find_one()["x"] == dt.datetime(2026, 1, 1, 1, 2, 3, 456000)


@operation("datetimes are stored as UTC")
def _(c: C) -> None:
    zone = dt.timezone(dt.timedelta(hours=2))
    c.insert_one({"x": dt.datetime(2026, 1, 1, 2, tzinfo=zone)})
    assert c.find_one({"x": dt.datetime(2026, 1, 1)}) is not None


@operation("ObjectIds in queries and sorts")
def _(c: C) -> None:
    ids = c.insert_many([{"r": {"id": ObjectId()}} for _ in range(3)]).inserted_ids
    assert [d["_id"] for d in c.find({"_id": {"$in": ids[:2]}}).sort("_id", -1)] == ids[1::-1]
    wanted = c.find_one(ids[2])["r"]["id"]
    assert [d["_id"] for d in c.find({"r.id": wanted})] == [ids[2]]


@operation("keys with spaces, dashes and @")
def _(c: C) -> None:
    c.insert_one({"_id": 6, "@module": "a.b", "a-b": 1, "k 1": 2})
    assert c.find_one({"@module": "a.b", "a-b": 1, "k 1": 2})["_id"] == 6


@operation("a document of 12 MB")
def _(c: C) -> None:
    c.insert_one({"_id": 8, "x": "a" * 12_000_000})
    assert len(c.find_one()["x"]) == 12_000_000


@operation("a document above 16 MB is refused")
def _(c: C) -> None:
    with pytest.raises((DocumentTooLarge, WriteError, OperationFailure)):
        c.insert_one({"x": "a" * 17_000_000})
    assert c.count_documents({}) == 0


@operation("GridFS")
def _(c: C) -> None:
    files = gridfs.GridFS(c.database, "blobs")
    data = bytes(range(256)) * 12_000
    number = files.put(data, filename="a.h5", metadata={"k": 1})
    assert files.get(number).read() == data
    assert c.database["blobs.files"].count_documents({"metadata.k": 1}) == 1
    files.delete(number)
    assert c.database["blobs.chunks"].count_documents({}) == 0

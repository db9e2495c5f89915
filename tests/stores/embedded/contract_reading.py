"""Reads and the types that come back, as MongoDB 7.0 documents them."""

from __future__ import annotations

import datetime as dt

import bson
import gridfs
import pytest
from bson import Binary, Decimal128, Int64, ObjectId
from pymongo.errors import (
    CursorNotFound,
    DocumentTooLarge,
    OperationFailure,
    WriteError,
)

from .contract_registry import C, operation


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


@operation("a document of more than 180 levels is refused")
def _(c: C) -> None:
    c.create_index("x")
    deep: dict[str, object] = {}
    for _ in range(179):
        deep = {"x": deep}
    c.insert_one({"_id": 1, **deep})
    with pytest.raises(WriteError) as caught:
        c.insert_one({"_id": 2, "x": [deep]})
    assert caught.value.code == 15
    assert [d["_id"] for d in c.find({}, {"_id": 1})] == [1]
    assert c.delete_many({}).deleted_count == 1


@operation("GridFS")
def _(c: C) -> None:
    files = gridfs.GridFS(c.database, "blobs")
    data = bytes(range(256)) * 12_000
    number = files.put(data, filename="a.h5", metadata={"k": 1})
    assert files.get(number).read() == data
    assert c.database["blobs.files"].count_documents({"metadata.k": 1}) == 1
    files.delete(number)
    assert c.database["blobs.chunks"].count_documents({}) == 0

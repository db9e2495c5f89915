"""Indexes, collections, databases and the server itself, as MongoDB 7.0 documents them."""

from __future__ import annotations

import pytest
from pymongo.errors import (
    CollectionInvalid,
    DuplicateKeyError,
    OperationFailure,
)

from .contract_registry import C, operation


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


@operation("unique compound index over one array")
def _(c: C) -> None:
    c.create_index([("a.b", 1), ("a.c", 1)], unique=True)
    c.insert_one({"a": [{"b": 1, "c": 1}, {"b": 2, "c": 2}]})
    c.insert_one({"a": [{"b": 1, "c": 2}, {"b": 2}, {}]})
    for duplicate in ({"b": 2, "c": 2}, [{"b": 9}, {"b": 2}], [5], {}):
        with pytest.raises(DuplicateKeyError):
            c.insert_one({"a": duplicate})


@operation("unique compound index over an array and its elements")
def _(c: C) -> None:
    c.create_index([("a", 1), ("a.b", 1), ("n", 1)], unique=True)
    c.insert_one({"a": [{"b": 1}, {"b": 2}], "n": 1})
    c.insert_one({"a": [{"b": 1}], "n": 2})
    with pytest.raises(DuplicateKeyError):
        c.insert_one({"a": {"b": 2}, "n": 1})


@operation("unique compound index over two arrays")
def _(c: C) -> None:
    c.create_index([("a.b", 1), ("d", 1)], unique=True)
    with pytest.raises(OperationFailure) as caught:
        c.insert_one({"a": [{"b": 1}], "d": [1]})
    assert caught.value.code == 171
    with pytest.raises(OperationFailure):
        c.insert_one({"a": [], "d": []})
    c.insert_one({"a": {"b": 1}, "d": [1, 2]})
    with pytest.raises(DuplicateKeyError):
        c.insert_one({"a": [{"b": 3}, {"b": 1}], "d": 2})


@operation("TTL index")
def _(c: C) -> None:
    c.create_index("at", expireAfterSeconds=3600)
    assert c.index_information()["at_1"]["expireAfterSeconds"] == 3600


@operation("TTL index without a usable time")
def _(c: C) -> None:
    for seconds in (-10, "abc", 1e12, 2**31, True):
        with pytest.raises(OperationFailure) as caught:
            c.create_index("at", expireAfterSeconds=seconds)
        assert caught.value.code == 67
    with pytest.raises(OperationFailure) as caught:
        c.create_index("_id", expireAfterSeconds=5)
    assert caught.value.code == 197
    c.create_index("at", expireAfterSeconds=2**31 - 1)


@operation("TTL index over two fields")
def _(c: C) -> None:
    with pytest.raises(OperationFailure) as caught:
        c.create_index([("at", 1), ("b", 1)], expireAfterSeconds=5)
    assert caught.value.code == 67
    assert sorted(c.index_information()) in ([], ["_id_"])


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


@operation("rename to what is no name")
def _(c: C) -> None:
    c.insert_one({"_id": 1})
    for name in ("nodot", f"{c.database.name}.$x", f"{c.database.name}."):
        with pytest.raises(OperationFailure) as caught:
            c.database.client.admin.command("renameCollection", c.full_name, to=name)
        assert caught.value.code == 73
    assert c.count_documents({}) == 1


@operation("updates and deletes make no collection")
def _(c: C) -> None:
    c.delete_many({})
    c.update_one({}, {"$set": {"a": 1}})
    c.find_one_and_update({}, {"$set": {"a": 1}})
    c.find_one_and_delete({})
    assert c.database.list_collection_names() == []
    c.update_one({}, {"$set": {"a": 1}}, upsert=True)
    assert c.database.list_collection_names() == [c.name]


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

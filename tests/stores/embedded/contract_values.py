"""Values of rare types and shapes in filters and projections, as MongoDB 7.0 treats them."""

from __future__ import annotations

from typing import Any

from bson import DBRef, Decimal128, Int64, MaxKey, MinKey

from .contract_registry import C, operation


def matches(c: C, conditions: dict[str, Any]) -> list[Any]:
    """Identifiers of the documents that match, in order."""
    return [document["_id"] for document in c.find(conditions).sort("_id", 1)]


@operation("MinKey and MaxKey compare with every type")
def _(c: C) -> None:
    c.insert_many(
        [
            {"_id": 1, "a": 1},
            {"_id": 2, "a": "s"},
            {"_id": 3},
            {"_id": 4, "a": MinKey()},
            {"_id": 5, "a": MaxKey()},
        ]
    )
    assert matches(c, {"a": {"$gt": MinKey()}}) == [1, 2, 3, 5]
    assert matches(c, {"a": {"$gte": MinKey()}}) == [1, 2, 3, 4, 5]
    assert matches(c, {"a": {"$lt": MaxKey()}}) == [1, 2, 3, 4]
    assert matches(c, {"a": {"$lte": MinKey()}}) == [4]
    assert matches(c, {"a": {"$gt": MaxKey()}}) == []


@operation("$elemMatch looks at elements, not inside them")
def _(c: C) -> None:
    c.insert_many([{"_id": 1, "a": [[1, 6]]}, {"_id": 2, "a": [6]}, {"_id": 3, "a": [[6], 7]}])
    assert matches(c, {"a": {"$elemMatch": {"$gt": 5}}}) == [2, 3]
    assert matches(c, {"a": {"$elemMatch": {"$elemMatch": {"$gt": 5}}}}) == [1, 3]
    assert matches(c, {"a": {"$elemMatch": {"$size": 2}}}) == [1]
    assert matches(c, {"a": {"$elemMatch": {"$in": [6, 7]}}}) == [2, 3]
    assert c.find_one({"_id": 3}, {"a": {"$elemMatch": {"$gt": 5}}}) == {"_id": 3, "a": [7]}
    c.update_one({"_id": 3, "a": {"$gt": 5}}, {"$set": {"a.$": 0}})
    assert c.find_one({"_id": 3}) == {"_id": 3, "a": [[6], 0]}


@operation("$mod of a decimal")
def _(c: C) -> None:
    values = [Decimal128("7"), 7, Decimal128("7.9"), Decimal128("NaN"), Decimal128("Infinity")]
    c.insert_many([{"_id": i, "a": value} for i, value in enumerate(values)])
    assert matches(c, {"a": {"$mod": [5, 2]}}) == [0, 1, 2]


@operation("DBRef")
def _(c: C) -> None:
    references = [DBRef("c", 5), DBRef("c", 6, "other", extra=1)]
    c.insert_many([{"_id": i, "r": r, "list": [r]} for i, r in enumerate(references)])
    for _index in range(2):
        assert matches(c, {"r.$id": 5}) == [0]
        assert matches(c, {"r": references[0]}) == [0]
        assert matches(c, {"r": {"$in": references}}) == [0, 1]
        assert matches(c, {"list.$id": 6, "r.$db": "other", "r.extra": 1}) == [1]
        assert matches(c, {"list": {"$elemMatch": {"$id": 6}}}) == [1]
        c.create_index("r.$id")
    assert c.find_one({"_id": 1}) == {"_id": 1, "r": references[1], "list": references[1:]}
    assert c.find_one({"_id": 0}, {"r.$id": 1}) == {"_id": 0, "r": {"$id": 5}}


@operation("hint of the natural order")
def _(c: C) -> None:
    c.insert_many([{"_id": i} for i in (2, 1, 3)])
    assert [d["_id"] for d in c.find().hint([("$natural", -1)])] == [3, 1, 2]
    assert [d["_id"] for d in c.find().hint([("$natural", 1)])] == [2, 1, 3]
    assert [d["_id"] for d in c.find().hint([("$natural", -1)]).skip(1).limit(1)] == [1]
    c.delete_one({}, hint=[("$natural", -1)])
    assert [d["_id"] for d in c.find()] == [2, 1]


@operation("projection $slice through an array")
def _(c: C) -> None:
    c.insert_one({"_id": 1, "a": [{"b": [1, 2, 3], "c": 1}, {"b": [4, 5]}, {"b": 6}, 7]})
    cut = [{"b": [1], "c": 1}, {"b": [4]}, {"b": 6}, 7]
    assert c.find_one({}, {"a.b": {"$slice": 1}}) == {"_id": 1, "a": cut}
    assert c.find_one({}, {"a.b": {"$slice": 1}, "_id": 0}) == {"a": cut}
    assert c.find_one()["a"][0]["b"] == [1, 2, 3]


@operation("upsert takes one value of $all and of $or with one branch")
def _(c: C) -> None:
    query = {"$or": [{"q": 5}], "$and": [{"s": {"$all": [7]}}], "r": {"$all": [1, 2]}}
    c.update_one(query, {"$set": {"z": 1}}, upsert=True)
    assert c.find_one({}, {"_id": 0}) == {"q": 5, "s": 7, "z": 1}


@operation("upsert takes no operators")
def _(c: C) -> None:
    query = {"q": {"$all": [{"$elemMatch": {"b": 1}}]}, "$or": [{"a": 1}, {"a": 2}]}
    c.update_one(query, {"$set": {"z": 1}}, upsert=True)
    assert c.find_one({}, {"_id": 0}) == {"z": 1}


@operation("$mul of what is missing")
def _(c: C) -> None:
    c.insert_one({"_id": 1})
    c.update_one({}, {"$mul": {"a": Int64(5), "b": -2.5}})
    assert str(c.find_one()) == "{'_id': 1, 'a': 0, 'b': 0.0}"
    assert matches(c, {"a": {"$type": "long"}}) == [1]


@operation("$bit keeps a 64-bit integer")
def _(c: C) -> None:
    c.insert_one({"_id": 1, "a": Int64(5), "b": 5, "c": 5})
    c.update_one({}, {"$bit": {"a": {"or": 2}, "b": {"or": Int64(2)}, "c": {"or": 2}}})
    assert c.find_one() == {"_id": 1, "a": 7, "b": 7, "c": 7}
    assert matches(c, {"a": {"$type": "long"}, "b": {"$type": "long"}, "c": {"$type": "int"}}) == [
        1
    ]

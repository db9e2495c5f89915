"""An index changes how long an answer takes, never the answer: counts, groups and sorted heads."""

from __future__ import annotations

import random
from typing import Any

import pytest
from pymongo.collection import Collection
from pymongo.database import Database

STATES = ("waiting", "running", "completed", "failed")
CONDITIONS: list[dict[str, Any]] = [
    {},
    {"state": "waiting"},
    {"state": {"$in": ["failed", "waiting", "nothing"]}},
    {"state": {"$eq": "completed"}, "group": 225},
    {"state": {"$in": list(STATES)}, "group": {"$in": [221, 225]}},
    {"group": None},
    {"group": {"$in": [None, 229]}},
    {"failure.code": 3},
    {"state": "failed", "group": {"$gt": 221}},
    {"tags": "a"},
    {"tags": ["a", "b"]},
]


def document(choose: random.Random, *, plain: bool) -> dict[str, Any]:
    values: dict[str, Any] = {
        "state": choose.choice(STATES),
        "group": choose.choice([221, 225, 225.0, 229]),
        "seconds": choose.choice([choose.random(), 1, 2, 2.0]),
        "failure": {"code": choose.randrange(4), "name": choose.choice("xy")},
        "tags": choose.choice(["a", "b"]),
    }
    if not plain:
        if choose.random() < 0.1:
            values["group"] = None
        if choose.random() < 0.1:
            del values["group"]
        if choose.random() < 0.2:
            values["failure"] = choose.choice([None, [{"code": 3}], "none"])
        if choose.random() < 0.2:
            values["tags"] = choose.choice([["a", "b"], [], {"a": 1}, [["a", "b"]]])
        if choose.random() < 0.1:
            values["seconds"] = choose.choice([None, "long", [0.1, 9.0], True])
    return values


def fill(
    database: Database[dict[str, Any]], *, plain: bool, n: int
) -> tuple[Collection[dict[str, Any]], Collection[dict[str, Any]]]:
    """The same documents with indexes and without."""
    choose = random.Random(5)
    documents = [{"_id": i, **document(choose, plain=plain)} for i in range(n)]
    for name in ("indexed", "bare"):
        database[name].insert_many(documents)
    indexed = database["indexed"]
    indexed.create_index([("state", 1), ("group", 1)])
    for path in ("failure.code", "failure.name", "tags", "seconds"):
        indexed.create_index(path)
    return indexed, database["bare"]


def change(collections: tuple[Collection[dict[str, Any]], ...], *, plain: bool) -> None:
    """The same changes of every kind to both."""
    for collection in collections:
        choose = random.Random(6)
        for i in range(60):
            values = document(choose, plain=plain)
            if i % 3 == 0:
                collection.replace_one({"_id": i}, values)
            elif i % 3 == 1:
                collection.update_one({"_id": i}, {"$set": values})
            else:
                collection.delete_one({"_id": i})
        collection.update_many({"state": "running"}, {"$set": {"state": "completed"}})
        collection.replace_one({"_id": -1}, document(choose, plain=plain), upsert=True)


def groups(
    collection: Collection[dict[str, Any]], conditions: dict[str, Any], by: Any
) -> list[tuple[str, int, int]]:
    found = collection.aggregate(
        [
            {"$match": conditions},
            {"$group": {"_id": by, "n": {"$sum": 1}, "twice": {"$sum": 2}}},
        ]
    )
    # 225 and 225.0 are one group, and which of them names it is left open
    names = ((repr(entry["_id"]).replace("225.0", "225"), entry) for entry in found)
    return sorted((name, entry["n"], entry["twice"]) for name, entry in names)


@pytest.mark.parametrize("plain", [True, False])
def test_counts_and_groups_are_those_of_a_scan(
    database: Database[dict[str, Any]], plain: bool
) -> None:
    both = fill(database, plain=plain, n=700)
    by_fields = [
        "$state",
        {"state": "$state", "group": "$group"},
        {"code": "$failure.code", "name": "$failure.name"},
        {"tag": "$tags"},
    ]
    for step in range(2):
        for conditions in CONDITIONS:
            fast, scanned = (c.count_documents(conditions) for c in both)
            assert fast == scanned, (step, conditions)
            for skip, limit in ((0, 5), (3, 0), (690, 20)):
                options = {"skip": skip, **({"limit": limit} if limit else {})}
                fast, scanned = (c.count_documents(conditions, **options) for c in both)
                assert fast == scanned, (step, conditions, options)
            for by in by_fields:
                fast_groups, scanned_groups = (groups(c, conditions, by) for c in both)
                assert fast_groups == scanned_groups, (step, conditions, by)
        change(both, plain=plain)


@pytest.mark.parametrize("plain", [True, False])
def test_the_first_of_an_order_are_those_of_a_sort(
    database: Database[dict[str, Any]], plain: bool
) -> None:
    both = fill(database, plain=plain, n=3000)
    orders: list[list[tuple[str, int]]] = [
        [("seconds", -1)],
        [("seconds", 1)],
        [("group", -1), ("seconds", 1)],
        [("seconds", -1), ("group", 1), ("state", -1)],
    ]
    for step in range(2):
        for conditions in CONDITIONS:
            for order in orders:
                for skip, limit in ((0, 1), (2, 7), (0, 40)):
                    fast, scanned = (
                        [d["_id"] for d in c.find(conditions).sort(order).skip(skip).limit(limit)]
                        for c in both
                    )
                    assert fast == scanned, (step, conditions, order, skip, limit)
        change(both, plain=plain)


def test_an_update_takes_the_first_of_an_order(database: Database[dict[str, Any]]) -> None:
    both = fill(database, plain=True, n=3000)
    for _ in range(20):
        fast, scanned = (
            c.find_one_and_update(
                {"state": "waiting"}, {"$set": {"state": "running"}}, sort=[("seconds", -1)]
            )["_id"]
            for c in both
        )
        assert fast == scanned


def test_a_refused_command_leaves_counts_and_order_as_they_were(
    database: Database[dict[str, Any]],
) -> None:
    indexed, _ = fill(database, plain=True, n=1000)
    indexed.create_index("unique", unique=True, sparse=True)
    before = groups(indexed, {}, "$state")
    slowest = [d["_id"] for d in indexed.find().sort("seconds", -1).limit(5)]
    indexed.update_one({"_id": 1}, {"$set": {"unique": 1}})
    with pytest.raises(Exception, match="E11000"):
        indexed.update_many({}, {"$set": {"unique": 1, "state": "none", "seconds": 99}})
    assert groups(indexed, {}, "$state") == before
    assert [d["_id"] for d in indexed.find().sort("seconds", -1).limit(5)] == slowest


def test_many_combinations_are_counted_by_looking(database: Database[dict[str, Any]]) -> None:
    collection = database["many"]
    collection.create_index("number")
    collection.insert_many([{"number": i % 6000} for i in range(6100)])
    for _ in range(2):
        found = collection.aggregate([{"$group": {"_id": "$number", "n": {"$sum": 1}}}])
        counts = {entry["_id"]: entry["n"] for entry in found}
        assert len(counts) == 6000
        assert counts[0] == 2
        assert counts[5000] == 1

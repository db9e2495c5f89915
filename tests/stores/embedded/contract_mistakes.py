"""What MongoDB 7.0 refuses as wrong: an attempt, and the number of the error.

The collection holds one document, ``{"_id": 1, "a": [1]}``, which stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bson import Regex

from .contract_registry import C


def _delete(c: C, **options: Any) -> None:
    c.database.command("delete", c.name, deletes=[{"q": {}, **options}])


def _upsert(c: C, query: dict[str, Any]) -> None:
    c.update_one(query, {"$set": {"z": 1}}, upsert=True)


MISTAKES: dict[str, tuple[Callable[[C], Any], int]] = {
    "$in with an operator": (lambda c: list(c.find({"a": {"$in": [{"$gt": 1}]}})), 2),
    "$nin with an operator": (lambda c: list(c.find({"a": {"$nin": [{"$gt": 1}]}})), 2),
    "$all with an operator": (lambda c: list(c.find({"a": {"$all": [{"$gt": 1}]}})), 2),
    "$all with $elemMatch and a value": (
        lambda c: list(c.find({"a": {"$all": [{"$elemMatch": {"$gt": 1}}, 1]}})),
        2,
    ),
    "$ne with a regular expression": (lambda c: list(c.find({"a": {"$ne": Regex("a")}})), 2),
    "an array filter that is not used": (
        lambda c: c.update_one({}, {"$set": {"q": 1}}, array_filters=[{"e.x": 1}]),
        9,
    ),
    "an _id that is a regular expression": (lambda c: c.insert_one({"_id": Regex("a")}), 2),
    "an _id with a dollar": (lambda c: c.insert_one({"_id": {"$a": 1}}), 52),
    "a delete without a limit": (_delete, 40414),
    "a delete with a limit of 5": (lambda c: _delete(c, limit=5), 9),
    "a projection with $slice of nothing": (
        lambda c: c.find_one({}, {"a": {"$slice": [0, 0]}}),
        28724,
    ),
    "a projection with $slice of a text": (lambda c: c.find_one({}, {"a": {"$slice": "x"}}), 28667),
    "a projection with $slice and another": (
        lambda c: c.find_one({}, {"a": {"$slice": 1, "$elemMatch": {"$gt": 0}}}),
        15983,
    ),
    "a sort by a name with a dollar": (lambda c: list(c.find().sort("$t")), 16410),
    "a projection that ends with a dot": (lambda c: c.find_one({}, {"a.": 1}), 40353),
    "a projection with two dots": (lambda c: c.find_one({}, {"a..b": 1}), 15998),
    "a projection with $elemMatch inside": (
        lambda c: c.find_one({}, {"a.b": {"$elemMatch": {"c": 1}}}),
        31275,
    ),
    "an upsert with two values": (lambda c: _upsert(c, {"$and": [{"q": 1}, {"q": 2}]}), 54),
    "an upsert with a field and its parent": (lambda c: _upsert(c, {"q": {"b": 1}, "q.c": 2}), 54),
}

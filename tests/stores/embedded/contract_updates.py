"""Update operators: document before, update, document after; and updates that must fail.

Expectations follow the MongoDB 7.0 manual, "Update Operators".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bson import DBRef, Decimal128


@dataclass(frozen=True)
class Update:
    """One update of one document; the ``_id`` is added by the test."""

    before: dict[str, Any]
    update: Any
    after: dict[str, Any]
    query: dict[str, Any] = field(default_factory=dict)
    array_filters: list[dict[str, Any]] | None = None


POINTS = [{"k": 5, "v": 1}, {"k": 6, "v": 2}, {"k": 7, "v": 3}]

UPDATES: dict[str, Update] = {
    "$set": Update({"a": 1}, {"$set": {"a": 2}}, {"a": 2}),
    "$set makes parents": Update({}, {"$set": {"new.k.j": 5}}, {"new": {"k": {"j": 5}}}),
    "$set of an array element": Update({"a": [1, 2]}, {"$set": {"a.0": 9}}, {"a": [9, 2]}),
    "$set beyond the array's end": Update({"a": [1]}, {"$set": {"a.2": 9}}, {"a": [1, None, 9]}),
    "$set of a numeric key": Update(
        {"links": {"1": [2]}}, {"$set": {"links.3": [4]}}, {"links": {"1": [2], "3": [4]}}
    ),
    "$set of keys like numbers": Update(
        {"a": {"1": 1}}, {"$set": {"a.²": 2, "a.01": 3}}, {"a": {"1": 1, "²": 2, "01": 3}}
    ),
    "$unset": Update(
        {"a": 1, "b": {"c": 2, "d": 3}}, {"$unset": {"a": "", "b.c": ""}}, {"b": {"d": 3}}
    ),
    "$unset of an array element": Update({"a": [1, 2]}, {"$unset": {"a.0": ""}}, {"a": [None, 2]}),
    "$inc": Update({"a": 1}, {"$inc": {"a": 2, "b": -1}}, {"a": 3, "b": -1}),
    "$inc of all 34 digits": Update(
        {"a": Decimal128("1234567890123456789012345678901234")},
        {"$inc": {"a": 1}},
        {"a": Decimal128("1234567890123456789012345678901235")},
    ),
    "$mul of all 34 digits": Update(
        {"a": Decimal128("1.234567890123456789012345678901234")},
        {"$mul": {"a": 2, "b": Decimal128("3")}},
        {"a": Decimal128("2.469135780246913578024691357802468"), "b": Decimal128("0")},
    ),
    "$inc of a decimal by a double, which has 15 digits": Update(
        {"a": Decimal128("0.1")}, {"$inc": {"a": 0.2}}, {"a": Decimal128("0.300000000000000")}
    ),
    "$mul": Update({"a": 3}, {"$mul": {"a": 2.5, "b": 4}}, {"a": 7.5, "b": 0}),
    "$min": Update({"a": 3, "b": 3}, {"$min": {"a": 2, "b": 5}}, {"a": 2, "b": 3}),
    "$max": Update({"a": 3}, {"$max": {"a": 5, "b": 1}}, {"a": 5, "b": 1}),
    "$max orders types": Update({"a": 3}, {"$max": {"a": "x"}}, {"a": "x"}),
    "$rename": Update(
        {"a": 1, "b": {"c": 2}}, {"$rename": {"a": "z", "b.c": "y"}}, {"b": {}, "z": 1, "y": 2}
    ),
    "$bit": Update({"a": 12}, {"$bit": {"a": {"and": 10}}}, {"a": 8}),
    "$push": Update({"a": [1]}, {"$push": {"a": 2, "b.c": 3}}, {"a": [1, 2], "b": {"c": [3]}}),
    "$push $each": Update({"a": [1]}, {"$push": {"a": {"$each": [2, 3]}}}, {"a": [1, 2, 3]}),
    "$push $position": Update(
        {"a": [1]}, {"$push": {"a": {"$each": [2, 3], "$position": 0}}}, {"a": [2, 3, 1]}
    ),
    "$push $sort $slice": Update(
        {"a": [{"k": 3}]},
        {"$push": {"a": {"$each": [{"k": 1}, {"k": 2}], "$sort": {"k": 1}, "$slice": -2}}},
        {"a": [{"k": 2}, {"k": 3}]},
    ),
    "$addToSet": Update({"a": [1, 2]}, {"$addToSet": {"a": {"$each": [2, 3]}}}, {"a": [1, 2, 3]}),
    "$pop first": Update({"a": [1, 2, 3]}, {"$pop": {"a": -1}}, {"a": [2, 3]}),
    "$pop last": Update({"a": [1, 2, 3]}, {"$pop": {"a": 1}}, {"a": [1, 2]}),
    "$pull": Update({"a": [1, 2, 1]}, {"$pull": {"a": 1}}, {"a": [2]}),
    "$pull by condition": Update({"a": [1, 5, 9]}, {"$pull": {"a": {"$gte": 5}}}, {"a": [1]}),
    "$pull by fields": Update(
        {"p": POINTS}, {"$pull": {"p": {"k": 6, "v": 2}}}, {"p": [POINTS[0], POINTS[2]]}
    ),
    "$pull of an array": Update(
        {"a": [[1, 2], 3, [1, 2], [2, 1]]}, {"$pull": {"a": [1, 2]}}, {"a": [3, [2, 1]]}
    ),
    "$pull by condition looks into arrays": Update(
        {"a": [[1, 6], 3, "x"]}, {"$pull": {"a": {"$gt": 5}}}, {"a": [3, "x"]}
    ),
    "$pull of a DBRef": Update(
        {"a": [DBRef("c", 1), DBRef("c", 2)]}, {"$pull": {"a": DBRef("c", 1)}},
        {"a": [DBRef("c", 2)]},
    ),
    "$set inside a DBRef": Update(
        {"a": DBRef("c", 1)}, {"$set": {"a.$id": 2}}, {"a": DBRef("c", 2)}
    ),
    "$pullAll": Update({"a": [1, 2, 3]}, {"$pullAll": {"a": [1, 3]}}, {"a": [2]}),
    "positional $": Update(
        {"p": POINTS},
        {"$set": {"p.$.v": 77}},
        {"p": [POINTS[0], {"k": 6, "v": 77}, POINTS[2]]},
        query={"p.k": 6},
    ),
    "positional $ of $elemMatch": Update(
        {"p": POINTS},
        {"$inc": {"p.$.v": 10}},
        {"p": [*POINTS[:2], {"k": 7, "v": 13}]},
        query={"p": {"$elemMatch": {"k": {"$gt": 5}, "v": 3}}},
    ),
    "positional $[]": Update({"a": [1, 2]}, {"$inc": {"a.$[]": 1}}, {"a": [2, 3]}),
    "arrayFilters": Update(
        {"p": POINTS},
        {"$set": {"p.$[e].v": 0}},
        {"p": [POINTS[0], {"k": 6, "v": 0}, {"k": 7, "v": 0}]},
        array_filters=[{"e.k": {"$gt": 5}}],
    ),
    "update by a pipeline": Update(
        {"n": 6}, [{"$set": {"sum": {"$add": ["$n", 10]}}}, {"$unset": "n"}], {"sum": 16}
    ),
}  # fmt: skip

# name -> document, update, query, MongoDB's error code
FAILING_UPDATES: dict[str, tuple[dict[str, Any], Any, dict[str, Any], int]] = {
    "a path through a number": ({"a": 1, "b": 2}, {"$set": {"b": 3, "a.x": 1}}, {}, 28),
    "$inc of a string": ({"a": 1, "s": "x"}, {"$inc": {"a": 1, "s": 1}}, {}, 14),
    "$push to a number": ({"a": 1, "n": 1}, {"$inc": {"n": 1}, "$push": {"a": 1}}, {}, 2),
    "two operators on one field": ({"a": 1}, {"$set": {"a": 2}, "$inc": {"a": 1}}, {}, 40),
    "an operator on a parent": ({"a": {"b": 1}}, {"$set": {"a.b": 2}, "$unset": {"a": ""}}, {}, 40),
    "a change of _id": ({"a": 1}, {"$set": {"a": 2, "_id": 5}}, {}, 66),
    "an unknown operator": ({"a": 1}, {"$set": {"a": 2}, "$explode": {"b": 1}}, {}, 9),
    "$ without a match": ({"a": [1], "n": 1}, {"$set": {"n": 2, "a.$": 1}}, {"n": 1}, 2),
    "an element far beyond the end": ({"a": [1]}, {"$set": {"n": 2, "a.2000000": 1}}, {}, 34),
    "a number with a leading zero": ({"a": [1, 2]}, {"$set": {"a.01": 1}}, {}, 28),
    "a digit that is no number": ({"a": [1, 2]}, {"$set": {"a.²": 1}}, {}, 28),
    "$push with $sort that is no order": (
        {"a": [1]}, {"$push": {"a": {"$each": [0], "$sort": 5}}}, {}, 2,
    ),
    "$push with $slice that is no number": (
        {"a": [1]}, {"$push": {"a": {"$each": [0], "$slice": "1"}}}, {}, 2,
    ),
    "$addToSet with other clauses": (
        {"a": [1]}, {"$addToSet": {"a": {"$each": [9], "$slice": 1}}}, {}, 2,
    ),
    "$rename of an array element": ({"a": [1]}, {"$rename": {"a.0": "z"}}, {}, 2),
    "$rename to an array element": ({"a": [1], "z": 1}, {"$rename": {"z": "a.0"}}, {}, 2),
    "$bit of a double": ({"a": 1.5}, {"$bit": {"a": {"and": 1}}}, {}, 2),
    "a document above 16 MB": (
        {"a": 1, "y": "b" * 9_000_000},
        {"$set": {"a": 2, "x": "a" * 9_000_000}},
        {},
        10334,
    ),
}  # fmt: skip

"""Filters, projections and sorts over fifty documents, with the ids MongoDB returns.

Expectations follow the MongoDB 7.0 manual, "Query and Projection Operators".
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

DAY = dt.datetime(2026, 1, 1)


def documents() -> list[dict[str, Any]]:
    """The fifty documents every read is checked on."""
    made = []
    for i in range(50):
        document: dict[str, Any] = {
            "_id": i,
            "n": i,
            "uuid": f"u{i}",
            "tags": ["a", "b"] if i % 2 else ["c"],
            "s": f"Ni{i}Si",
            "f": i / 3,
            "nested": {"x": {"y": i, "z": [{"k": i, "v": 1}, {"k": i + 1, "v": 2}]}},
            "d": DAY + dt.timedelta(days=i),
            "b": i % 2 == 0,
        }
        if i % 5 == 0:
            document["opt"] = None
        elif i % 5 == 1:
            document["opt"] = i
        made.append(document)
    return made


EVEN, ODD = list(range(0, 50, 2)), list(range(1, 50, 2))
FIVES = list(range(0, 50, 5))

# operation -> filter, ids of the matches in ascending order
FILTERS: dict[str, tuple[dict[str, Any], list[int]]] = {
    "equality": ({"uuid": "u7"}, [7]),
    "equality on a nested path": ({"nested.x.y": 7}, [7]),
    "equality of 3 and 3.0": ({"n": 3.0}, [3]),
    "true is not 1": ({"b": 1}, []),
    "equality of a datetime": ({"d": dt.datetime(2026, 1, 4)}, [3]),
    "$eq": ({"n": {"$eq": 8}}, [8]),
    "$in": ({"nested.x.y": {"$in": [1, 2, 99]}}, [1, 2]),
    "$in with a regular expression": (
        {"s": {"$in": [re.compile("^Ni4[01]"), "Ni7Si"]}},
        [7, 40, 41],
    ),
    "$in with null": ({"opt": {"$in": [None, 1]}}, [i for i in range(50) if i % 5 != 1 or i == 1]),
    "$nin": ({"n": {"$nin": list(range(48))}}, [48, 49]),
    "$gt and $lte": ({"nested.x.y": {"$gt": 46, "$lte": 48}}, [47, 48]),
    "$gte and $lt": ({"f": {"$gte": 1, "$lt": 2}}, [3, 4, 5]),
    "$gt on datetimes": ({"d": {"$gt": dt.datetime(2026, 2, 15)}}, [46, 47, 48, 49]),
    "$gt on strings": ({"uuid": {"$gt": "u8"}}, [9]),
    "$gt sees its own type only": ({"s": {"$gt": 5}}, []),
    "$regex": ({"s": {"$regex": "^Ni4[0-2]"}}, [40, 41, 42]),
    "$regex with $options": ({"s": {"$regex": "^ni49si$", "$options": "i"}}, [49]),
    "compiled regular expression": ({"s": re.compile("^Ni4?8Si")}, [8, 48]),
    "$exists true": ({"opt": {"$exists": True}}, sorted([*FIVES, *range(1, 50, 5)])),
    "$exists false": ({"opt": {"$exists": False}}, [i for i in range(50) if i % 5 > 1]),
    "null matches missing": ({"opt": None}, [i for i in range(50) if i % 5 != 1]),
    "$ne": ({"b": {"$ne": True}}, ODD),
    "$ne null": ({"opt": {"$ne": None}}, list(range(1, 50, 5))),
    "$ne on an array": ({"tags": {"$ne": "a"}}, EVEN),
    "$and": ({"$and": [{"n": {"$gt": 3}}, {"n": {"$lt": 6}}]}, [4, 5]),
    "$or": ({"$or": [{"n": 1}, {"$and": [{"n": 2}, {"b": True}]}]}, [1, 2]),
    "$nor": ({"$nor": [{"n": {"$gt": 2}}, {"b": False}]}, [0, 2]),
    "$not": ({"n": {"$not": {"$gte": 3}}}, [0, 1, 2]),
    "$not with a regular expression": ({"s": {"$not": re.compile("^Ni[1-4]")}}, [0, 5, 6, 7, 8, 9]),
    "array contains": ({"tags": "a"}, ODD),
    "exact array": ({"tags": ["a", "b"]}, ODD),
    "$all": ({"tags": {"$all": ["b", "a"]}}, ODD),
    "$size": ({"tags": {"$size": 1}}, EVEN),
    "$elemMatch": ({"nested.x.z": {"$elemMatch": {"k": 5, "v": 2}}}, [4]),
    "$elemMatch on scalars": ({"tags": {"$elemMatch": {"$gt": "b", "$lt": "d"}}}, EVEN),
    "path through an array": ({"nested.x.z.k": 5}, [4, 5]),
    "path with an element number": ({"nested.x.z.0.k": 5}, [5]),
    "exact sub-document": ({"nested.x.z.0": {"k": 5, "v": 1}}, [5]),
    "key order of a sub-document counts": ({"nested.x.z.0": {"v": 1, "k": 5}}, []),
    "$type by name": ({"opt": {"$type": "null"}}, FIVES),
    "$type by number": ({"opt": {"$type": 16}}, list(range(1, 50, 5))),
    "$type with several": ({"opt": {"$type": ["string", "null"]}}, FIVES),
    "$mod": ({"n": {"$mod": [25, 3]}}, [3, 28]),
    "$expr": ({"$expr": {"$gt": ["$n", {"$add": ["$f", 32]}]}}, [49]),
    "$comment": ({"n": 3, "$comment": "why"}, [3]),
}  # fmt: skip

# operation -> _id, projection, expected document
PROJECTIONS: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {
    "include a nested path": (1, {"nested.x.y": 1, "_id": 0}, {"nested": {"x": {"y": 1}}}),
    "include through an array": (
        1,
        {"nested.x.z.k": 1, "_id": 0},
        {"nested": {"x": {"z": [{"k": 1}, {"k": 2}]}}},
    ),
    "include keeps _id": (2, {"n": 1}, {"_id": 2, "n": 2}),
    "exclude": (
        2,
        {"nested": 0, "tags": 0, "d": 0, "s": 0, "f": 0},
        {"_id": 2, "n": 2, "uuid": "u2", "b": True},
    ),
    "exclude a nested path": (
        1,
        {name: 0 for name in ("nested.x.z", "n", "uuid", "tags", "s", "f", "d", "b", "opt")},
        {"_id": 1, "nested": {"x": {"y": 1}}},
    ),
    "projection $slice": (1, {"n": 1, "tags": {"$slice": -1}}, {"_id": 1, "n": 1, "tags": ["b"]}),
    "projection of a computed $slice": (
        1,
        {"tags": {"$slice": ["$tags", 1, 1]}},
        {"_id": 1, "tags": ["b"]},
    ),
    "projection $elemMatch": (
        1,
        {"tags": {"$elemMatch": {"$eq": "b"}}},
        {"_id": 1, "tags": ["b"]},
    ),
    "projection with an expression": (
        4,
        {"_id": 0, "double": {"$multiply": ["$n", 2]}},
        {"double": 8},
    ),
}

# operation -> sort keys, skip, limit, ids
SORTS: dict[str, tuple[list[tuple[str, int]], int, int, list[int]]] = {
    "sort by two keys": ([("b", -1), ("n", -1)], 0, 3, [48, 46, 44]),
    "sort by a nested key with skip": ([("nested.x.y", -1)], 2, 2, [47, 46]),
    "sort by datetime": ([("d", 1)], 0, 2, [0, 1]),
    "missing sorts as null, before numbers": ([("opt", 1), ("_id", 1)], 38, 4, [48, 49, 1, 6]),
    "an array sorts by its smallest element": ([("tags", 1), ("_id", -1)], 0, 2, [49, 47]),
    "an array sorts by its largest element": ([("tags", -1), ("_id", 1)], 0, 2, [0, 2]),
}

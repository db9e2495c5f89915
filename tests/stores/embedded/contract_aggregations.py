"""Aggregation pipelines over the fifty documents of `contract_queries`, with their results.

Expectations follow the MongoDB 7.0 manual, "Aggregation Stages" and "Aggregation Operators".
"""

from __future__ import annotations

import datetime as dt
from typing import Any

FOUR = {"$match": {"_id": 4}}


def computed(expression: Any, expected: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A pipeline that computes one expression on document 4."""
    return [FOUR, {"$project": {"_id": 0, "x": expression}}], [{"x": expected}]


PIPELINES: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "$match $group $sort": (
        [
            {"$match": {"n": {"$lt": 10}}},
            {"$group": {"_id": "$b", "t": {"$sum": "$n"}, "m": {"$max": "$n"}, "c": {"$sum": 1}}},
            {"$sort": {"_id": 1}},
        ],
        [{"_id": False, "t": 25, "m": 9, "c": 5}, {"_id": True, "t": 20, "m": 8, "c": 5}],
    ),
    "$group of everything": (
        [{"$group": {"_id": None, "a": {"$avg": "$n"}, "least": {"$min": "$n"}}}],
        [{"_id": None, "a": 24.5, "least": 0}],
    ),
    "$group $push $first $last": (
        [
            {"$match": {"n": {"$lt": 3}}},
            {"$sort": {"n": -1}},
            {
                "$group": {
                    "_id": None,
                    "p": {"$push": "$n"},
                    "f": {"$first": "$n"},
                    "l": {"$last": "$n"},
                }
            },
        ],
        [{"_id": None, "p": [2, 1, 0], "f": 2, "l": 0}],
    ),
    "$group $addToSet": (
        [
            {"$group": {"_id": None, "s": {"$addToSet": "$b"}}},
            {"$project": {"_id": 0, "n": {"$size": "$s"}}},
        ],
        [{"n": 2}],
    ),
    "$group by several fields": (
        [
            {"$group": {"_id": {"b": "$b", "t": {"$size": "$tags"}}, "c": {"$sum": 1}}},
            {"$sort": {"_id.b": 1}},
        ],
        [{"_id": {"b": False, "t": 2}, "c": 25}, {"_id": {"b": True, "t": 1}, "c": 25}],
    ),
    "$unwind": (
        [
            {"$unwind": "$tags"},
            {"$group": {"_id": "$tags", "c": {"$sum": 1}}},
            {"$sort": {"_id": 1}},
        ],
        [{"_id": "a", "c": 25}, {"_id": "b", "c": 25}, {"_id": "c", "c": 25}],
    ),
    "$unwind keeping empty": (
        [
            {"$match": {"_id": {"$lt": 3}}},
            {"$unwind": {"path": "$opt", "preserveNullAndEmptyArrays": True}},
            {"$count": "n"},
        ],
        [{"n": 3}],
    ),
    "$lookup": (
        [
            {"$match": {"n": {"$in": [3, 30]}}},
            {"$lookup": {"from": "other", "localField": "n", "foreignField": "ref", "as": "o"}},
            {"$sort": {"_id": 1}},
            {"$project": {"o.name": 1}},
        ],
        [{"_id": 3, "o": [{"name": "o3"}]}, {"_id": 30, "o": []}],
    ),
    "$lookup with a pipeline": (
        [
            {"$match": {"n": 3}},
            {
                "$lookup": {
                    "from": "other",
                    "let": {"x": "$n"},
                    "pipeline": [
                        {"$match": {"$expr": {"$eq": ["$ref", "$$x"]}}},
                        {"$project": {"name": 1, "_id": 0}},
                    ],
                    "as": "o",
                }
            },
            {"$project": {"_id": 0, "o": 1}},
        ],
        [{"o": [{"name": "o3"}]}],
    ),
    "$addFields": (
        [FOUR, {"$addFields": {"twice": {"$multiply": ["$n", 2]}}}, {"$project": {"twice": 1}}],
        [{"_id": 4, "twice": 8}],
    ),
    "$unset": (
        [FOUR, {"$unset": ["nested", "tags", "s", "f", "d", "b", "uuid"]}],
        [{"_id": 4, "n": 4}],
    ),
    "$replaceRoot": (
        [FOUR, {"$replaceRoot": {"newRoot": "$nested.x"}}, {"$project": {"y": 1}}],
        [{"y": 4}],
    ),
    "$skip and $limit": (
        [{"$sort": {"n": -1}}, {"$skip": 1}, {"$limit": 2}, {"$project": {"_id": 1}}],
        [{"_id": 48}, {"_id": 47}],
    ),
    "$count": ([{"$match": {"b": True}}, {"$count": "even"}], [{"even": 25}]),
    "$facet": (
        [
            {
                "$facet": {
                    "n": [{"$count": "c"}],
                    "top": [{"$sort": {"n": -1}}, {"$limit": 1}, {"$project": {"_id": 1}}],
                }
            }
        ],
        [{"n": [{"c": 50}], "top": [{"_id": 49}]}],
    ),
    "$bucket": (
        [{"$bucket": {"groupBy": "$n", "boundaries": [0, 10, 50]}}],
        [{"_id": 0, "count": 10}, {"_id": 10, "count": 40}],
    ),
    "$sortByCount": (
        [{"$match": {"_id": {"$lt": 5}}}, {"$sortByCount": "$b"}],
        [{"_id": True, "count": 3}, {"_id": False, "count": 2}],
    ),
    "$sample": ([{"$sample": {"size": 3}}, {"$count": "n"}], [{"n": 3}]),
    "$unionWith": ([{"$unionWith": "other"}, {"$count": "n"}], [{"n": 55}]),
    "$cond": computed({"$cond": [{"$gt": ["$n", 3]}, "hi", "lo"]}, "hi"),
    "$ifNull": computed({"$ifNull": ["$opt", "none"]}, "none"),
    "$arrayElemAt": computed({"$arrayElemAt": ["$nested.x.z.k", 1]}, 5),
    "$filter": computed(
        {"$filter": {"input": "$nested.x.z", "as": "e", "cond": {"$gt": ["$$e.k", 4]}}},
        [{"k": 5, "v": 2}],
    ),
    "$map": computed({"$map": {"input": "$nested.x.z", "as": "e", "in": "$$e.k"}}, [4, 5]),
    "$concat": computed({"$concat": ["$uuid", "-", "$s"]}, "u4-Ni4Si"),
    "$dateToString": computed(
        {"$dateToString": {"format": "%Y-%m-%d", "date": "$d"}}, "2026-01-05"
    ),
    "$subtract of datetimes": computed({"$subtract": ["$d", dt.datetime(2026, 1, 4)]}, 86_400_000),
    "$switch": computed(
        {"$switch": {"branches": [{"case": {"$eq": ["$n", 4]}, "then": "four"}], "default": "?"}},
        "four",
    ),
}  # fmt: skip

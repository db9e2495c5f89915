"""Every aggregation expression the server evaluates, with the value it has on one document.

Expectations follow the MongoDB 7.0 manual, "Aggregation Operators". They are compared as BSON, so
that an int is not a long, a double or a boolean. Where an expression has no value (what is
missing, and ``$$REMOVE``) the expectation is ABSENT.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from bson import DBRef, Decimal128, Int64, ObjectId, Regex

ABSENT = object()
OID = ObjectId("64b5f0c8e1f1a2b3c4d5e6f7")
TIME = dt.datetime(2026, 1, 2, 3, 4, 5, 678000)
LARGE = b"x" * 70_000  # the embedded server keeps it on the disk

DOCUMENT: dict[str, Any] = {
    "_id": 1,
    "n": 4,
    "long": Int64(7),
    "half": 2.5,
    "zero": 0,
    "yes": True,
    "null": None,
    "s": "héllo",
    "digits": "12",
    "time": TIME,
    "oid": OID,
    "large": LARGE,
    "numbers": [3, 1, 2],
    "mixed": [1, True, None],
    "points": [{"k": 1, "v": 10}, {"k": 2}, 5],
    "o": {"a": 1, "b": {"c": 2}},
    "link": DBRef("c", 5),
}

# operator -> expressions with their values
EXPRESSIONS: dict[str, list[tuple[Any, Any]]] = {
    "paths": [
        ("$n", 4),
        ("$o.b.c", 2),
        ("$nothing", ABSENT),
        ("$o.a.c", ABSENT),
        ("$points.k", [1, 2]),
        ("$points.v", [10]),
        ("$numbers.0", []),
        ("$large", LARGE),
        ("$link.$id", 5),
        (["$n", "$nothing"], [4, None]),
        ({"p": "$n", "q": "$nothing"}, {"p": 4}),
        ("plain", "plain"),
    ],
    "variables": [
        ("$$ROOT.n", 4),
        ("$$CURRENT.o.a", 1),
        ("$$REMOVE", ABSENT),
        ({"$type": "$$NOW"}, "date"),
        ({"$gt": ["$$NOW", TIME]}, True),
    ],
    "$literal": [({"$literal": "$n"}, "$n"), ({"$literal": {"$add": 1}}, {"$add": 1})],
    "$let": [
        ({"$let": {"vars": {"x": "$n", "y": 2}, "in": {"$add": ["$$x", "$$y"]}}}, 6),
        ({"$let": {"vars": {"x": "$o"}, "in": "$$x.b.c"}}, 2),
    ],
    "$eq": [
        ({"$eq": ["$n", 4.0]}, True),
        ({"$eq": [True, 1]}, False),
        ({"$eq": ["$nothing", None]}, False),
        ({"$eq": ["$null", None]}, True),
        ({"$eq": ["$nothing", "$gone"]}, True),
        ({"$eq": ["$large", LARGE]}, True),
        ({"$eq": [Decimal128("4.0"), "$n"]}, True),
    ],
    "$ne": [({"$ne": ["$nothing", None]}, True), ({"$ne": [1, 1.0]}, False)],
    "$lt": [
        ({"$lt": ["$nothing", 1]}, True),
        ({"$lt": ["$nothing", None]}, True),
        ({"$lt": ["$s", 1]}, False),
        ({"$lt": ["$n", "$s"]}, True),
    ],
    "$lte": [({"$lte": ["$n", 4]}, True), ({"$lte": [True, 1]}, False)],
    "$gt": [({"$gt": ["$numbers", 100]}, True), ({"$gt": ["$n", "$nothing"]}, True)],
    "$gte": [({"$gte": ["$nothing", None]}, False), ({"$gte": ["$time", TIME]}, True)],
    "$cmp": [({"$cmp": ["$nothing", None]}, -1), ({"$cmp": [2, 1]}, 1), ({"$cmp": [1, 1.0]}, 0)],
    "$not": [
        ({"$not": [{"$eq": ["$n", 1]}]}, True),
        ({"$not": [{"$eq": ["$n", 4]}]}, False),
        ({"$not": "$nothing"}, True),
        ({"$not": ["$zero"]}, True),
        ({"$not": [[]]}, False),
    ],
    "$and": [
        ({"$and": []}, True),
        ({"$and": ["$n", "$null"]}, False),
        ({"$and": ["$s", ""]}, True),
        ({"$and": [False, {"$divide": [1, "$zero"]}]}, False),
    ],
    "$or": [({"$or": []}, False), ({"$or": ["$zero", "$null", ""]}, True)],
    "$cond": [
        ({"$cond": ["$nothing", 1, 2]}, 2),
        ({"$cond": {"if": {"$gt": ["$n", 3]}, "then": "hi", "else": "lo"}}, "hi"),
        ({"$cond": [True, "$$REMOVE", 1]}, ABSENT),
    ],
    "$ifNull": [
        ({"$ifNull": ["$null", "$nothing", "z"]}, "z"),
        ({"$ifNull": ["$zero", 1]}, 0),
        ({"$ifNull": ["$null", "$nothing"]}, ABSENT),
    ],
    "$switch": [
        ({"$switch": {"branches": [{"case": "$null", "then": 1}], "default": 2}}, 2),
        ({"$switch": {"branches": [{"case": "$n", "then": "$s"}]}}, "héllo"),
    ],
    "$add": [
        ({"$add": ["$n", 1]}, 5),
        ({"$add": ["$n", "$long"]}, Int64(11)),
        ({"$add": ["$n", 0.5]}, 4.5),
        ({"$add": [0.1, 0.2, 0.3]}, 0.6),
        ({"$add": [2147483647, 1]}, Int64(2147483648)),
        ({"$add": ["$n", "$nothing"]}, None),
        ({"$add": ["$time", 1000]}, TIME + dt.timedelta(seconds=1)),
    ],
    "$subtract": [
        ({"$subtract": ["$n", 1]}, 3),
        ({"$subtract": ["$time", dt.datetime(2026, 1, 2)]}, Int64(11_045_678)),
        ({"$subtract": ["$time", 678]}, TIME.replace(microsecond=0)),
        ({"$subtract": ["$n", None]}, None),
    ],
    "$multiply": [
        ({"$multiply": ["$n", 2]}, 8),
        ({"$multiply": ["$n", "$half"]}, 10.0),
        ({"$multiply": [2**40, 2**40]}, 2.0**80),
        ({"$multiply": ["$n", "$nothing"]}, None),
    ],
    "$divide": [({"$divide": ["$n", 2]}, 2.0), ({"$divide": ["$null", 2]}, None)],
    "$mod": [
        ({"$mod": [-7, 3]}, -1),
        ({"$mod": ["$long", 4]}, Int64(3)),
        ({"$mod": [7.5, 2]}, 1.5),
    ],
    "$abs": [({"$abs": -3}, 3), ({"$abs": ["$nothing"]}, None), ({"$abs": -2.5}, 2.5)],
    "$ceil": [({"$ceil": 2.1}, 3.0), ({"$ceil": "$n"}, 4)],
    "$floor": [({"$floor": -2.5}, -3.0), ({"$floor": "$null"}, None)],
    "$trunc": [({"$trunc": -2.7}, -2.0), ({"$trunc": "$n"}, 4)],
    "$round": [
        ({"$round": ["$half"]}, 2.0),
        ({"$round": [3.14159, 2]}, 3.14),
        ({"$round": [1250, -2]}, 1200),
    ],
    "$sqrt": [({"$sqrt": "$n"}, 2.0), ({"$sqrt": "$null"}, None)],
    "$ln": [({"$ln": 1}, 0.0)],
    "$log10": [({"$log10": 1000}, 3.0)],
    "$exp": [({"$exp": "$zero"}, 1.0)],
    "$pow": [({"$pow": ["$n", 2]}, 16), ({"$pow": [4, 0.5]}, 2.0)],
    "$concat": [
        ({"$concat": ["a", "-", "$s"]}, "a-héllo"),
        ({"$concat": ["a-", "$nothing"]}, None),
    ],
    "$toUpper": [
        ({"$toUpper": "$s"}, "HéLLO"),
        ({"$toUpper": "$nothing"}, ""),
        ({"$toUpper": "$n"}, "4"),
    ],
    "$toLower": [({"$toLower": "ÄB"}, "Äb"), ({"$toLower": "$null"}, "")],
    "$substr": [
        ({"$substr": ["$time", 0, 10]}, "2026-01-02"),
        ({"$substr": ["$nothing", 0, 3]}, ""),
        ({"$substr": ["abc", 1, -1]}, "bc"),
    ],
    "$substrBytes": [({"$substrBytes": ["$s", 0, 3]}, "hé")],
    "$substrCP": [({"$substrCP": ["$s", 1, 2]}, "él"), ({"$substrCP": ["$null", 0, 1]}, "")],
    "$strcasecmp": [({"$strcasecmp": ["b", "B"]}, 0), ({"$strcasecmp": ["$nothing", "a"]}, -1)],
    "$strLenCP": [({"$strLenCP": "$s"}, 5)],
    "$strLenBytes": [({"$strLenBytes": "$s"}, 6)],
    "$split": [({"$split": ["a,b", ","]}, ["a", "b"]), ({"$split": ["$nothing", ","]}, None)],
    "$trim": [
        ({"$trim": {"input": " a\n"}}, "a"),
        ({"$trim": {"input": "xax", "chars": "x"}}, "a"),
        ({"$trim": {"input": "$nothing"}}, None),
    ],
    "$ltrim": [({"$ltrim": {"input": " a "}}, "a ")],
    "$rtrim": [({"$rtrim": {"input": " a "}}, " a")],
    "$regexMatch": [
        ({"$regexMatch": {"input": "$s", "regex": "^h.l"}}, True),
        ({"$regexMatch": {"input": "ABC", "regex": Regex("b", "i")}}, True),
        ({"$regexMatch": {"input": "ABC", "regex": "b", "options": "i"}}, True),
        ({"$regexMatch": {"input": "$nothing", "regex": "b"}}, False),
    ],
    "$arrayElemAt": [
        ({"$arrayElemAt": ["$numbers", -1]}, 2),
        ({"$arrayElemAt": ["$numbers", 9]}, ABSENT),
        ({"$arrayElemAt": ["$nothing", 0]}, None),
    ],
    "$first": [({"$first": "$numbers"}, 3), ({"$first": [[]]}, ABSENT)],
    "$last": [({"$last": "$numbers"}, 2), ({"$last": "$nothing"}, None)],
    "$concatArrays": [
        ({"$concatArrays": ["$numbers", [4]]}, [3, 1, 2, 4]),
        ({"$concatArrays": ["$numbers", "$nothing"]}, None),
    ],
    "$filter": [
        ({"$filter": {"input": "$numbers", "as": "e", "cond": {"$gt": ["$$e", 1]}}}, [3, 2]),
        ({"$filter": {"input": "$mixed", "cond": "$$this"}}, [1, True]),
        ({"$filter": {"input": "$nothing", "cond": True}}, None),
        ({"$filter": {"input": "$numbers", "cond": True, "limit": 2}}, [3, 1]),
    ],
    "$map": [
        ({"$map": {"input": "$numbers", "as": "e", "in": {"$add": ["$$e", "$n"]}}}, [7, 5, 6]),
        ({"$map": {"input": "$points", "in": "$$this.v"}}, [10, None, None]),
    ],
    "$reduce": [
        (
            {
                "$reduce": {
                    "input": "$numbers",
                    "initialValue": 0,
                    "in": {"$add": ["$$value", "$$this"]},
                }
            },
            6,
        )
    ],
    "$size": [({"$size": "$numbers"}, 3), ({"$size": [[1, 2]]}, 2)],
    "$reverseArray": [({"$reverseArray": "$numbers"}, [2, 1, 3])],
    "$in": [
        ({"$in": [1.0, "$numbers"]}, True),
        ({"$in": [True, [1, 2]]}, False),
        ({"$in": ["$nothing", [None]]}, False),
        ({"$in": ["$null", "$mixed"]}, True),
    ],
    "$indexOfArray": [
        ({"$indexOfArray": ["$mixed", True]}, 1),
        ({"$indexOfArray": ["$numbers", 9]}, -1),
        ({"$indexOfArray": ["$nothing", 9]}, None),
    ],
    "$isArray": [({"$isArray": "$numbers"}, True), ({"$isArray": ["$n"]}, False)],
    "$range": [({"$range": [0, 3]}, [0, 1, 2]), ({"$range": [3, 0, -2]}, [3, 1])],
    "$slice": [
        ({"$slice": ["$numbers", 2]}, [3, 1]),
        ({"$slice": ["$numbers", -2]}, [1, 2]),
        ({"$slice": ["$numbers", 1, 1]}, [1]),
        ({"$slice": ["$numbers", -5, 2]}, [3, 1]),
    ],
    "$setUnion": [
        ({"$setUnion": [[1], [True], [1]]}, [1, True]),
        ({"$setUnion": [[1], "$nothing"]}, None),
    ],
    "$setIntersection": [({"$setIntersection": ["$mixed", [True]]}, [True])],
    "$setDifference": [({"$setDifference": ["$numbers", [1.0]]}, [3, 2])],
    "$setEquals": [({"$setEquals": ["$numbers", [1, 2, 3, 3]]}, True)],
    "$setIsSubset": [({"$setIsSubset": [[True], [1, 2]]}, False)],
    "$anyElementTrue": [({"$anyElementTrue": [[0, None]]}, False)],
    "$allElementsTrue": [({"$allElementsTrue": [["", 1]]}, True)],
    "$mergeObjects": [
        ({"$mergeObjects": ["$o", "$nothing", {"a": 2}]}, {"a": 2, "b": {"c": 2}}),
        ({"$mergeObjects": [{"$first": "$points"}, {"z": 1}]}, {"k": 1, "v": 10, "z": 1}),
    ],
    "$objectToArray": [({"$objectToArray": {"a": "$n"}}, [{"k": "a", "v": 4}])],
    "$arrayToObject": [
        ({"$arrayToObject": [[["k", 5]]]}, {"k": 5}),
        ({"$arrayToObject": [[{"k": "a", "v": "$n"}]]}, {"a": 4}),
    ],
    "$getField": [({"$getField": "n"}, 4), ({"$getField": {"field": "a", "input": "$o"}}, 1)],
    "$sum": [
        ({"$sum": ["$n", 1]}, 5),
        ({"$sum": "$numbers"}, 6),
        ({"$sum": ["$numbers", "$yes", "$n"]}, 4),
        ({"$sum": "$nothing"}, 0),
    ],
    "$avg": [({"$avg": "$numbers"}, 2.0), ({"$avg": ["$yes", "$s"]}, None)],
    "$min": [({"$min": "$numbers"}, 1), ({"$min": ["$null", 3]}, 3)],
    "$max": [
        ({"$max": ["$time", "$nothing", dt.datetime(2000, 1, 1)]}, TIME),
        ({"$max": ["$n", "$s"]}, "héllo"),
    ],
    "$stdDevPop": [({"$stdDevPop": [[1, 3]]}, 1.0)],
    "$stdDevSamp": [({"$stdDevSamp": [[1, 3, 5]]}, 2.0), ({"$stdDevSamp": [[1]]}, None)],
    "$type": [
        ({"$type": "$nothing"}, "missing"),
        ({"$type": "$n"}, "int"),
        ({"$type": "$long"}, "long"),
        ({"$type": "$half"}, "double"),
        ({"$type": "$large"}, "binData"),
        ({"$type": "$oid"}, "objectId"),
    ],
    "$isNumber": [({"$isNumber": "$yes"}, False), ({"$isNumber": "$half"}, True)],
    "$toInt": [
        ({"$toInt": "$digits"}, 12),
        ({"$toInt": -2.7}, -2),
        ({"$toInt": True}, 1),
        ({"$toInt": "$null"}, None),
    ],
    "$toLong": [
        ({"$toLong": "$n"}, Int64(4)),
        ({"$toLong": dt.datetime(1970, 1, 1, 0, 0, 1)}, Int64(1000)),
    ],
    "$toDouble": [({"$toDouble": "1.5"}, 1.5), ({"$toDouble": "$n"}, 4.0)],
    "$toBool": [({"$toBool": "false"}, True), ({"$toBool": "$zero"}, False)],
    "$toString": [
        ({"$toString": 1.0}, "1"),
        ({"$toString": "$half"}, "2.5"),
        ({"$toString": "$yes"}, "true"),
        ({"$toString": "$time"}, "2026-01-02T03:04:05.678Z"),
        ({"$toString": "$oid"}, str(OID)),
    ],
    "$toObjectId": [({"$toObjectId": str(OID)}, OID)],
    "$toDate": [
        ({"$toDate": "2026-01-02T03:04:05.678Z"}, TIME),
        ({"$toDate": Int64(1000)}, dt.datetime(1970, 1, 1, 0, 0, 1)),
        ({"$toDate": "$null"}, None),
    ],
    "$convert": [
        ({"$convert": {"input": "12", "to": "int"}}, 12),
        ({"$convert": {"input": "x", "to": 16, "onError": "bad"}}, "bad"),
        ({"$convert": {"input": "$nothing", "to": "int", "onNull": 0}}, 0),
    ],
    "$dateToString": [
        (
            {"$dateToString": {"date": "$time", "format": "%Y-%m-%d %H:%M:%S.%L %j %V %u%%"}},
            "2026-01-02 03:04:05.678 002 01 5%",
        ),
        ({"$dateToString": {"date": "$time"}}, "2026-01-02T03:04:05.678Z"),
        ({"$dateToString": {"date": "$nothing", "onNull": "never"}}, "never"),
    ],
    "$dateFromString": [
        ({"$dateFromString": {"dateString": "2026-01-02T03:04:05.678901"}}, TIME),
        ({"$dateFromString": {"dateString": "2026-01-02T05:04:05.678+02:00"}}, TIME),
        ({"$dateFromString": {"dateString": "2026-01-02"}}, dt.datetime(2026, 1, 2)),
        ({"$dateFromString": {"dateString": "$time", "onError": "$time"}}, TIME),
        ({"$dateFromString": {"dateString": "no date", "onError": "$s"}}, "héllo"),
        ({"$dateFromString": {"dateString": "$nothing", "onError": 1}}, None),
        ({"$dateFromString": {"dateString": "$null", "onNull": 2}}, 2),
    ],
    "$year": [({"$year": "$time"}, 2026), ({"$year": "$null"}, None)],
    "$month": [({"$month": ["$time"]}, 1)],
    "$dayOfMonth": [({"$dayOfMonth": {"date": "$time"}}, 2)],
    "$hour": [({"$hour": "$time"}, 3)],
    "$minute": [({"$minute": "$time"}, 4)],
    "$second": [({"$second": "$time"}, 5)],
    "$millisecond": [({"$millisecond": "$time"}, 678)],
    "$dayOfYear": [({"$dayOfYear": "$time"}, 2)],
    "$dayOfWeek": [({"$dayOfWeek": "$time"}, 6)],
    "$week": [({"$week": "$time"}, 0)],
    "$isoWeek": [({"$isoWeek": "$time"}, 1)],
    "$isoWeekYear": [({"$isoWeekYear": "$time"}, Int64(2026))],
    "$isoDayOfWeek": [({"$isoDayOfWeek": "$time"}, 5)],
}  # fmt: skip

# expressions that must fail, with MongoDB's error number
FAILING_EXPRESSIONS: dict[str, tuple[Any, int]] = {
    "an undefined variable": ({"$eq": ["$n", "$$x"]}, 17276),
    "an unknown operator": ({"$almost": 1}, 168),
    "two operators": ({"$add": [1], "$abs": 1}, 15983),
    "too many arguments": ({"$eq": [1, 2, 3]}, 16020),
    "an empty field name": ("$o..a", 15998),
    "a lone dollar": ("$", 16872),
    "$add of a boolean": ({"$add": [True, 1]}, 14),
    "$add of two dates": ({"$add": ["$time", "$time"]}, 16612),
    "$multiply of a string": ({"$multiply": ["$s", 2]}, 14),
    "$divide by zero": ({"$divide": [1, "$zero"]}, 2),
    "$concat of a number": ({"$concat": ["a", "$n"]}, 16702),
    "$size of what is missing": ({"$size": "$nothing"}, 17124),
    "$in without an array": ({"$in": [1, "$n"]}, 40081),
    "$switch without a match": ({"$switch": {"branches": [{"case": False, "then": 1}]}}, 40066),
    "$toInt of a word": ({"$toInt": "$s"}, 241),
    "$dateFromString of a date": ({"$dateFromString": {"dateString": "$time"}}, 241),
    "$year of a string": ({"$year": "$s"}, 16006),
}

# what the embedded server refuses although MongoDB computes it
REFUSED_EXPRESSIONS: dict[str, Any] = {
    "arithmetic of Decimal128": {"$add": [Decimal128("1"), 1]},
    "$sum of Decimal128": {"$sum": [[Decimal128("1"), 1]]},
    "a string of an unusual double": {"$toString": 1e300},
    "a date in another notation": {"$dateFromString": {"dateString": "2 January 2026"}},
    "a time zone": {"$hour": {"date": "$time", "timezone": "Europe/Berlin"}},
    "a date format": {"$dateFromString": {"dateString": "2026", "format": "%Y"}},
    "a system variable": "$$CLUSTER_TIME",
}

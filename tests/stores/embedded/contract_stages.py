"""Stages of pipelines on small collections, as MongoDB 7.0's manual documents them.

Those of SHAPES work on one document, and are tried as an update as well.
"""

from __future__ import annotations

from typing import Any

from bson import Int64, Regex

Document = dict[str, Any]

# document, stages, document after them (each without its _id)
SHAPES: dict[str, tuple[Document, list[Document], Document]] = {
    "$set through an array": (
        {"a": [{"x": 1}, {"x": 2}, 3]},
        [{"$set": {"a.f": 9}}],
        {"a": [{"x": 1, "f": 9}, {"x": 2, "f": 9}, {"f": 9}]},
    ),
    "$set reads the document before the stage": (
        {"o": {"x": 1}},
        [{"$set": {"o.x": 5, "y": "$o.x"}}],
        {"o": {"x": 5}, "y": 1},
    ),
    "$set of a document merges": (
        {"s": {"a": 1}},
        [{"$set": {"s": {"b": 2}}}],
        {"s": {"a": 1, "b": 2}},
    ),
    "$set of a document as a literal": (
        {"s": {"a": 1}},
        [{"$set": {"s": {"$literal": {"b": 2}}}}],
        {"s": {"b": 2}},
    ),
    "$set below a scalar": ({"s": 5}, [{"$set": {"s.b": 2}}], {"s": {"b": 2}}),
    "$set to $$REMOVE": ({"s": 5, "t": 1}, [{"$set": {"s": "$$REMOVE"}}], {"t": 1}),
    "$set to what is missing": ({"s": 5, "t": 1}, [{"$set": {"s": "$nothing"}}], {"t": 1}),
    "$set of null from a missing string": (
        {"p": "a"},
        [{"$set": {"q": {"$concat": ["$p", "-", "$nothing"]}}}],
        {"p": "a", "q": None},
    ),
    "$addFields of several stages": (
        {"n": 2},
        [{"$addFields": {"m": {"$multiply": ["$n", 2]}}}, {"$addFields": {"k": "$m"}}],
        {"n": 2, "m": 4, "k": 4},
    ),
    "$unset through an array": (
        {"a": [{"x": 1, "y": 2}, {"x": 3}, 4]},
        [{"$unset": "a.x"}],
        {"a": [{"y": 2}, {}, 4]},
    ),
    "$unset of several fields": (
        {"a": 1, "b": {"c": 2, "d": 3}},
        [{"$unset": ["a", "b.c"]}],
        {"b": {"d": 3}},
    ),
    "$project of a dotted name": ({"v": 3}, [{"$project": {"a.b": "$v"}}], {"a": {"b": 3}}),
    "$project of a nested name": ({"v": 3}, [{"$project": {"a": {"b": "$v"}}}], {"a": {"b": 3}}),
    "$project includes nested fields": (
        {"o": {"p": 1, "q": 2}, "v": 1},
        [{"$project": {"o": {"p": 1}}}],
        {"o": {"p": 1}},
    ),
    "$project includes through arrays": (
        {"a": [{"x": 1, "y": 2}, {"y": 3}, 4, [{"x": 5}]]},
        [{"$project": {"a.x": 1}}],
        {"a": [{"x": 1}, {}, [{"x": 5}]]},
    ),
    "$project excludes through arrays": (
        {"a": [{"x": 1, "y": 2}, 4], "b": 1},
        [{"$project": {"a.x": 0, "b": False}}],
        {"a": [{"y": 2}, 4]},
    ),
    "$project includes and computes in one array": (
        {"a": [1, {"b": 2, "c": 3}], "v": 7},
        [{"$project": {"a.b": 1, "a.d": "$v"}}],
        {"a": [{"d": 7}, {"b": 2, "d": 7}]},
    ),
    "$project of a literal": (
        {"v": 1},
        [{"$project": {"s": "text", "n": {"$literal": 1}}}],
        {"s": "text", "n": 1},
    ),
    "$project of an array": (
        {"v": 1},
        [{"$project": {"a": ["$v", "$nothing", 3]}}],
        {"a": [1, None, 3]},
    ),
    "$replaceWith": (
        {"_id": 1, "o": {"_id": 1, "q": 3}},
        [{"$replaceWith": {"$mergeObjects": ["$o", {"r": 4}]}}],
        {"q": 3, "r": 4},
    ),
}  # fmt: skip

# documents, pipeline, what comes out
PIPES: dict[str, tuple[list[Document], list[Document], list[Document]]] = {
    "$group tells 1 from true, not from 1.0": (
        [{"_id": 1, "k": 1}, {"_id": 2, "k": 1.0}, {"_id": 3, "k": True}],
        [{"$group": {"_id": "$k", "n": {"$sum": 1}}}, {"$sort": {"_id": 1}}],
        [{"_id": 1, "n": 2}, {"_id": True, "n": 1}],
    ),
    "$group takes null and missing together": (
        [{"_id": 1}, {"_id": 2, "k": None}],
        [{"$group": {"_id": "$k", "n": {"$count": {}}}}],
        [{"_id": None, "n": 2}],
    ),
    "$group by a document tells null from missing": (
        [{"_id": 1}, {"_id": 2, "k": None}],
        [{"$group": {"_id": {"k": "$k"}}}, {"$sort": {"_id": 1}}],
        [{"_id": {}}, {"_id": {"k": None}}],
    ),
    "$sum and $avg pass over arrays, booleans and strings": (
        [{"_id": 1, "a": [1, 2]}, {"_id": 2, "a": 3}, {"_id": 3, "a": True}, {"_id": 4, "a": "5"}],
        [{"$group": {"_id": None, "s": {"$sum": "$a"}, "m": {"$avg": "$a"}}}],
        [{"_id": None, "s": 3, "m": 3.0}],
    ),
    "accumulators of what is missing": (
        [{"_id": 1, "a": 2.5}, {"_id": 2}],
        [{"$sort": {"_id": 1}}, {"$group": {
            "_id": None,
            "s": {"$sum": "$b"},
            "m": {"$avg": "$b"},
            "x": {"$max": "$b"},
            "p": {"$push": "$b"},
            "f": {"$first": "$a"},
            "l": {"$last": "$a"},
            "d": {"$stdDevPop": "$b"},
            "e": {"$stdDevSamp": "$a"},
            "o": {"$mergeObjects": "$b"},
            "y": {"$addToSet": "$b"},
            "n": {"$min": "$a"},
        }}],
        [{"_id": None, "s": 0, "m": None, "x": None, "p": [], "f": 2.5, "l": None, "d": None,
          "e": None, "o": {}, "y": [], "n": 2.5}],
    ),
    "$max and $min across types": (
        [{"_id": 1, "a": "str"}, {"_id": 2, "a": 2}, {"_id": 3, "a": None}, {"_id": 4, "a": True}],
        [{"$group": {"_id": None, "least": {"$min": "$a"}, "most": {"$max": "$a"}}}],
        [{"_id": None, "least": 2, "most": True}],
    ),
    "$sum of a condition": (
        [{"_id": i, "k": i % 3} for i in range(7)],
        [{"$group": {"_id": None, "n": {"$sum": {"$cond": [{"$eq": ["$k", 0]}, 1, 0]}}}}],
        [{"_id": None, "n": 3}],
    ),
    "$push of whole documents": (
        [{"_id": 1, "k": "a"}, {"_id": 2, "k": "a"}],
        [{"$sort": {"_id": 1}}, {"$group": {"_id": {"a": "$k"}, "docs": {"$push": "$$ROOT"}}}],
        [{"_id": {"a": "a"}, "docs": [{"_id": 1, "k": "a"}, {"_id": 2, "k": "a"}]}],
    ),
    "$addToSet tells 1 from true": (
        [{"_id": 1, "k": 1}, {"_id": 2, "k": True}, {"_id": 3, "k": 1.0}],
        [{"$group": {"_id": None, "s": {"$addToSet": "$k"}}}, {"$project": {"n": {"$size": "$s"}}}],
        [{"_id": None, "n": 2}],
    ),
    "branches of $facet are independent": (
        [{"_id": 1, "a": {"b": 1}}],
        [{"$facet": {"one": [{"$set": {"a.b": 2}}], "two": [{"$match": {"a.b": 1}}]}}],
        [{"one": [{"_id": 1, "a": {"b": 2}}], "two": [{"_id": 1, "a": {"b": 1}}]}],
    ),
    "$unwind with positions": (
        [{"_id": 1, "a": [7, 8]}, {"_id": 2, "a": []}, {"_id": 3}, {"_id": 4, "a": 5}],
        [{"$unwind": {"path": "$a", "includeArrayIndex": "i", "preserveNullAndEmptyArrays": True}},
         {"$sort": {"_id": 1, "i": 1}}],
        [{"_id": 1, "a": 7, "i": Int64(0)}, {"_id": 1, "a": 8, "i": Int64(1)},
         {"_id": 2, "i": None}, {"_id": 3, "i": None}, {"_id": 4, "a": 5, "i": None}],
    ),
    "$unwind of a nested array": (
        [{"_id": 1, "o": {"a": [1, 2], "b": 3}}],
        [{"$unwind": "$o.a"}, {"$sort": {"o.a": 1}}],
        [{"_id": 1, "o": {"a": 1, "b": 3}}, {"_id": 1, "o": {"a": 2, "b": 3}}],
    ),
    "$unwind of documents with a large binary": (
        [{"_id": 1, "a": [{"z": b"y" * 70_000}, {"z": 2}], "b": b"x" * 70_000}],
        [{"$unwind": "$a"}, {"$match": {"a.z": 2}}],
        [{"_id": 1, "a": {"z": 2}, "b": b"x" * 70_000}],
    ),
    "$bucket with a default": (
        [{"_id": 1, "v": 1}, {"_id": 2, "v": 3}, {"_id": 3, "v": "s"}, {"_id": 4}],
        [{"$bucket": {"groupBy": "$v", "boundaries": [0, 2, 4], "default": "other",
                      "output": {"ids": {"$push": "$_id"}}}}],
        [{"_id": 0, "ids": [1]}, {"_id": 2, "ids": [2]}, {"_id": "other", "ids": [3, 4]}],
    ),
    "$sortByCount of a nested field": (
        [{"_id": 1, "o": {"k": "a"}}, {"_id": 2, "o": {"k": "b"}}, {"_id": 3, "o": {"k": "a"}}],
        [{"$sortByCount": "$o.k"}],
        [{"_id": "a", "count": 2}, {"_id": "b", "count": 1}],
    ),
    "$lookup of missing, null and arrays": (
        [{"_id": 1, "l": 2}, {"_id": 2}, {"_id": 3, "l": [1, 3]}],
        [{"$lookup": {"from": "c", "localField": "l", "foreignField": "_id", "as": "o.r"}},
         {"$sort": {"_id": 1}}, {"$project": {"r": "$o.r._id"}}],
        [{"_id": 1, "r": [2]}, {"_id": 2, "r": []}, {"_id": 3, "r": [1, 3]}],
    ),
    "$lookup with fields and a pipeline": (
        [{"_id": 1, "l": 2, "v": 5}, {"_id": 2, "l": 2, "v": 6}],
        [{"$match": {"_id": 1}},
         {"$lookup": {"from": "c", "localField": "l", "foreignField": "l", "let": {"v": "$v"},
                      "pipeline": [{"$match": {"$expr": {"$gt": ["$v", "$$v"]}}}], "as": "r"}},
         {"$unset": ["l", "v"]}],
        [{"_id": 1, "r": [{"_id": 2, "l": 2, "v": 6}]}],
    ),
    "$lookup of values that look like something else": (
        [{"_id": 1, "l": {"$x": 2}}, {"_id": 2, "l": Regex("a")}, {"_id": 3, "l": "a"},
         {"_id": 4, "l": [{"$x": 2}, None]}],
        [{"$lookup": {"from": "c", "localField": "l", "foreignField": "l", "as": "r"}},
         {"$sort": {"_id": 1}}, {"$project": {"r": "$r._id"}}],
        [{"_id": 1, "r": [1, 4]}, {"_id": 2, "r": [2]}, {"_id": 3, "r": [3]},
         {"_id": 4, "r": [1, 4]}],
    ),
    "$lookup of null takes what is missing": (
        [{"_id": 1, "l": None, "f": 1}, {"_id": 2, "f": None}, {"_id": 3, "l": 0}],
        [{"$lookup": {"from": "c", "localField": "l", "foreignField": "f", "as": "r"}},
         {"$sort": {"_id": 1}}, {"$project": {"r": "$r._id"}}],
        [{"_id": 1, "r": [2, 3]}, {"_id": 2, "r": [2, 3]}, {"_id": 3, "r": []}],
    ),
    "$lookup with an equality in its pipeline": (
        [{"_id": 1, "l": 2, "o": {"v": 1}}, {"_id": 2, "o": {"v": 2}}, {"_id": 3, "l": None}],
        [{"$lookup": {"from": "c", "let": {"l": "$l"}, "as": "r", "pipeline": [
            {"$match": {"$expr": {"$and": [{"$eq": ["$$l", "$o.v"]}, {"$gt": ["$_id", 0]}]}}}]}},
         {"$sort": {"_id": 1}}, {"$project": {"r": "$r._id"}}],
        [{"_id": 1, "r": [2]}, {"_id": 2, "r": [3]}, {"_id": 3, "r": []}],
    ),
    "$unionWith a pipeline": (
        [{"_id": 1}, {"_id": 2}],
        [{"$match": {"_id": 1}},
         {"$unionWith": {"coll": "c", "pipeline": [{"$match": {"_id": 2}}]}}],
        [{"_id": 1}, {"_id": 2}],
    ),
    "$count of nothing": ([{"_id": 1}], [{"$match": {"_id": 9}}, {"$count": "n"}], []),
}  # fmt: skip

# pipelines that must fail, whatever the collection holds, with MongoDB's error number
FAILING_PIPES: dict[str, tuple[list[Document], int]] = {
    "an unknown stage": ([{"$almost": 1}], 40324),
    "a stage of two": ([{"$match": {}, "$limit": 1}], 40323),
    "an unknown accumulator": ([{"$group": {"_id": None, "x": {"$almost": 1}}}], 15952),
    "an accumulator of an array": ([{"$group": {"_id": None, "x": {"$sum": ["$a", 1]}}}], 40237),
    "$group without _id": ([{"$group": {"n": {"$sum": 1}}}], 15955),
    "$project of both ways": ([{"$project": {"a": 1, "b": 0}}], 31254),
    "$project the other way round": ([{"$project": {"a": 0, "b": 1}}], 31253),
    "$project of nothing": ([{"$project": {}}], 51272),
    "colliding paths of $project": ([{"$project": {"a": 1, "a.b": 1}}], 31249),
    "colliding paths of $set": ([{"$set": {"a": 1, "a.b": 1}}], 40176),
    "$unwind without a dollar": ([{"$unwind": "a"}], 28818),
    "$limit 0": ([{"$limit": 0}], 15958),
    "$sort by a name with a dollar": ([{"$sort": {"$t": 1}}], 16410),
    "$sort by the order of insertion": ([{"$sort": {"$natural": -1}}], 16410),
    "$merge with an unknown option": ([{"$merge": {"into": "o", "whenmatched": "fail"}}], 40415),
    "$merge into nothing": ([{"$merge": {}}], 40414),
    "$merge of a number": ([{"$merge": 5}], 51182),
    "$merge into a number": ([{"$merge": {"into": 5}}], 51178),
    "$merge into an unknown place": ([{"$merge": {"into": {"coll": "o", "x": 1}}}], 40415),
    "$merge on a number": ([{"$merge": {"into": "o", "on": 5}}], 51186),
    "$merge on nothing": ([{"$merge": {"into": "o", "on": []}}], 51187),
    "$out of a number": ([{"$out": 5}], 16990),
    "$out into an unknown place": ([{"$out": {"db": "d", "coll": "o", "x": 1}}], 40415),
    "$out before the end": ([{"$out": "x"}, {"$limit": 1}], 40601),
    "an undefined variable": ([{"$match": {"$expr": "$$x"}}], 17276),
    "$facet inside $facet": ([{"$facet": {"a": [{"$facet": {"b": []}}]}}], 40600),
}

"""One attempt for every operation that `NOT_SUPPORTED` says is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bson import Decimal128
from bson.code import Code
from pymongo import WriteConcern
from pymongo.collection import Collection
from pymongo.cursor import CursorType
from pymongo.read_concern import ReadConcern

C = Collection[dict[str, Any]]

FUNCTION = {"body": "function() { return 1 }", "args": [], "lang": "js"}
ACCUMULATOR = {
    "init": "function() {}",
    "accumulate": "function() {}",
    "accumulateArgs": [],
    "merge": "function() {}",
    "lang": "js",
}


DECIMAL = Decimal128("1.5")
BERLIN = {"date": "$$NOW", "timezone": "Europe/Berlin"}


def _transaction(c: C) -> None:
    with c.database.client.start_session() as session, session.start_transaction():
        c.insert_one({"in": "a transaction"}, session=session)


ATTEMPTS: dict[str, Callable[[C], Any]] = {
    "$where": lambda c: list(c.find({"$or": [{"a": 2}, {"$where": "this.a == 1"}]})),
    "$function": lambda c: list(c.aggregate([{"$project": {"x": {"$function": FUNCTION}}}])),
    "$accumulator": lambda c: list(
        c.aggregate([{"$group": {"_id": None, "x": {"$accumulator": ACCUMULATOR}}}])
    ),
    "mapReduce": lambda c: c.database.command(
        "mapReduce", c.name, map=Code("x"), reduce=Code("y"), out={"inline": 1}
    ),
    "text index": lambda c: c.create_index([("t", "text")]),
    "$text": lambda c: list(c.find({"$text": {"$search": "hello"}})),
    "geospatial index": lambda c: c.create_index([("t", "2dsphere")]),
    "$geoWithin": lambda c: list(c.find({"t": {"$geoWithin": {"$box": [[0, 0], [1, 1]]}}})),
    "$near": lambda c: list(c.find({"t": {"$near": [0, 0]}})),
    "wildcard index": lambda c: c.create_index("$**"),
    "$jsonSchema": lambda c: list(c.find({"$jsonSchema": {"required": ["a"]}})),
    "validator": lambda c: c.database.create_collection("v", validator={"a": 1}),
    "$bitsAllSet": lambda c: list(c.find({"a": {"$bitsAllSet": 1}})),
    "[[:digit:]]": lambda c: list(c.find({"a": {"$not": {"$regex": "[^[:digit:]]"}}})),
    "$natural: -1 in an aggregation": lambda c: list(c.aggregate([], hint={"$natural": -1})),
    "collation": lambda c: list(c.find({"a": "x"}).collation({"locale": "de"})),
    "transaction": _transaction,
    "snapshot read concern": lambda c: list(
        c.with_options(read_concern=ReadConcern("snapshot")).find()
    ),
    "change stream": lambda c: next(c.watch()),
    "capped collection": lambda c: c.database.create_collection("v", capped=True, size=1000),
    "tailable cursor": lambda c: next(c.find(cursor_type=CursorType.TAILABLE)),
    "view": lambda c: c.database.create_collection("v", viewOn="c", pipeline=[]),
    "time series": lambda c: c.database.create_collection("v", timeseries={"timeField": "t"}),
    "$merge with a pipeline": lambda c: list(
        c.aggregate([{"$merge": {"into": "o", "whenMatched": [{"$set": {"a": 1}}]}}])
    ),
    "$graphLookup": lambda c: list(c.aggregate([{"$graphLookup": {"from": "c", "as": "x"}}])),
    "$setWindowFields": lambda c: list(c.aggregate([{"$setWindowFields": {"output": {}}}])),
    "arithmetic of Decimal128": lambda c: list(c.find({}, {"x": {"$add": ["$a", DECIMAL]}})),
    "time zones in date expressions": lambda c: list(c.find({}, {"x": {"$hour": BERLIN}})),
    "explain of an aggregation": lambda c: c.database.command(
        "explain", {"aggregate": c.name, "pipeline": [], "cursor": {}}
    ),
    "write concern of several members": lambda c: c.with_options(
        write_concern=WriteConcern(w=3)
    ).insert_one({}),
    "users and passwords": lambda c: c.database.command("createUser", "me", pwd="x", roles=[]),
}

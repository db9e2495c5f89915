"""What MongoDB can and the embedded server cannot: one table for the tests and the documentation.

Each entry is refused with an error, never answered wrongly; the contract test tries every one.
"""

from __future__ import annotations

NOT_SUPPORTED: dict[str, str] = {
    "$where": "would run code sent by a client inside the server",
    "$function": "would run code sent by a client inside the server",
    "$accumulator": "would run code sent by a client inside the server",
    "mapReduce": "would run code sent by a client inside the server; use an aggregation",
    "text index": "full-text search needs an index of words; use a regular expression",
    "$text": "full-text search needs an index of words; use a regular expression",
    "geospatial index": "crystals need no maps",
    "$geoWithin": "crystals need no maps",
    "$near": "crystals need no maps",
    "wildcard index": "every equality on a named path is indexed; name the paths",
    "$jsonSchema": "documents are validated by pydantic models before they are sent",
    "validator": "documents are validated by pydantic models before they are sent",
    "$bitsAllSet": "no document of ours holds bit masks",
    "[[:digit:]]": "regular expressions are Python's, which would take it for a set of letters",
    "$natural: -1 in an aggregation": "$sort by a field that tells the order",
    "collation": "strings are compared by code points only",
    "transaction": "each command is atomic by itself; a group of commands is not",
    "snapshot read concern": "a cursor is a snapshot of one collection, not of several",
    "change stream": "nothing is replicated, so there is no log of changes to watch",
    "capped collection": "no collection of ours has to forget its oldest documents",
    "tailable cursor": "needs a capped collection",
    "view": "run the aggregation instead",
    "time series": "a plain collection does",
    "$merge with a pipeline": "merge with replace, merge, keepExisting or fail",
    "$graphLookup": "follow the links in the client, or with one $lookup for each step",
    "$setWindowFields": "group, or calculate in the client",
    "arithmetic of Decimal128": "no document of ours holds decimals; they are stored and compared",
    "time zones in date expressions": "all times are UTC",
    "explain of an aggregation": "explain the filter of its first $match as a find",
    "write concern of several members": "the embedded server is one",
    "users and passwords": "the directory's permissions decide who may connect",
}
"""Operation -> why it is missing, or what to do instead."""

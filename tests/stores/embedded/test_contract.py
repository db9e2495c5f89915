"""The contract: what MongoDB documents is what the server does, or it refuses.

Runs against the embedded server, and against a real one too when EBSDSG_MONGO_URI is set.
Aggregation has a module of its own, `test_aggregation`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure

from stores.embedded.limits import NOT_SUPPORTED

from . import (  # noqa: F401  (they register)
    contract_catalogue,
    contract_reading,
    contract_values,
    contract_writing,
)
from .contract_aggregations import PIPELINES
from .contract_mistakes import MISTAKES
from .contract_queries import FILTERS, PROJECTIONS, SORTS, documents
from .contract_refusals import ATTEMPTS
from .contract_registry import OPERATIONS
from .contract_updates import FAILING_UPDATES, UPDATES

C = Collection[dict[str, Any]]
DOCUMENTATION = Path(__file__).parents[3] / "docs/explanation/embedded_database.md"


@pytest.fixture(scope="module")
def fifty(server: Any) -> Any:
    """The fifty documents, with indexes on some of the paths."""
    database = server["ebsdsg_test_reading"]
    server.drop_database(database.name)
    database["c"].insert_many(documents())
    database["other"].insert_many([{"_id": 100 + i, "ref": i, "name": f"o{i}"} for i in range(5)])
    yield database["c"]
    server.drop_database(database.name)


@pytest.fixture(scope="module")
def fifty_indexed(server: Any) -> Any:
    """The same with an index on every path that is queried."""
    database = server["ebsdsg_test_indexed"]
    server.drop_database(database.name)
    database["c"].insert_many(documents())
    for path in ("n", "uuid", "tags", "s", "opt", "b", "d", "nested.x.y", "nested.x.z.k"):
        database["c"].create_index(path)
    yield database["c"]
    server.drop_database(database.name)


def test_at_least_120_operations() -> None:
    tables = (FILTERS, PROJECTIONS, SORTS, PIPELINES, UPDATES, FAILING_UPDATES, OPERATIONS)
    assert sum(map(len, tables)) >= 120


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("indexes", ["scan", "indexed"])
def test_filter(name: str, indexes: str, fifty: C, fifty_indexed: C) -> None:
    conditions, expected = FILTERS[name]
    collection = fifty if indexes == "scan" else fifty_indexed
    assert [d["_id"] for d in collection.find(conditions).sort("_id", 1)] == expected
    assert collection.count_documents(conditions) == len(expected)


@pytest.mark.parametrize("name", PROJECTIONS)
def test_projection(name: str, fifty: C) -> None:
    number, projection, expected = PROJECTIONS[name]
    assert fifty.find_one({"_id": number}, projection) == expected


@pytest.mark.parametrize("name", SORTS)
def test_sort(name: str, fifty: C) -> None:
    keys, skip, limit, expected = SORTS[name]
    assert [d["_id"] for d in fifty.find().sort(keys).skip(skip).limit(limit)] == expected


@pytest.mark.parametrize("name", PIPELINES)
def test_pipeline(name: str, fifty: C) -> None:
    pipeline, expected = PIPELINES[name]
    assert list(fifty.aggregate(pipeline)) == expected
    # whatever the stages did, the stored documents are as they were
    assert list(fifty.find()) == documents()


@pytest.mark.parametrize("name", UPDATES)
def test_update(name: str, collection: C) -> None:
    case = UPDATES[name]
    collection.insert_one({"_id": 1, **case.before})
    result = collection.update_one(
        {"_id": 1, **case.query}, case.update, array_filters=case.array_filters
    )
    assert result.modified_count == 1
    assert collection.find_one() == {"_id": 1, **case.after}


@pytest.mark.parametrize("name", FAILING_UPDATES)
def test_failing_update(name: str, collection: C) -> None:
    document, update, query, code = FAILING_UPDATES[name]
    collection.insert_one({"_id": 1, **document})
    with pytest.raises(OperationFailure) as caught:
        collection.update_one({"_id": 1, **query}, update)
    assert caught.value.code in {code, 17419 if code == 10334 else code}
    assert collection.find_one() == {"_id": 1, **document}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation(name: str, collection: C) -> None:
    OPERATIONS[name](collection)


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name: str, collection: C) -> None:
    attempt, code = MISTAKES[name]
    collection.insert_one({"_id": 1, "a": [1]})
    with pytest.raises(OperationFailure) as caught:
        attempt(collection)
    reply = caught.value.details or {}
    errors = reply.get("writeErrors") or [reply]
    assert errors[0]["code"] == code
    assert list(collection.find()) == [{"_id": 1, "a": [1]}]


@pytest.mark.parametrize("name", NOT_SUPPORTED)
def test_unsupported_operations_are_refused(
    name: str, embedded_uri: str, collection: C, request: pytest.FixtureRequest
) -> None:
    if "real" in request.node.callspec.id:
        pytest.skip("a real server supports it")
    collection.insert_one({"_id": 1, "a": 1})
    with pytest.raises(OperationFailure) as caught:
        ATTEMPTS[name](collection)
    assert caught.value.code in {59, 67, 100, 238}
    assert list(collection.find()) == [{"_id": 1, "a": 1}]


def test_unknown_things_are_refused(database: Database[dict[str, Any]]) -> None:
    collection = database["c"]
    collection.insert_one({"a": 1})
    with pytest.raises(OperationFailure) as caught:
        database.command("frobnicate", 1)
    assert caught.value.code == 59
    with pytest.raises(OperationFailure, match="unknown operator"):
        collection.find_one({"a": {"$almost": 1}})
    with pytest.raises(OperationFailure, match="unknown top level operator"):
        collection.find_one({"$almost": 1})
    with pytest.raises(OperationFailure) as caught:
        database.command("find", "c", almost=True)
    assert caught.value.code == 40415
    with pytest.raises(OperationFailure):
        list(collection.aggregate([{"$almost": {}}]))
    with pytest.raises(OperationFailure):
        list(collection.aggregate([{"$project": {"x": {"$almost": 1}}}]))


def test_every_missing_operation_is_tried() -> None:
    assert set(ATTEMPTS) == set(NOT_SUPPORTED)


def test_documentation_lists_what_is_missing() -> None:
    text = DOCUMENTATION.read_text()
    section = text.split("## What is missing")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", section, flags=re.MULTILINE))
    rows = {
        name.strip("`"): reason
        for name, reason in rows.items()
        if name != "Operation" and not name.startswith("-")
    }
    assert rows == NOT_SUPPORTED

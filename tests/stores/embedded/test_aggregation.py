"""Aggregation does what MongoDB documents, or refuses; nothing it evaluates is left untried.

Runs against the embedded server, and against a real one too when EBSDSG_MONGO_URI is set.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import bson
import pytest
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from stores.embedded.expressions import ACCUMULATORS, OPERATORS, REFUSED
from stores.embedded.stages import REFUSED_STAGES, STAGES

from .contract_aggregations import PIPELINES
from .contract_expressions import (
    ABSENT,
    DOCUMENT,
    EXPRESSIONS,
    FAILING_EXPRESSIONS,
    REFUSED_EXPRESSIONS,
)
from .contract_stages import FAILING_PIPES, PIPES, SHAPES

C = Collection[dict[str, Any]]


@pytest.fixture(scope="module")
def one(server: Any) -> Iterator[C]:
    """A collection of the document that expressions are tried on."""
    database = server["ebsdsg_test_expressions"]
    server.drop_database(database.name)
    database["c"].insert_one(DOCUMENT)
    yield database["c"]
    server.drop_database(database.name)


def on_embedded(request: pytest.FixtureRequest) -> None:
    if "real" in request.node.callspec.id:
        pytest.skip("a real server supports it")


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expression(name: str, one: C) -> None:
    for expression, expected in EXPRESSIONS[name]:
        wanted = {} if expected is ABSENT else {"x": expected}
        (found,) = one.aggregate([{"$project": {"_id": 0, "x": expression}}])
        assert bson.encode(found) == bson.encode(wanted), (expression, found)
        conditions = {"$expr": {"$eq": [expression, {"$literal": expected}]}}
        if expected is not ABSENT:
            assert one.count_documents(conditions) == 1, expression


@pytest.mark.parametrize("name", FAILING_EXPRESSIONS)
def test_failing_expression(name: str, one: C) -> None:
    expression, code = FAILING_EXPRESSIONS[name]
    with pytest.raises(OperationFailure) as caught:
        list(one.aggregate([{"$project": {"x": expression}}]))
    assert caught.value.code == code


@pytest.mark.parametrize("name", REFUSED_EXPRESSIONS)
def test_refused_expression(name: str, one: C, request: pytest.FixtureRequest) -> None:
    on_embedded(request)
    with pytest.raises(OperationFailure) as caught:
        list(one.aggregate([{"$project": {"x": REFUSED_EXPRESSIONS[name]}}]))
    assert caught.value.code == 238


def test_refused_operators_and_stages(one: C, request: pytest.FixtureRequest) -> None:
    on_embedded(request)
    attempts: list[dict[str, Any]] = [{name: {}} for name in REFUSED_STAGES]
    attempts += [{"$project": {"x": {name: {}}}} for name in REFUSED]
    attempts += [{"$group": {"_id": None, "x": {name: {}}}} for name in REFUSED]
    for stage in attempts:
        with pytest.raises(OperationFailure) as caught:
            list(one.aggregate([stage]))
        assert caught.value.code == 238, stage


@pytest.mark.parametrize("name", SHAPES)
def test_shape(name: str, collection: C) -> None:
    before, stages, after = SHAPES[name]
    collection.insert_one({"_id": 1, **before})
    (found,) = collection.aggregate(stages)
    assert found == {**({"_id": 1} if "_id" in found else {}), **after}
    assert collection.find_one() == {"_id": 1, **before}
    collection.update_many({}, stages)
    assert collection.find_one() == {"_id": 1, **after}


@pytest.mark.parametrize("name", PIPES)
def test_pipe(name: str, collection: C) -> None:
    documents, stages, expected = PIPES[name]
    collection.insert_many(documents)
    assert list(collection.aggregate(stages)) == expected
    assert list(collection.find()) == documents


@pytest.mark.parametrize("name", FAILING_PIPES)
def test_failing_pipe(name: str, collection: C) -> None:
    stages, code = FAILING_PIPES[name]
    collection.database.create_collection(collection.name)
    with pytest.raises(OperationFailure) as caught:
        list(collection.aggregate(stages))
    assert caught.value.code == code


def test_everything_evaluated_is_tried() -> None:
    assert set(OPERATORS) == {name for name in EXPRESSIONS if name.startswith("$")}
    assert not set(OPERATORS) & REFUSED
    assert not set(STAGES) & REFUSED_STAGES
    pipelines = repr([PIPELINES, PIPES, SHAPES])
    assert [name for name in (*STAGES, *ACCUMULATORS) if f"'{name}'" not in pipelines] == []


def test_now_is_one_time_per_command(collection: C) -> None:
    collection.insert_many([{"_id": i} for i in range(500)])
    before = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(milliseconds=1)
    collection.update_many({}, [{"$set": {"t": "$$NOW"}}])
    (time,) = collection.distinct("t")
    assert before <= time <= dt.datetime.now(dt.UTC).replace(tzinfo=None)


def test_let_in_what_looks_like_a_count(collection: C) -> None:
    collection.insert_many([{"n": i} for i in range(5)])
    stages: list[dict[str, Any]] = [
        {"$match": {"$expr": {"$gte": ["$n", "$$least"]}}},
        {"$group": {"_id": 1, "n": {"$sum": 1}}},
    ]
    assert list(collection.aggregate(stages, let={"least": 3})) == [{"_id": 1, "n": 2}]
    assert list(collection.aggregate(stages, let={"least": {"$add": [1, 3]}})) == [
        {"_id": 1, "n": 1}
    ]
    (found,) = collection.find(
        {"$expr": {"$eq": ["$n", "$$x"]}}, {"_id": 0, "m": {"$add": ["$n", "$$x"]}}, let={"x": 4}
    )
    assert found == {"m": 8}


def test_explain_of_what_looks_like_a_count_is_refused(
    collection: C, request: pytest.FixtureRequest
) -> None:
    on_embedded(request)
    collection.insert_one({})
    stages = [{"$match": {}}, {"$group": {"_id": 1, "n": {"$sum": 1}}}]
    with pytest.raises(OperationFailure) as caught:
        collection.database.command(
            "aggregate", collection.name, pipeline=stages, explain=True, cursor={}
        )
    assert caught.value.code == 238


def test_groups_by_true_are_not_a_count_of_ones(collection: C) -> None:
    collection.insert_one({})
    stages: list[dict[str, Any]] = [{"$match": {}}, {"$group": {"_id": True, "n": {"$sum": 1}}}]
    (found,) = collection.aggregate(stages)
    assert found["_id"] is True


def test_a_result_that_no_client_takes_is_refused(collection: C) -> None:
    collection.insert_many([{"_id": i, "x": f"{i}" + "y" * 6_000_000} for i in range(9)])
    for least, fits in ((7, True), (6, False), (0, False)):
        stages: list[dict[str, Any]] = [
            {"$match": {"_id": {"$gte": least}}},
            {"$group": {"_id": None, "all": {"$push": "$$ROOT"}}},
        ]
        if fits:
            (found,) = collection.aggregate(stages)
            assert [d["_id"] for d in found["all"]] == [7, 8]
            continue
        with pytest.raises(OperationFailure) as caught:
            list(collection.aggregate(stages))
        assert caught.value.code in {10334, 17419, 17420}
    with pytest.raises(OperationFailure) as caught:
        collection.distinct("x")
    assert caught.value.code in {10334, 17217}
    assert [d["_id"] for d in collection.find()] == list(range(9))


def test_computed_fields_of_find_go_through_arrays(collection: C) -> None:
    collection.insert_one({"_id": 1, "a": [{"b": 1}, {"b": 2, "c": 3}], "v": 7})
    assert collection.find_one({}, {"_id": 0, "a.b": 1, "a.d": "$v"}) == {
        "a": [{"b": 1, "d": 7}, {"b": 2, "d": 7}]
    }

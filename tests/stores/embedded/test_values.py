"""Order, equality and paths of BSON values."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import pytest
from bson import Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from hypothesis import given
from hypothesis import strategies as st

from stores.embedded.values import MISSING, clone, equal, hash_key, identical, lookup, sort_key

# ascending in MongoDB's comparison order (manual, "Comparison/Sort Order")
ASCENDING: list[Any] = [
    MinKey(),
    None,
    float("nan"),
    float("-inf"),
    -1,
    0.5,
    Decimal128("1.5"),
    2,
    2**62,
    float("inf"),
    "",
    "A",
    "a",
    {},
    {"a": 1},
    {"a": 2},
    {"b": 1},
    {"a": "x"},
    [],
    [1],
    [1, 2],
    b"b",
    b"aa",
    ObjectId("64b5f0c8e1f1a2b3c4d5e6f7"),
    ObjectId("64b5f0c8e1f1a2b3c4d5e6f8"),
    False,
    True,
    DatetimeMS(-(2**50)),
    dt.datetime(2026, 1, 1),
    dt.datetime(2026, 1, 1, 0, 0, 0, 1000),
    DatetimeMS(2**50),
    Timestamp(1, 1),
    Regex("a"),
    MaxKey(),
]


def test_order_of_types_and_values() -> None:
    keys = [sort_key(value) for value in ASCENDING]
    for (i, a), (j, b) in itertools.product(enumerate(keys), repeat=2):
        assert (a < b) == (i < j) and (a == b) == (i == j), (ASCENDING[i], ASCENDING[j])


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (1, 1.0, True),
        (1, Int64(1), True),
        (1, Decimal128("1.0"), True),
        (1, True, False),
        (0, False, False),
        (None, MISSING, True),
        (float("nan"), float("nan"), True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, False),
        ([1, {"a": None}], [1.0, {"a": None}], True),
        ("1", 1, False),
        ("64b5f0c8e1f1a2b3c4d5e6f7", ObjectId("64b5f0c8e1f1a2b3c4d5e6f7"), False),
    ],
)
def test_equality(a: Any, b: Any, same: bool) -> None:
    assert equal(a, b) is equal(b, a) is same
    assert (hash_key(a) == hash_key(b)) is same


trees = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
)


@given(trees, trees)
def test_sort_key_hash_key_and_clone_agree(a: Any, b: Any) -> None:
    assert (hash_key(a) == hash_key(b)) == (sort_key(a) == sort_key(b))
    assert (sort_key(a) < sort_key(b)) + (sort_key(b) < sort_key(a)) + equal(a, b) == 1
    assert identical(a, clone(a))
    if identical(a, b):
        assert equal(a, b)


@pytest.mark.parametrize(
    ("document", "path", "found"),
    [
        ({"a": {"b": 1}}, "a.b", [1]),
        ({"a": [{"b": 1}, {"b": 2}, 3]}, "a.b", [1, 2]),
        ({"a": [{"b": 1}, {}]}, "a.b", [1, MISSING]),
        ({"a": [{"b": 1}, {"b": 2}]}, "a.1.b", [2]),
        ({"a": 5}, "a.b", [MISSING]),
        ({"a": []}, "a.b", []),
        ({}, "a", [MISSING]),
        ({"a": {"0": "key"}}, "a.0", ["key"]),
        ({"a": [7]}, "a.0", [7]),
    ],
)
def test_paths(document: dict[str, Any], path: str, found: list[Any]) -> None:
    assert list(lookup(document, tuple(path.split(".")))) == found

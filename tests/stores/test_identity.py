"""The hash of a content must not depend on how the content is held, only on what it says."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import bson
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.identity import IdentityError, canonical_json, content_hash

GOLDEN = {
    "empty": ({}, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
    "numbers": (
        {
            "zero": -0.0,
            "int": 20,
            "float": 20.0,
            "third": 1 / 3,
            "sum": 0.1 + 0.2,
            "tiny": 1.5e-300,
        },
        "187707b604f8d1af9be3c5af43fdefab742930f2df333d1e1413c11b2d570b12",
    ),
    "text": (
        {"ä": "Å³ Ω \U0001f600", "a": ["x", None, True, False]},
        "9bb9cd478f01fc7c9c78503a7fe60992cdc7123c529708de6d3c1f0a4fb9ba44",
    ),
    "nickel": (
        {
            "cell": [0.3524, 0.3524, 0.3524, 90.0, 90.0, 90.0],
            "space_group": 225,
            "sites": [{"element": "Ni", "position": [0, 0, 0], "debye_waller": 0.004}],
        },
        "12f0a2fcdd7bd68153ceaa810c0af316a0d37830b797ea2ff1ee8e6b45b0e88a",
    ),
}

numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers()
plain = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", GOLDEN)
def test_hashes_are_frozen(name: str) -> None:
    # a change here makes every finished simulation unfindable: it needs a migration
    value, expected = GOLDEN[name]
    assert content_hash(value) == expected


def test_canonical_text_is_frozen() -> None:
    value = {"b": [1.0, -0.0, 1e22, 1e-7, 2**60], "a": {"z": 0.1 + 0.2, "y": 123456789.123456789}}
    assert canonical_json(value) == (
        '{"a":{"y":123456789.123,"z":0.3},"b":[1,0,1e+22,1e-07,1152921504606846976]}'
    )


def test_same_in_another_process_with_another_hash_seed() -> None:
    value = GOLDEN["nickel"][0]
    program = (
        "import json, sys; from stores.identity import content_hash;"
        "print(content_hash(json.load(sys.stdin)))"
    )
    for seed in ("1", "2"):
        answer = subprocess.run(
            [sys.executable, "-c", program],
            input=json.dumps(value),
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        assert answer.stdout.strip() == content_hash(value)


@given(st.dictionaries(st.text(), plain, max_size=5))
def test_order_of_keys_and_kind_of_container_do_not_matter(value: dict) -> None:
    backwards = MappingProxyType(dict(reversed(value.items())))
    assert content_hash(backwards) == content_hash(value)
    assert content_hash([value, (1, 2)]) == content_hash((value, [1, 2]))


@given(plain)
def test_survives_json(value: object) -> None:
    assert content_hash(json.loads(json.dumps(value))) == content_hash(value)
    assert content_hash(json.loads(canonical_json(value))) == content_hash(value)


@given(
    st.dictionaries(
        st.sampled_from("abcd"), st.floats(allow_nan=False, allow_infinity=False), max_size=4
    )
)
def test_survives_bson(value: dict[str, float]) -> None:
    assert content_hash(bson.decode(bson.encode(value))) == content_hash(value)


@given(st.floats(min_value=1e-300, max_value=1e12), st.sampled_from([1, -1]))
def test_rounding_errors_do_not_matter_but_real_changes_do(value: float, sign: int) -> None:
    # above 1e12 whole floats count as exact integers, which an ulp changes
    value = sign * float(f"{value:.8e}")
    assert content_hash(math.nextafter(value, math.inf)) == content_hash(value)
    assert content_hash(value * (1 + 1e-9)) != content_hash(value)


@given(st.integers(-(2**53), 2**53))
def test_equal_integers_and_floats_are_one_value(value: int) -> None:
    assert content_hash(float(value)) == content_hash(value)


@given(st.integers(), st.integers())
def test_different_integers_differ(a: int, b: int) -> None:
    assert (content_hash(a) == content_hash(b)) == (a == b)


def test_numpy_scalars_count_as_numbers() -> None:
    scalars = {"a": np.float64(0.25), "b": np.int32(7), "c": np.bool_(True), "d": np.float32(0.5)}
    assert content_hash(scalars) == content_hash({"a": 0.25, "b": 7, "c": True, "d": 0.5})


def test_true_is_not_one_and_text_is_not_a_number() -> None:
    assert len({content_hash(x) for x in (True, 1, "1", "true", None, [], {}, [1])}) == 8


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": {"b": [1.0, float("nan")]}}, r"value\.a\.b\[1\] is nan"),
        ({"a": float("inf")}, "finite"),
        ({"a": np.float64("nan")}, "finite"),
        ({"a": np.zeros(3)}, r"array of shape \(3,\)"),
        ({"a": {1, 2}}, "set"),
        ({"a": b"x"}, "bytes"),
        ({1: "a"}, "must be strings"),
        ({"a": Path("x")}, "Path"),
        ({"a": 1j}, "complex"),
    ],
)
def test_what_has_no_identity_is_refused(value: object, words: str) -> None:
    with pytest.raises(IdentityError, match=words):
        content_hash(value)

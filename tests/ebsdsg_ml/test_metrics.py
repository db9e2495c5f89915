"""Counts add up, and intervals cover what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebsdsg_ml.metrics import (
    MetricError,
    accuracy,
    class_accuracies,
    confusion_matrix,
    overall_accuracy,
    phase_accuracies,
    phase_bootstrap,
    phase_interval,
)

answers = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=200)


@given(answers)
def test_confusion_matrix_sums(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = np.array(pairs).T
    matrix = confusion_matrix(truth, predicted, 5)
    assert (matrix.sum(axis=1) == np.bincount(truth, minlength=5)).all()
    assert (matrix.sum(axis=0) == np.bincount(predicted, minlength=5)).all()
    assert overall_accuracy(matrix).right == (truth == predicted).sum()
    assert sum(row["right"] for row in class_accuracies(matrix, (1, 2, 3, 4, 5))) == np.trace(
        matrix
    )


def test_rows_are_truth() -> None:
    assert confusion_matrix([0, 0, 1], [1, 1, 1], 2).tolist() == [[0, 2], [0, 1]]


def test_wilson_against_published_values() -> None:
    # R. G. Newcombe, Stat. Med. 17 (1998) 857, table I, method 3
    for right, total, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        a = accuracy(right, total)
        assert (round(a.low, 4), round(a.high, 4)) == (low, high)
    assert round(accuracy(0, 20).high, 4) == 0.1611
    assert accuracy(0, 20).low == 0.0 and accuracy(20, 20).high == 1.0
    empty = accuracy(0, 0)
    assert math.isnan(empty.value) and (empty.low, empty.high) == (0.0, 1.0)
    assert empty.to_dict()["value"] is None


def test_wilson_covers() -> None:
    rng = np.random.default_rng(0)
    for share in (0.5, 0.9, 0.98):
        draws = rng.binomial(100, share, 2000)
        inside = [accuracy(int(d), 100).low <= share <= accuracy(int(d), 100).high for d in draws]
        assert 0.92 < np.mean(inside) < 0.985


def test_phase_table() -> None:
    rows = phase_accuracies(
        [0, 0, 0, 2, 2], [0, 0, 0, 1, 1], [0, 1, 1, 1, 1], ["NiAl", "absent", "Ni"], (221, 225)
    )
    assert [r["phase"] for r in rows] == ["NiAl", "Ni"]
    assert rows[0]["right"] == 1 and rows[0]["most_frequent"] == 225
    assert rows[0]["most_frequent_share"] == pytest.approx(2 / 3)
    assert rows[1]["value"] == 1.0


def test_misfits_are_refused() -> None:
    with pytest.raises(MetricError, match="2 true and 1 predicted"):
        confusion_matrix([0, 1], [0], 2)
    with pytest.raises(MetricError, match="allowed 0 to 1"):
        confusion_matrix([0, 2], [0, 1], 2)
    with pytest.raises(MetricError, match="3 right answers of 2"):
        accuracy(3, 2)
    with pytest.raises(MetricError, match="phase A has 2 true classes"):
        phase_accuracies([0, 0], [0, 1], [0, 0], ["A"], (221, 225))


def test_the_interval_over_phases_covers_where_that_over_patterns_does_not() -> None:
    rng = np.random.default_rng(1)
    classes = np.repeat([221, 225, 229], 12)
    over_phases = over_patterns = 0
    for _ in range(300):
        share = rng.beta(0.6, 0.4, classes.size)  # phases are mostly all right or all wrong
        right = rng.binomial(50, share)
        low, high = phase_bootstrap(right, np.full(classes.size, 50), classes, draws=300)
        over_phases += low <= 0.6 <= high
        wilson = accuracy(int(right.sum()), 50 * classes.size)
        over_patterns += wilson.low <= 0.6 <= wilson.high
    assert 0.89 < over_phases / 300 < 0.98
    assert over_patterns / 300 < 0.5


def test_the_interval_over_phases_weighs_patterns_or_classes() -> None:
    # a large class all right, a small one all wrong: nothing varies within the classes
    counts = [90, 90, 0, 0], [90, 90, 10, 10], [1, 1, 2, 2]
    assert phase_bootstrap(*counts) == pytest.approx((0.9, 0.9))
    assert phase_bootstrap(*counts, balanced=True) == pytest.approx((0.5, 0.5))
    rows = [
        {"right": right, "total": 10, "class": group}
        for right, group in ((10, 221), (0, 221), (10, 225), (0, 225))
    ]
    assert phase_interval(rows) == pytest.approx((0.0, 1.0))
    assert phase_interval([*rows, {"right": 0, "total": 0, "class": 229}]) == pytest.approx((0, 1))
    assert phase_interval([*rows, {"right": 1, "total": 9, "class": 229}]) is None
    assert phase_interval([]) is None
    for wrong in (([1], [0], [1]), ([3], [2], [1]), ([], [], []), ([1], [2, 3], [1, 1])):
        with pytest.raises(MetricError):
            phase_bootstrap(*wrong)

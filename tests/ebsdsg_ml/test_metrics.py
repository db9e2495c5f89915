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

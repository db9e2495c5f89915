"""Criteria that see no label, and what choosing by them costs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ebsdsg_ml.selection import (
    HIGHER_IS_BETTER,
    SelectionError,
    agreement,
    bnm,
    choose,
    entropy,
    mutual_information,
    neighbourhood_density,
    regret_table,
    unsupervised_criteria,
)

SURE = np.tile(np.eye(4), (25, 1))
EVEN = np.full((100, 4), 0.25)
COLLAPSED = np.tile([1.0, 0, 0, 0], (100, 1))


def test_extremes() -> None:
    assert entropy(SURE) == pytest.approx(0, abs=1e-9)
    assert entropy(EVEN) == pytest.approx(math.log(4))
    assert mutual_information(SURE) == pytest.approx(math.log(4))
    assert mutual_information(EVEN) == pytest.approx(0)
    assert bnm(SURE) == pytest.approx(1)
    assert bnm(EVEN) == pytest.approx(0.25) and bnm(COLLAPSED) == pytest.approx(0.5)
    assert agreement(SURE, SURE) == 1 and agreement(SURE, np.roll(SURE, 1, axis=0)) == 0


def test_only_some_criteria_see_through_collapse() -> None:
    """The entropy prefers a collapsed run; those that ask for diversity do not."""
    assert entropy(COLLAPSED) == pytest.approx(entropy(SURE), abs=1e-9)
    assert mutual_information(COLLAPSED) == pytest.approx(0, abs=1e-9)
    assert bnm(COLLAPSED) < bnm(SURE)


def test_neighbourhood_density_by_the_definition() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), size=12)
    unit = p / np.linalg.norm(p, axis=1, keepdims=True)
    entropies = []
    for i in range(12):
        others = [unit[i] @ unit[j] / 0.05 for j in range(12) if j != i]
        w = np.exp(others) / np.exp(others).sum()
        entropies.append(-(w * np.log(w)).sum())
    assert neighbourhood_density(p) == pytest.approx(np.mean(entropies))
    # four tight groups of 25: every answer has 24 equal neighbours
    assert neighbourhood_density(SURE) == pytest.approx(math.log(24), abs=1e-5)


def test_density_of_a_large_pool_takes_an_even_selection() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(3), size=8001)
    assert neighbourhood_density(p) == pytest.approx(neighbourhood_density(p[::3]))


def test_choice() -> None:
    rows = [
        {"entropy": 0.5, "bnm": 0.3},
        {"entropy": 0.2, "bnm": 0.3},
        {"entropy": 0.2, "bnm": 0.1},
    ]
    assert choose(rows, "entropy") == 1 and choose(rows, "bnm") == 0 and choose(rows, "last") == 2
    with pytest.raises(SelectionError, match="no criterion 'accuracy'"):
        choose(rows, "accuracy")
    with pytest.raises(SelectionError, match="candidate 0 has no value of agreement"):
        choose(rows, "agreement")
    with pytest.raises(SelectionError, match="no candidate"):
        choose([], "bnm")


def test_regret_is_measured_against_the_oracle() -> None:
    first = [
        {"bnm": 0.2, "entropy": 0.1, "accuracy": 0.5},
        {"bnm": 0.9, "entropy": 0.3, "accuracy": 0.9},
        {"bnm": 0.5, "entropy": 0.2, "accuracy": 0.7},
    ]
    second = [
        {"bnm": 0.1, "entropy": 0.4, "accuracy": 0.8},
        {"bnm": 0.3, "entropy": 0.2, "accuracy": 0.6},
    ]
    table = {row["criterion"]: row for row in regret_table([first, second], "accuracy")}
    assert set(table) == {"last", "bnm", "entropy"}
    assert table["bnm"]["accuracy"] == pytest.approx((0.9 + 0.6) / 2)
    assert table["bnm"]["regret"] == pytest.approx((0 + 0.2) / 2)
    assert table["bnm"]["worst"] == pytest.approx(0.2)
    assert table["bnm"]["rank_correlation"] == pytest.approx((1 - 1) / 2)
    assert table["entropy"]["rank_correlation"] == pytest.approx((-1 - 1) / 2)
    assert table["last"]["rank_correlation"] is None
    assert table["last"]["regret"] == pytest.approx((0.2 + 0.2) / 2)
    with pytest.raises(SelectionError, match="true accuracy"):
        regret_table([[{"bnm": 1.0}]], "accuracy")


def test_all_criteria_have_a_direction() -> None:
    found = unsupervised_criteria(SURE, (SURE, SURE))
    assert set(found) | {"source_validation"} == set(HIGHER_IS_BETTER)

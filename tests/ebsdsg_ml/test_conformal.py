"""Sets cover phases never seen as promised, and fail where the wrong unit is taken."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebsdsg_ml.conformal import (
    answer_threshold,
    coverage,
    hierarchical_quantile,
    phases_needed,
    prediction_sets,
    scores,
    set_sizes,
    threshold,
)
from ebsdsg_ml.temperature import CalibrationError, soft_max

CLASSES = 5


def phases(rng: np.random.Generator, k: int, n: int = 10) -> tuple[np.ndarray, ...]:
    """Outputs, classes and phases; how well a phase is told varies from phase to phase."""
    truth = np.repeat(rng.integers(0, CLASSES, k), n)
    logits = rng.normal(size=(k * n, CLASSES))
    logits[np.arange(k * n), truth] += np.repeat(rng.normal(2, 1.5, k), n)
    return logits, truth, np.repeat(np.arange(k), n)


@pytest.mark.parametrize("score", ["lac", "aps"])
def test_coverage_over_many_calibrations_is_between_the_bounds(score: str) -> None:
    rng = np.random.default_rng(0)
    k, level, found = 24, 0.85, []
    new, new_truth, new_phase = phases(rng, 3000, 1)
    p = soft_max(new)
    for _ in range(300):
        logits, truth, phase = phases(rng, k)
        limit = threshold(soft_max(logits), truth, phase, level, score)  # type: ignore[arg-type]
        found.append(coverage(prediction_sets(p, limit, score), new_truth, new_phase)["coverage"])  # type: ignore[arg-type]
    # 300 draws know their mean to 0.5 %
    assert level - 0.01 < np.mean(found) < level + 2 / (k + 1) + 0.01


def test_taking_patterns_for_the_unit_would_promise_too_much() -> None:
    """With as few phases as the level needs, patterns pretend to know what only phases tell."""
    rng = np.random.default_rng(1)
    new, truth, phase = phases(rng, 3000, 1)
    p, right, wrong = soft_max(new), [], []
    for _ in range(200):
        logits, labels, groups = phases(rng, 9, 50)
        q = soft_max(logits)
        for unit, found in ((groups, right), (np.arange(len(groups)), wrong)):
            limit = threshold(q, labels, unit, 0.9)
            found.append(coverage(prediction_sets(p, limit), truth, phase)["coverage"])
    assert np.mean(wrong) < 0.89 < 0.9 <= np.mean(right) + 0.005


@given(st.integers(2, 60), st.floats(0.5, 0.97), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_one_pattern_per_phase_is_the_usual_split_conformal(
    k: int, level: float, seed: int
) -> None:
    values = np.random.default_rng(seed).normal(size=k)
    rank = int(np.ceil((k + 1) * level - 1e-9))
    expected = np.inf if rank > k else np.sort(values)[rank - 1]
    assert hierarchical_quantile(values, np.arange(k), level) == expected


def test_phases_count_alike_however_many_patterns_they_have() -> None:
    values = np.concatenate([np.zeros(1000), [1.0], [2.0], [3.0]])
    phase = np.concatenate([np.zeros(1000, int), [1, 2, 3]])
    assert hierarchical_quantile(values, phase, 0.6) == 2.0


def test_too_few_phases_for_the_level_give_the_whole_set() -> None:
    logits, truth, phase = phases(np.random.default_rng(2), 5)
    limit = threshold(soft_max(logits), truth, phase, 0.95)
    assert prediction_sets(soft_max(logits), limit).all()


def test_scores_of_both_kinds_by_hand() -> None:
    p = np.array([[0.2, 0.5, 0.3]])
    assert scores(p, "lac") == pytest.approx(np.array([[0.8, 0.5, 0.7]]))
    assert scores(p, "aps") == pytest.approx(np.array([[1.0, 0.5, 0.8]]))
    with pytest.raises(CalibrationError, match="lac or aps"):
        scores(p, "none")  # type: ignore[arg-type]


def test_the_stated_risk_is_kept_on_new_phases() -> None:
    rng = np.random.default_rng(3)
    new, truth, _ = phases(rng, 4000, 1)
    p, risks, answered = soft_max(new), [], []
    for _ in range(200):
        logits, labels, groups = phases(rng, 60)
        given_ = p.max(axis=1) > answer_threshold(soft_max(logits), labels, groups, risk=0.1)
        risks.append((given_ & (p.argmax(axis=1) != truth)).mean())
        answered.append(given_.mean())
    assert (p.argmax(axis=1) != truth).mean() > 0.2
    assert 0.1 - 2 / 61 - 0.005 < np.mean(risks) < 0.105 and np.mean(answered) > 0.5
    few = phases(rng, 5)
    assert answer_threshold(soft_max(few[0]), few[1], few[2], risk=0.1) == 1.0


@pytest.mark.parametrize(
    ("level", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (1 - 0.05, 19), (0.99, 99)]
)
def test_one_phase_too_few_is_too_few_for_a_level(level: float, needed: int) -> None:
    assert phases_needed(level) == needed
    assert hierarchical_quantile(np.ones(needed), np.arange(needed), level) == 1
    if needed > 1:
        fewer = np.arange(needed - 1)
        assert hierarchical_quantile(fewer, fewer, level) == np.inf
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        phases_needed(1 + level)


def test_sizes_of_sets_by_hand() -> None:
    sets = [[True, False], [True, True], [False, False], [False, True]]
    assert set_sizes(sets, [0, 1, 0, 0]) == [
        {"size": 0, "n": 1, "covered": 0},
        {"size": 1, "n": 2, "covered": 1},
        {"size": 2, "n": 1, "covered": 1},
    ]


def test_bad_levels_and_shapes_are_refused() -> None:
    logits, truth, phase = phases(np.random.default_rng(4), 4)
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        threshold(logits, truth, phase, 1.0)
    with pytest.raises(CalibrationError, match="true classes"):
        threshold(logits, truth[:-1], phase, 0.9)
    with pytest.raises(CalibrationError, match="all numbers"):
        hierarchical_quantile([np.nan], [0], 0.5)

"""Runs together: votes, means, intervals, and runs that collapsed."""

from __future__ import annotations

import numpy as np
import pytest

from ebsdsg_ml.ensemble import (
    EnsembleError,
    averaged,
    check_runs,
    majority,
    summary,
    t_interval,
    votes,
)

SHARES = (0.3, 0.1, 0.3, 0.1, 0.2)


def answers(truth: np.ndarray, accuracy: float, rng: np.random.Generator) -> np.ndarray:
    """Probabilities of a run that is right so often and else answers with any class."""
    said = np.where(rng.random(truth.size) < accuracy, truth, rng.integers(0, 5, truth.size))
    return np.full((truth.size, 5), 0.1) + 0.5 * np.eye(5)[said]


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(0).choice(5, 1600, p=SHARES)


def collapse(run: np.ndarray, into: int, classes: tuple[int, ...]) -> np.ndarray:
    """A run that answers with one class where it should with some others."""
    said = run.argmax(axis=1)
    return (
        np.full((len(run), 5), 0.1) + 0.5 * np.eye(5)[np.where(np.isin(said, classes), into, said)]
    )


def test_collapsed_runs_are_found_and_sound_ones_are_not(truth: np.ndarray) -> None:
    """Thirty runs as in the paper: accuracies from 0.55 to 0.95, three that lost classes."""
    rng = np.random.default_rng(1)
    runs = np.stack([answers(truth, a, rng) for a in np.linspace(0.55, 0.95, 30)])
    assert [c.run for c in check_runs(runs) if c.collapsed] == []
    runs[4] = collapse(runs[4], 0, (1,))  # one rare class lost
    runs[11] = collapse(runs[11], 2, (0, 1, 3, 4))  # everything is one class
    runs[29] = collapse(runs[29], 4, (0, 3))  # two classes lost
    checks = check_runs(runs)
    assert [c.run for c in checks if c.collapsed] == [4, 11, 29]
    assert checks[4].missing == (1,) and checks[29].missing == (0, 3)
    assert checks[11].distance == pytest.approx(0.7, abs=0.06)
    assert sum(checks[11].histogram) == pytest.approx(1)


def test_known_shares_find_collapse_even_if_most_runs_did(truth: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    runs = np.stack([answers(truth, 0.8, rng) for _ in range(5)])
    for run in range(4):
        runs[run] = collapse(runs[run], 0, (2, 4))
    assert [c.run for c in check_runs(runs, pool=SHARES) if c.collapsed] == [0, 1, 2, 3]
    # by the median of the runs, the one sound run is the odd one: that is what the docs warn of
    assert [c.run for c in check_runs(runs) if c.collapsed] == [4]


def test_a_class_that_is_not_in_the_pool_may_be_missing() -> None:
    p = np.tile(np.eye(3)[[0, 0, 1]], (2, 1, 1))
    assert not any(check.collapsed for check in check_runs(p, pool=[2, 1, 0]))


def test_a_run_that_makes_fewer_errors_than_the_others_is_sound() -> None:
    """The errors of most runs are a class that the best run never answers with."""
    of_one_phase = np.full(100, 2)
    runs = np.tile(np.eye(5)[of_one_phase], (3, 1, 1))
    for run, wrong in enumerate((3, 2, 0)):  # accuracies 0.97, 0.98, 1.00
        runs[run, :wrong] = np.eye(5)[0]
    assert summary(runs, of_one_phase)["collapsed"] == []
    runs = np.tile(np.eye(5)[np.full(1000, 2)], (3, 1, 1))
    for run, wrong in enumerate((30, 20, 0)):
        runs[run, :wrong] = np.eye(5)[0]
    assert not any(check.collapsed for check in check_runs(runs))
    # known shares hold no errors: three percent are thirty patterns that ought to be found
    assert check_runs(runs, pool=[0.03, 0, 0.97, 0, 0])[2].missing == (0,)
    runs[:, :150] = np.eye(5)[4]
    runs[1, :150] = np.eye(5)[2]  # of two phases it knows one
    assert [c.run for c in check_runs(runs) if c.collapsed] == [1]


@pytest.mark.parametrize("lost", [1, 4])
def test_lost_classes_are_found_among_many(lost: int) -> None:
    """Of 24 classes none has a share of five percent."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(24), 100)
    said = np.tile(truth, (5, 1))
    wrong = rng.random(said.shape) < 0.1
    said[wrong] = rng.integers(0, 24, wrong.sum())
    said[4][(said[4] >= 1) & (said[4] <= lost)] = 0
    checks = check_runs(np.eye(24)[said])
    assert [c.run for c in checks if c.collapsed] == [4]
    assert checks[4].missing == tuple(range(1, lost + 1))


def test_runs_that_share_no_class_have_all_collapsed() -> None:
    """No class is answered by half of the runs, so the median of every share is zero."""
    p = np.zeros((3, 9, 3))
    for run in range(3):
        p[run, :, run] = 1
    checks = check_runs(p)
    assert all(check.collapsed for check in checks)
    assert [check.distance for check in checks] == pytest.approx([2 / 3] * 3)
    found = summary(p, np.zeros(9, dtype=int))
    assert found["collapsed"] == found["kept"] == [0, 1, 2]
    assert found["accuracies"] == [1, 0, 0]


def test_votes_and_means_differ_where_the_sure_are_few() -> None:
    unsure, sure = [0.51, 0.49, 0.0], [0.0, 1.0, 0.0]
    p = np.array([[unsure], [unsure], [sure]])
    assert votes(p).tolist() == [[2, 1, 0]]
    assert majority(p).tolist() == [0] and averaged(p).argmax() == 1


def test_ties_go_to_the_more_probable() -> None:
    p = np.array([[[0.6, 0.4, 0.0]], [[0.1, 0.9, 0.0]]])
    assert majority(p).tolist() == [1]


def test_student_s_interval() -> None:
    """Student's own sleep data (1908): extra hours under drug 2; mean 2.33, t(9) = 2.262."""
    hours = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    interval = t_interval(hours)
    assert interval.mean == pytest.approx(2.33)
    assert interval.half_width == pytest.approx(2.2621572 * 2.0022487 / 10**0.5, rel=1e-6)
    assert interval.low is not None and interval.high is not None
    assert interval.high - interval.low == pytest.approx(2 * interval.half_width)
    assert str(t_interval([0.70, 0.72])) == "0.71 ± 0.13"
    assert t_interval([0.7]).half_width is None and str(t_interval([0.7])) == "0.70 ± ?"


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    inside = 0
    for sample in rng.normal(size=(2000, 5)):
        interval = t_interval(sample)
        assert interval.low is not None and interval.high is not None
        inside += interval.low <= 0 <= interval.high
    assert inside / 2000 == pytest.approx(0.95, abs=0.015)


def test_summary_leaves_collapsed_runs_out(truth: np.ndarray) -> None:
    rng = np.random.default_rng(4)
    runs = np.stack([answers(truth, 0.7, rng) for _ in range(6)])
    runs[2] = collapse(runs[2], 0, (1, 2, 3, 4))
    found = summary(runs, truth)
    assert found["collapsed"] == [2] and found["kept"] == [0, 1, 3, 4, 5]
    assert found["sound"]["interval"]["n"] == 5 and found["all"]["interval"]["n"] == 6
    assert found["sound"]["interval"]["mean"] > found["all"]["interval"]["mean"] + 0.05
    # independent errors: together they are better than any of them
    assert found["sound"]["majority"] > max(found["accuracies"]) + 0.05
    assert "accuracies" not in summary(runs)


def test_unfit_answers_are_refused(truth: np.ndarray) -> None:
    with pytest.raises(EnsembleError, match=r"expected \(runs, n, classes\)"):
        votes([[0.5, 0.5]])
    with pytest.raises(EnsembleError, match="sum to one"):
        votes([[[0.5, 0.6]]])
    with pytest.raises(EnsembleError, match="one per run"):
        t_interval([])
    with pytest.raises(EnsembleError, match="expected 2 shares"):
        check_runs([[[0.5, 0.5]]], pool=[1.0])

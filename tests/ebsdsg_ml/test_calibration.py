"""Certainties become what they say; folds judge each other; grains and strangers."""

from __future__ import annotations

import numpy as np
import pytest

from ebsdsg_ml.calibration import Calibration, calibrate
from ebsdsg_ml.judgement import cross_calibrated, judge
from ebsdsg_ml.pooling import effective_number, pooled
from ebsdsg_ml.temperature import (
    CalibrationError,
    calibration_error,
    fit_temperature,
    log_loss,
    reliability,
    soft_max,
)
from ebsdsg_ml.unknown import auroc, unknown_score


def honest(rng: np.random.Generator, k: int, n: int = 20) -> tuple[np.ndarray, ...]:
    """Outputs whose soft-max is exactly right: the class is drawn from it."""
    logits = np.repeat(rng.normal(scale=2, size=(k, 4)), n, axis=0)
    p = soft_max(logits)
    truth = (p.cumsum(axis=1) < rng.random((k * n, 1))).sum(axis=1)
    return logits, truth, np.repeat(np.arange(k), n)


def test_the_temperature_that_was_put_in_is_found() -> None:
    logits, truth, phase = honest(np.random.default_rng(0), 400)
    assert fit_temperature(logits * 3, truth, phase) == pytest.approx(3, rel=0.05)
    assert fit_temperature(logits, truth, phase) == pytest.approx(1, rel=0.05)
    best = log_loss(logits * 3, truth, phase, 3.0)
    assert best < log_loss(logits * 3, truth, phase, 2.5)
    assert best < log_loss(logits * 3, truth, phase, 3.6)


def test_calibration_error_falls_and_answers_stay() -> None:
    rng = np.random.default_rng(1)
    logits, truth, phase = honest(rng, 300)
    known = calibrate(logits * 4, truth, phase)
    new, new_truth, new_phase = honest(rng, 300)
    found = judge(known, new * 4, new_truth, new_phase)
    assert found["before"]["calibration_error"] > 0.1
    assert found["after"]["calibration_error"] < 0.03
    assert (known.probabilities(new * 4).argmax(axis=1) == new.argmax(axis=1)).all()
    assert Calibration.from_dict(known.to_dict()) == known


def test_reliability_by_hand() -> None:
    p = np.array([[0.95, 0.05], [0.9, 0.1], [0.4, 0.6], [0.55, 0.45]])
    truth = np.array([0, 1, 1, 0])
    rows = reliability(p, truth, bins=2)
    assert rows == [
        {"low": 0.5, "high": 1.0, "n": 4, "confidence": pytest.approx(0.75), "accuracy": 0.75}
    ]
    # (0.5, 0.75]: 2 of 2 right at 0.575; (0.75, 1]: 1 of 2 at 0.925
    assert calibration_error(p, truth, bins=4) == pytest.approx((0.425 + 0.425) / 2)


def test_a_fold_is_never_calibrated_by_its_own_answers() -> None:
    logits, truth, phase = honest(np.random.default_rng(2), 60)
    fold = phase % 3
    found, tables = cross_calibrated(logits, truth, phase, fold)
    spoiled = logits.copy()
    spoiled[fold == 1] = 50 * np.eye(4)[(truth[fold == 1] + 1) % 4]
    again, worse = cross_calibrated(spoiled, truth, phase, fold)
    assert again[1] == found[1] and again[0] != found[0]
    assert worse["sets"]["coverage"] < tables["sets"]["coverage"]
    assert found[1] == calibrate(
        logits[fold != 1], truth[fold != 1], phase[fold != 1], fitted_on=found[1].fitted_on
    )
    with pytest.raises(CalibrationError, match="two folds"):
        cross_calibrated(logits, truth, phase, np.arange(len(fold)) % 2)
    with pytest.raises(CalibrationError, match="two at least"):
        cross_calibrated(logits, truth, phase, fold * 0)


def test_no_answer_is_given_unless_the_set_is_one_group_and_sure_enough() -> None:
    known = Calibration(coverage=0.9, set_threshold=0.6, answer_threshold=0.7)
    p = np.array([[0.9, 0.1, 0.0], [0.65, 0.35, 0.0], [0.45, 0.45, 0.1], [0.34, 0.33, 0.33]])
    assert known.sets(p).sum(axis=1).tolist() == [1, 1, 2, 0]
    assert known.abstains(p).tolist() == [False, True, True, True]
    with pytest.raises(CalibrationError, match="no conformal threshold"):
        Calibration(temperature=2.0).sets(p)


def test_too_few_phases_or_unfit_arrays_are_refused() -> None:
    logits, truth, phase = honest(np.random.default_rng(3), 1)
    with pytest.raises(CalibrationError, match="two phases"):
        calibrate(logits, truth, phase)
    with pytest.raises(CalibrationError, match="whole numbers 0 to 3"):
        calibration_error(logits, truth + 4)
    with pytest.raises(CalibrationError, match="not a finite number"):
        calibrate(logits * np.nan, truth, phase)
    with pytest.raises(CalibrationError, match="temperature"):
        Calibration(temperature=0)


def test_energy_by_hand_and_area_under_the_curve() -> None:
    logits = np.log(np.array([[1.0, 2.0, 3.0], [10.0, 10.0, 20.0]]))
    assert unknown_score(logits) == pytest.approx(-np.log([6.0, 40.0]))
    assert unknown_score(logits, "max_logit") == pytest.approx(-np.log([3.0, 20.0]))
    assert unknown_score(logits, "max_probability") == pytest.approx([-0.5, -0.5])
    assert auroc([0, 1, 2], [3, 4]) == 1.0
    assert auroc([0, 1, 2], [1]) == pytest.approx(0.5)
    rng = np.random.default_rng(4)
    # two normals one standard deviation apart: Phi(1 / sqrt 2) = 0.760
    assert auroc(rng.normal(size=4000), rng.normal(1, 1, 4000)) == pytest.approx(0.760, abs=0.015)


def test_patterns_of_a_grain_are_worth_what_their_dependence_leaves() -> None:
    one = np.log([[0.6, 0.3, 0.1]])
    many = np.repeat(one, 5, axis=0)
    assert pooled(many) == pytest.approx([0.6, 0.3, 0.1])
    product = np.array([0.6, 0.3, 0.1]) ** 5
    assert pooled(many, 0.0) == pytest.approx(product / product.sum())
    assert pooled(one, 0.3) == pytest.approx([0.6, 0.3, 0.1])
    assert effective_number(5, 0.25) == pytest.approx(2.5)
    between = pooled(many, 0.25)[0]
    assert 0.6 < between < pooled(many, 0.0)[0]
    # one outlier does not decide
    assert pooled(np.log([[0.8, 0.2], [0.8, 0.2], [0.1, 0.9]])).argmax() == 0
    with pytest.raises(CalibrationError, match="0 to 1"):
        pooled(one, 2.0)
    with pytest.raises(CalibrationError, match="finite"):
        pooled([[-np.inf, 0.0]])


@pytest.mark.parametrize(
    ("k", "short_of"),
    [(8, ["sets", "risk", "false"]), (9, ["risk", "false"]), (18, ["risk", "false"]), (19, [])],
)
def test_too_few_phases_for_a_promise_are_said_to_be(k: int, short_of: list[str]) -> None:
    """A network that is always right abstains below nineteen phases, and says so."""
    rng = np.random.default_rng(k)
    phase = np.repeat(np.arange(k), 10)
    truth = phase % 5
    logits = rng.normal(size=(len(phase), 5)) + 12 * np.eye(5)[truth]
    known = calibrate(logits, truth, phase)
    p = known.probabilities(logits)
    said = known.limits()
    promises = {
        "sets": "sets of 90% (9 are needed): every set holds all groups",
        "risk": "a risk of 5% (19 are needed): every pattern abstains",
        "false": "5% of false alarms (19 are needed): no pattern is called unknown",
    }
    assert said == [f"{k} phases are too few for {promises[name]}" for name in short_of]
    assert known.sets(p).all() == ("sets" in short_of)
    assert known.abstains(p).all() == ("risk" in short_of)
    assert (known.unknown_threshold is None) == ("false" in short_of)
    # a risk that so many phases can keep is kept, and nothing is left to say
    modest = calibrate(logits, truth, phase, coverage=0.8, risk=0.2, false_alarms=0.2)
    assert modest.limits() == [] and not modest.abstains(p).all()


def test_a_network_that_is_surest_where_it_is_wrong_has_phases_enough_and_no_threshold() -> None:
    known = Calibration(
        coverage=0.9, set_threshold=0.5, answer_threshold=1.0, unknown_threshold=0.0, n_phases=40
    )
    assert known.limits() == ["no threshold keeps a risk of 5%: every pattern abstains"]
    assert Calibration(temperature=1.7).limits() == []


def test_levels_are_checked_by_name() -> None:
    logits, truth, phase = honest(np.random.default_rng(5), 20)
    with pytest.raises(CalibrationError, match="risk = 0: a probability between 0 and 1"):
        calibrate(logits, truth, phase, risk=0)
    with pytest.raises(CalibrationError, match="false_alarms = 1"):
        calibrate(logits, truth, phase, false_alarms=1)

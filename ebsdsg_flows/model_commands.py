"""What ``ebsdsg model`` does with a model: write it to a file, calibrate it, show what is known."""

from __future__ import annotations

from pathlib import Path

from ebsdsg_flows.prediction import ModelNotFound, find_model


def export_model(name: str, output: Path) -> Path:
    """Write a run's or an ensemble's model to one file that can be carried elsewhere.

    Parameters
    ----------
    name : see :func:`ebsdsg_flows.prediction.find_model`.
    output : file to write.
    """
    return find_model(name).save(output)


def calibrate_model(
    name: str,
    dataset: Path,
    output: Path,
    folds: list[int] | None = None,
    *,
    coverage: float = 0.9,
    risk: float = 0.05,
    false_alarms: float = 0.05,
) -> None:
    """Calibrate a model or an ensemble on phases that it never saw, and write it to a file.

    Parameters
    ----------
    name : see :func:`ebsdsg_flows.prediction.find_model`.
    dataset : data set of the model's classes.
    output : model file to write.
    folds : folds of the data set; all by default.
    coverage, risk, false_alarms : see :class:`ebsdsg_ml.calibration.Calibration`.

    Raises
    ------
    ebsdsg_ml.temperature.CalibrationError
        If a level is not between 0 and 1, or the phases are fewer than two.
    ModelNotFound
        If the model was trained on one of those phases, or does not say on which it was.
    """
    from ebsdsg_ml.calibration import calibrate, check_levels
    from ebsdsg_ml.evaluate import evaluate
    from ebsdsg_ml.judgement import judge

    check_levels(coverage=coverage, risk=risk, false_alarms=false_alarms)
    model = find_model(name)
    found = evaluate(model.calibrated(None), dataset, folds)
    if not found.held_out:
        raise ModelNotFound(
            f"{name} was trained on phases of {dataset}, or does not say on which it was trained: "
            "calibrate it on folds or a data set of other phases"
        )
    where = dataset.name if folds is None else f"folds {folds} of {dataset.name}"
    known = calibrate(
        found.logits,
        found.truth,
        found.phase,
        coverage=coverage,
        risk=risk,
        false_alarms=false_alarms,
        fitted_on=f"phases of {where}",
    )
    model.calibrated(known).save(output)
    tables = judge(known, found.logits, found.truth, found.phase)
    print(
        f"temperature {known.temperature:.2f}; calibration error "
        f"{tables['before']['calibration_error']:.3f} before, "
        f"{tables['after']['calibration_error']:.3f} after (on the same patterns); {output}"
    )
    for limit in known.limits():
        print(limit)


def show_model(name: str) -> None:
    """Print what is known of a model, as JSON.

    Parameters
    ----------
    name : see :func:`ebsdsg_flows.prediction.find_model`.
    """
    import json

    from ebsdsg_ml.answer_files import plain_card

    model = find_model(name)
    networks = len(getattr(model, "members", [model]))
    print(json.dumps({"networks": networks, **plain_card(model.card)}, indent=1))

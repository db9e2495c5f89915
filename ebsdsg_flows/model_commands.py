"""What ``ebsdsg model`` does with a model: write it to a file, calibrate it, show what is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ebsdsg_flows.prediction import ModelNotFound, find_model

if TYPE_CHECKING:
    from ebsdsg_ml.ensemble_model import AnyModel
    from ebsdsg_ml.evaluate import Evaluation
    from ebsdsg_ml.experimental.known_phases import KnownAnswers


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
    datasets: list[Path],
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
    datasets : a data set of the model's classes, or sets of imported patterns of known phases.
    output : model file to write.
    folds : folds of the data set; all by default.
    coverage, risk, false_alarms : see :class:`ebsdsg_ml.calibration.Calibration`.

    Raises
    ------
    ebsdsg_ml.temperature.CalibrationError
        If a level is not between 0 and 1, or the phases are fewer than two.
    ModelNotFound
        If the model was trained on one of those phases, or does not say on which it was.
    ebsdsg_ml.evaluate.EvaluationError
        If there are several data sets, or folds of imported patterns are asked for.
    ebsdsg_ml.experimental.scan.PatternFileError
        If imported patterns are not what the model takes, or their phases are not known.
    """
    from ebsdsg_ml.calibration import calibrate, check_levels
    from ebsdsg_ml.judgement import judge

    check_levels(coverage=coverage, risk=risk, false_alarms=false_alarms)
    model = find_model(name)
    found, fitted_on = _answers(model.calibrated(None), name, datasets, folds)
    known = calibrate(
        found.logits,
        found.truth,
        found.phase,
        coverage=coverage,
        risk=risk,
        false_alarms=false_alarms,
        fitted_on=fitted_on,
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


def _answers(
    model: AnyModel, name: str, datasets: list[Path], folds: list[int] | None
) -> tuple[Evaluation | KnownAnswers, str]:
    """Answers for phases that the model never saw, and which phases those are."""
    from ebsdsg_ml.evaluate import EvaluationError, evaluate
    from ebsdsg_ml.experimental.known_phases import known_answers
    from ebsdsg_ml.experimental.pattern_set import is_pattern_set

    if datasets and all(is_pattern_set(path) for path in datasets):
        if folds is not None:
            raise EvaluationError("imported patterns have no folds: leave --fold out")
        known = known_answers(model, datasets)
        print(
            "that the model was not trained on these materials is your word: files name no entries"
        )
        return known, f"imported patterns of {', '.join(known.phases)}"
    if len(datasets) != 1:
        raise EvaluationError("give one data set, or one or several sets of imported patterns")
    dataset = datasets[0]
    found = evaluate(model, dataset, folds)
    if not found.held_out:
        raise ModelNotFound(
            f"{name} was trained on phases of {dataset}, or does not say on which it was trained: "
            "calibrate it on folds or a data set of other phases"
        )
    where = dataset.name if folds is None else f"folds {folds} of {dataset.name}"
    return found, f"phases of {where}"


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

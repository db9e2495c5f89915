"""What models, runs, patterns and answers look like in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ebsdsg_ml.calibration import percent
from ebsdsg_ml.figures import class_name
from ebsdsg_sim.card import Raw, card, picture, table

if TYPE_CHECKING:
    from ebsdsg_ml.ensemble_model import AnyModel
    from ebsdsg_ml.experimental.pattern_set import PatternSet
    from ebsdsg_ml.predict import Prediction, Predictions
    from ebsdsg_ml.training_result import TrainingResult

SHOWN = 6
"""Patterns of a set that are drawn."""
MOST = 40
"""Answers in a table."""
SMALL = 56
"""Pixels of a pattern in a table."""


def model_card(model: AnyModel) -> str:
    """HTML of a model or an ensemble."""
    known, size = model.card, model.card.preprocessing.size
    calibration = known.calibration
    members = getattr(model, "members", None)
    facts = {
        "classes": ", ".join(class_name(number) for number in model.classes),
        "labels": f"{known.label} space groups",
        "patterns": f"{size} × {size} pixels",
        "networks": 1 if members is None else len(members),
        "calibration": "none: probabilities are the network's own"
        if calibration is None
        else f"temperature {calibration.temperature:.2f}"
        + ("" if calibration.coverage is None else f", sets of {percent(calibration.coverage)}")
        + "; ".join([f", {calibration.n_phases} phases", *calibration.limits()]),
        "weights began": "at random" if known.weights_origin == "none" else known.weights_origin,
        "made by": f"ebsdsg {known.code_version}",
    }
    return card(known.model, facts)


def training_card(result: TrainingResult) -> str:
    """HTML of a finished training."""
    fold = "all" if result.validation_fold is None else f"all but {result.validation_fold}"
    accuracy = result.validation_accuracy
    facts = {
        "accuracy": "no fold was left out"
        if accuracy is None
        else f"{accuracy:.1%} of {result.n_validation} patterns of phases not seen in training",
        "trained on": f"folds {fold}, {result.n_training} patterns",
        "epochs": f"{len(result.history)}, the weights are those of epoch {result.best_epoch}",
        "classes": ", ".join(class_name(number) for number in result.classes),
        "took": f"{result.seconds:.0f} s on {result.device}, {result.precision}",
        "model": result.model_path,
    }
    return card(f"Training of {result.config.model}", facts)


def answers_card(found: Predictions) -> str:
    """HTML of the answers for some files, and of what was wrong with others."""
    rows = [
        (
            Raw(picture(answer.pattern, answer.name, pixels=SMALL)),
            answer.name,
            class_name(answer.space_group),
            f"{answer.probability:.2f}",
            _set_of(answer),
            answer.verdict,
            f"{answer.image_quality:.2f}",
            " ".join(map(str, answer.confusable)) or "none",
        )
        for answer in found.answers[:MOST]
    ]
    head = ("", "pattern", "group", "p", "set", "verdict", "IQ", "near")
    left = len(found.answers) - len(rows)
    errors = [*([f"{left} more answers"] if left else []), *found.errors]
    below = card("", {str(i): text for i, text in enumerate(errors, 1)}) if errors else ""
    return table(head, rows) + below


def answer_card(answer: Prediction) -> str:
    """HTML of one answer."""
    facts = {
        "space group": f"{class_name(answer.space_group)}, p = {answer.probability:.2f}",
        "verdict": answer.verdict,
        "set": _set_of(answer),
        "others": ", ".join(
            f"{number}: {p:.2f}"
            for number, p in sorted(answer.probabilities.items(), key=lambda item: -item[1])[1:]
        ),
        "image quality": f"{answer.image_quality:.2f} (Krieger Lassen)",
        "one step away": " ".join(map(str, answer.confusable)) or "none",
    }
    if answer.patterns > 1:
        facts["patterns"] = f"{answer.patterns} of one grain; the best is shown"
    return card(answer.name, facts, [picture(answer.pattern, answer.name)])


def patterns_card(held: PatternSet) -> str:
    """HTML of a set of experimental patterns."""
    from ebsdsg_ml.experimental.sheet import phase_summary

    phases = [
        f"{row['name'] or 'not known'}"
        + (f", {class_name(row['space_group'])}" if row["space_group"] else "")
        + f": {row['patterns']}"
        for row in phase_summary(held)
    ]
    known = held.quality[~np.isnan(held.quality)]
    facts = {
        "phases": "; ".join(phases),
        "image quality": f"{known.min():.2f} to {known.max():.2f} (Krieger Lassen)"
        if len(known)
        else "not measured",
        "files": f"{len(held.sources)}",
        "oriented": f"{int((~np.isnan(held.quaternions).any(axis=1)).sum())} of {len(held)}",
    }
    names = held.names()
    drawn = [
        picture(image, name, pixels=96)
        for image, name in zip(held.patterns[:SHOWN], names, strict=False)
    ]
    size = held.processing["size"]
    return card(f"{len(held)} experimental patterns, {size} × {size} pixels", facts, drawn)


def _set_of(answer: Prediction) -> str:
    if answer.in_set is None:
        return "not calibrated"
    return " ".join(map(str, answer.in_set)) or "empty"

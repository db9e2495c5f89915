"""Figures that need every answer of some runs: certainty, sets of groups, quality, a mistake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.figures.named import NamedFigure
from ebsdsg_flows.kept_answers import kept_answers
from ebsdsg_flows.settings import get_settings

if TYPE_CHECKING:
    import numpy as np

    from ebsdsg_ml.dataset_file import OpenDataset
    from ebsdsg_ml.evaluate import Evaluation
    from stores.collections import Stores

MEASURED = 4000
"""Patterns whose image quality is measured, spread over the answers."""

COMPARED = 20_000
"""Patterns of a data set up to which a mistake is compared with all of them."""


def answer_figures(stores: Stores, runs: Sequence[dict[str, Any]]) -> list[NamedFigure]:
    """Figures of the answers that runs gave for what each did not see.

    Parameters
    ----------
    stores : open database.
    runs : documents of training runs of one data set, such as the folds of a cross-validation.

    Returns
    -------
    Reliability and sizes of sets where the runs are calibrated by other answers than these;
    accuracy against image quality and the most certain mistake where the patterns are stored.
    Nothing if no run was evaluated.

    Raises
    ------
    ebsdsg_flows.datasets.MissingPattern
        If answers are not where the database says.
    """
    from ebsdsg_ml.evaluate import join

    pairs = [(run, kept_answers(stores, run)) for run in runs]
    known = [(run, answers) for run, answers in pairs if answers is not None]
    if not known:
        return []
    joined = join([answers for _, answers in known])
    figures = certainty_figures([(run, a.logits, a.truth) for run, a in known])
    return figures + _of_patterns(stores, runs[0]["dataset"], joined)


def certainty_figures(
    answered: Sequence[tuple[Mapping[str, Any], np.ndarray, np.ndarray]],
) -> list[NamedFigure]:
    """Reliability and sizes of sets of runs that are calibrated by other answers than these.

    Parameters
    ----------
    answered : runs' documents, each with the (n, classes) outputs and the (n,) true classes of the
        patterns that it did not see.

    Returns
    -------
    Nothing if a run has no such calibration.
    """
    import numpy as np

    from ebsdsg_ml.calibration import Calibration
    from ebsdsg_ml.temperature import soft_max

    calibrations = [run.get("calibration", {}).get("evaluation") for run, _, _ in answered]
    if not all(calibrations):
        return []
    loaded = [Calibration.from_dict(values) for values in calibrations]
    after = [c.probabilities(logits) for c, (_, logits, _) in zip(loaded, answered, strict=True)]
    before = [soft_max(logits) for _, logits, _ in answered]
    truth = np.concatenate([true for _, _, true in answered])
    figures = [_reliability(np.concatenate(before), np.concatenate(after), truth)]
    if all(c.coverage is not None for c in loaded):
        sets = [c.sets(p) for c, p in zip(loaded, after, strict=True)]
        figures.append(_sizes(np.concatenate(sets), truth, loaded[0].coverage or 0))
    return figures


def _reliability(before: np.ndarray, after: np.ndarray, truth: np.ndarray) -> NamedFigure:
    from ebsdsg_ml.figures import reliability_figure
    from ebsdsg_ml.temperature import calibration_error, reliability

    curves = {"as trained": before, "calibrated": after}
    errors = [100 * calibration_error(p, truth) for p in curves.values()]
    return NamedFigure(
        "reliability",
        "Reliability",
        f"Of answers with 80 % probability, 80 % should be right. Calibration error "
        f"{errors[0]:.1f} % as trained, {errors[1]:.1f} % calibrated on other phases.",
        reliability_figure({name: reliability(p, truth) for name, p in curves.items()}),
    )


def _sizes(sets: np.ndarray, truth: np.ndarray, coverage: float) -> NamedFigure:
    from ebsdsg_ml.conformal import set_sizes
    from ebsdsg_ml.figures import set_size_figure

    rows = set_sizes(sets, truth)
    held = sum(row["covered"] for row in rows) / len(truth)
    return NamedFigure(
        "set_size",
        "Groups in the answer's set",
        f"Sets made to hold the right group with {100 * coverage:.0f} % probability hold it for "
        f"{100 * held:.0f} % of the patterns; the smaller, the more is known.",
        set_size_figure({"sets": rows}),
        rows,
    )


def _of_patterns(stores: Stores, dataset: str, answers: Evaluation) -> list[NamedFigure]:
    from ebsdsg_ml.dataset_file import open_dataset

    document = stores.datasets.find_one({"key": dataset}, {"file": True})
    if document is None:
        return []
    with open_dataset(get_settings().root / document["file"]["path"]) as opened:
        if opened.patterns is None:
            return []
        figures = [_quality(opened, answers)]
        mistake = _mistake(opened, answers) if len(opened) <= COMPARED else None
    return [*figures, mistake] if mistake else figures


def _quality(opened: OpenDataset, answers: Evaluation) -> NamedFigure:
    import numpy as np
    import torch

    from ebsdsg_ml.analysis.runs import accuracy_by_quality
    from ebsdsg_ml.figures import quality_figure
    from ebsdsg_ml.quality import QualityDefinition

    assert opened.patterns is not None, "asked before"
    n = len(answers.rows)
    chosen = np.unique(np.linspace(0, n - 1, min(n, MEASURED)).round().astype(int))
    # rows of an HDF5 file are read in their order
    chosen = chosen[np.argsort(answers.rows[chosen])]
    patterns = torch.from_numpy(np.asarray(opened.patterns[answers.rows[chosen]]))
    quality = QualityDefinition(size=patterns.shape[-1]).measure(patterns).numpy()
    rows = accuracy_by_quality(
        {
            "image_quality": float(q),
            "space_group": int(answers.predicted[i]),
            "truth": int(answers.truth[i]),
        }
        for i, q in zip(chosen, quality, strict=True)
        if np.isfinite(q)
    )
    return NamedFigure(
        "quality",
        "Accuracy against image quality",
        f"{len(chosen)} of {n} answers in classes of equally many patterns; image quality after "
        "Krieger Lassen. The intervals take the patterns of a class as independent.",
        quality_figure({"answers": rows}),
        rows,
    )


def _mistake(opened: OpenDataset, answers: Evaluation) -> NamedFigure | None:
    """The most certain wrong answer beside the most similar patterns of both groups."""
    import numpy as np

    from ebsdsg_ml.figures import candidate_figure, class_name
    from ebsdsg_ml.temperature import soft_max

    wrong = np.flatnonzero(answers.predicted != answers.truth)
    if not len(wrong):
        return None
    assert opened.patterns is not None, "asked before"
    at = int(wrong[soft_max(answers.logits[wrong]).max(axis=1).argmax()])
    row, phase = int(answers.rows[at]), int(answers.phase[at])
    flat = np.asarray(opened.patterns).reshape(len(opened), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    likeness = flat @ flat[row]
    candidates = {}
    for kind, group in (("true", answers.truth[at]), ("answered", answers.predicted[at])):
        number = answers.classes[int(group)]
        others = np.flatnonzero((opened.label == number) & (opened.phase != phase))
        if not len(others):
            return None
        best = int(others[likeness[others].argmax()])
        formula = opened.phases[int(opened.phase[best])]["formula"]
        candidates[f"{formula}<br>{kind} {class_name(number)}"] = np.asarray(opened.patterns[best])
    name = f"{answers.formulas[phase]}"
    return NamedFigure(
        "candidates",
        "The most certain mistake",
        f"A pattern of {name} ({answers.phases[phase]}), and the patterns of other phases in the "
        "true and in the answered group that are most like it (NCC: normalised cross-correlation).",
        candidate_figure(np.asarray(opened.patterns[row]), candidates, name=name),
    )

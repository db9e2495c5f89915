"""From the answers of part A to its tables: accuracies, intervals, and what the confusions are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ebsdsg_ml.ensemble import t_interval
from ebsdsg_ml.metrics import phase_bootstrap
from ebsdsg_sim.subgroups import explains, maximal_k_subgroups

from .relabelling import CLASSES, LABELS


def confusion(answers: Mapping[str, Sequence[int]], labels: Mapping[str, int]) -> np.ndarray:
    """Confusion matrix of the answers.

    Parameters
    ----------
    answers : phase -> number of answers by class.
    labels : phase -> space group.

    Returns
    -------
    (5, 5) counts; rows are true classes.
    """
    matrix = np.zeros((len(CLASSES), len(CLASSES)), dtype=int)
    for phase, counts in answers.items():
        matrix[CLASSES.index(labels[phase])] += np.asarray(counts, dtype=int)
    return matrix


def balanced(matrix: np.ndarray) -> float:
    """Mean of the classes' accuracies: every class counts alike, as in the paper's data sets."""
    return float(np.mean(np.diag(matrix) / matrix.sum(axis=1)))


def phase_limits(
    answers: Mapping[str, Sequence[int]], labels: Mapping[str, int]
) -> tuple[float, float]:
    """95 % interval of the balanced accuracy, the phases of every class drawn anew; see
    `ebsdsg_ml.metrics.phase_bootstrap`.

    Returns
    -------
    Lower and upper limit.
    """
    groups = [labels[phase] for phase in answers]
    right = [
        counts[CLASSES.index(group)] for counts, group in zip(answers.values(), groups, strict=True)
    ]
    total = [sum(counts) for counts in answers.values()]
    return phase_bootstrap(right, total, groups, balanced=True)


def joined_groups() -> set[frozenset[int]]:
    """Pairs of the five classes of which one is a maximal *klassen*-subgroup of the other."""
    return {
        frozenset((group, step.subgroup))
        for group in CLASSES
        for step in maximal_k_subgroups(group)
        if step.subgroup in CLASSES and step.subgroup != group
    }


def allowed_share(matrix: np.ndarray) -> dict[str, float | int]:
    """How many of the confusions the subgroup graph allows.

    Parameters
    ----------
    matrix : (5, 5) counts; rows are true classes.

    Returns
    -------
    ``confusions`` (number), ``joined`` (share between groups that one step of the graph joins,
    either way), ``joined_by_chance`` (the same if every wrong class were as likely), ``supergroup``
    (share whose answer is a supergroup of the truth by an index of at most 8) and
    ``supergroup_by_chance``.
    """
    joined = joined_groups()
    n = len(CLASSES)
    near = np.array([[frozenset((a, b)) in joined for b in CLASSES] for a in CLASSES])
    above = np.array([[a != b and explains(a, b) is not None for b in CLASSES] for a in CLASSES])
    wrong = matrix * (1 - np.eye(n, dtype=int))
    total = int(wrong.sum())
    rows = wrong.sum(axis=1)

    def share(mask: np.ndarray) -> float:
        return float(wrong[mask].sum() / total) if total else float("nan")

    def chance(mask: np.ndarray) -> float:
        return float((rows * mask.sum(axis=1) / (n - 1)).sum() / total) if total else float("nan")

    return {
        "confusions": total,
        "joined": share(near),
        "joined_by_chance": chance(near),
        "supergroup": share(above),
        "supergroup_by_chance": chance(above),
    }


def summary(
    cells: Iterable[Mapping[str, Any]], labels: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    """Tables of the study from its cells.

    Parameters
    ----------
    cells : of :func:`run_cell`; all folds of a label.
    labels : kind of label -> phase -> space group.

    Returns
    -------
    By kind of label: ``balanced`` and ``per_pattern`` accuracy, ``folds`` (balanced accuracy of
    each), ``interval`` (over folds, Student), ``bootstrap`` (over phases), ``confusion``,
    ``allowed``, ``by_class``, ``phases`` (accuracy of each), ``phases_right`` (share of
    phases whose most frequent answer is right), and the networks' own numbers; and with both labels
    the ``difference``.
    """
    cells = list(cells)
    out: dict[str, Any] = {}
    answers_of: dict[str, dict[str, list[int]]] = {}
    for label in LABELS:
        mine = sorted((c for c in cells if c["label"] == label), key=lambda c: c["fold"])
        if not mine:
            continue
        truth = labels[label]
        answers = {phase: counts for cell in mine for phase, counts in cell["answers"].items()}
        answers_of[label] = answers
        matrix = confusion(answers, truth)
        folds = [balanced(confusion(cell["answers"], truth)) for cell in mine]
        out[label] = {
            "balanced": balanced(matrix),
            "per_pattern": float(np.trace(matrix) / matrix.sum()),
            "folds": folds,
            "interval": t_interval(folds).to_dict(),
            "bootstrap": phase_limits(answers, truth),
            "confusion": matrix.tolist(),
            "allowed": allowed_share(matrix),
            "by_class": [float(v) for v in np.diag(matrix) / matrix.sum(axis=1)],
            "phases": {
                phase: counts[CLASSES.index(truth[phase])] / sum(counts)
                for phase, counts in answers.items()
            },
            "phases_right": float(
                np.mean(
                    [
                        CLASSES[int(np.argmax(counts))] == truth[phase]
                        for phase, counts in answers.items()
                    ]
                )
            ),
            "n_phases": [sum(truth[p] == group for p in answers) for group in CLASSES],
            **{
                name: [cell[name] for cell in mine]
                for name in (
                    "validation_accuracy",
                    "last_accuracy",
                    "training_accuracy",
                    "best_epoch",
                    "n_training",
                    "training_cpu_seconds",
                    "projection_cpu_seconds",
                )
            },
        }
    if len(answers_of) == 2:
        out["difference"] = difference(answers_of, labels)
    return out


def difference(
    answers: Mapping[str, Mapping[str, Sequence[int]]],
    labels: Mapping[str, Mapping[str, int]],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Accuracy with relabelled less that with true groups, with its 95 % interval.

    Parameters
    ----------
    answers : kind of label -> phase -> number of answers by class; phases that only one of them
        has, because folds are missing, are left out.
    labels : kind of label -> phase -> space group.
    draws, seed : of the bootstrap: phases are drawn among those of the same true and relabelled
        group, and both accuracies computed from the same draw.

    Returns
    -------
    ``n_phases``, and for ``balanced`` accuracy (every class counts alike; left out if a class is
    missing) and ``per_phase`` accuracy (every phase counts alike): ``mean`` (of the study as it
    is), ``low``, ``high``, and ``share_of_draws`` in which the relabelled groups are ahead.
    """
    phases = sorted(answers["true"].keys() & answers["relabelled"].keys())
    pairs: dict[tuple[int, int], list[int]] = {}
    for place, phase in enumerate(phases):
        key = labels["true"][phase], labels["relabelled"][phase]
        pairs.setdefault(key, []).append(place)
    right, place_of = {}, {}
    for kind in LABELS:
        place_of[kind] = np.array([CLASSES.index(labels[kind][p]) for p in phases])
        right[kind] = np.array(
            [
                answers[kind][p][c] / sum(answers[kind][p])
                for p, c in zip(phases, place_of[kind], strict=True)
            ]
        )

    def balanced_gain(rows: np.ndarray) -> float:
        means = [
            np.mean([right[kind][rows][place_of[kind][rows] == c].mean() for c in range(5)])
            for kind in LABELS
        ]
        return float(means[1] - means[0])

    def phase_gain(rows: np.ndarray) -> float:
        return float((right["relabelled"][rows] - right["true"][rows]).mean())

    gains = {"per_phase": phase_gain}
    if all(len(np.unique(place_of[kind])) == len(CLASSES) for kind in LABELS):
        gains["balanced"] = balanced_gain
    out: dict[str, Any] = {"n_phases": len(phases)}
    for name, gain in gains.items():
        rng = np.random.default_rng(seed)
        drawn = np.array(
            [
                gain(np.concatenate([rng.choice(rows, len(rows)) for rows in pairs.values()]))
                for _ in range(draws)
            ]
        )
        low, high = np.percentile(drawn, (2.5, 97.5))
        out[name] = {
            "mean": gain(np.arange(len(phases))),
            "low": float(low),
            "high": float(high),
            "share_of_draws": float((drawn > 0).mean()),
        }
    return out

"""The page's section on true against relabelled groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ebsdsg_ml.figures import SYMBOLS

from .numbers_said import percent, spread
from .relabelling import CLASSES, LABELS


def _unfinished(tables: Mapping[str, Any], n_folds: int) -> list[str]:
    """Say which part of the cross-validation there is, if it is not all."""
    done = {label: len(tables[label]["folds"]) for label in LABELS if label in tables}
    if all(n == n_folds for n in done.values()):
        return []
    said = " and ".join(f"{n} with {label} groups" for label, n in done.items())
    return [
        f"**Not finished:** of the {n_folds} folds {said} were done in the time there was; the "
        "phases of the others were learned from but not asked about. The same command goes on with "
        "them.",
        "",
    ]


def _difference(tables: Mapping[str, Any]) -> list[str]:
    """Who is ahead, in one table."""
    found = tables.get("difference")
    if found is None:
        return []
    lines = [
        f"Relabelled less true groups on the same {found['n_phases']} phases and patterns "
        "[percentage points; 95 % over phases, both labels from the same draws]:",
        "",
        "| | difference | 95 % | relabelled ahead in |",
        "|---|---|---|---|",
    ]
    for name, said in (
        ("balanced", "every class counts alike"),
        ("per_phase", "every phase counts alike"),
    ):
        if name in found:
            row = found[name]
            lines.append(
                f"| {said} | **{100 * row['mean']:+.1f}** | {100 * row['low']:+.1f} to "
                f"{100 * row['high']:+.1f} | {percent(row['share_of_draws'], 0)} % of the draws |"
            )
    return [*lines, ""]


def relabelling_part(results: Mapping[str, Any]) -> list[str]:
    """Section of part A."""
    tables = results["relabelling"]
    protocol = results["protocol"]
    training = protocol["training"]
    n_train = max(tables[LABELS[0]]["n_training"])
    lines = [
        "## True against relabelled groups",
        "",
        f"{training['model']} from random weights, patterns of {protocol['size']} × "
        f"{protocol['size']} pixels, {protocol['patterns_per_class']} patterns of every class "
        f"(about {n_train} to train on in a fold), {training['epochs']} epochs, "
        f"{training['optimizer']} with at most {training['learning_rate']:g} "
        f"({training['schedule']}), batches of {training['batch_size']}; "
        f"{protocol['n_folds']} folds that share no phase. A network of every fold and label then "
        f"answers for {protocol['test_patterns']} patterns of every phase of its held-out fold, in "
        "orientations that occur nowhere else: the same patterns for both labels. Accuracies are "
        "means over the five classes, so that a class with many phases does not count for more; "
        "this is what the equal class totals of the paper amount to.",
        "",
        "| groups | accuracy [%], mean of folds ± 95 % | 95 % over phases | every phase alike [%] "
        "| phases right by vote [%] | folds [%] |",
        "|---|---|---|---|---|---|",
    ]
    for label in LABELS:
        part = tables.get(label)
        if part is None:
            continue
        low, high = part["bootstrap"]
        lines.append(
            f"| {label} | **{spread(part['interval'])}** | {percent(low)} to {percent(high)} "
            f"| {percent(part['per_pattern'])} | {percent(part['phases_right'])} "
            f"| {', '.join(percent(v) for v in part['folds'])} |"
        )
    lines += [
        "",
        "The first interval is Student's over the folds, the second draws the phases of every "
        "class anew (cluster bootstrap): patterns of one phase succeed or fail together.",
        "",
        *_unfinished(tables, protocol["n_folds"]),
        *_difference(tables),
        "| accuracy by class [%] | " + " | ".join(f"{SYMBOLS[c]} ({c})" for c in CLASSES) + " |",
        "|---|" + "---|" * len(CLASSES),
    ]
    for label in LABELS:
        if label in tables:
            part = tables[label]
            values = [
                f"{percent(v, 0)} % ({n} phases)"
                for v, n in zip(part["by_class"], part["n_phases"], strict=True)
            ]
            lines.append(f"| {label} | " + " | ".join(values) + " |")
    lines += [
        "",
        "![Confusion matrices](learning_confusion.png)",
        "",
        "Share of the true class [%]; rows are true classes.",
        "",
        "### Are the confusions those that crystallography expects?",
        "",
        "Of the ten pairs of the five groups three are joined by a maximal *klassen*-subgroup: "
        "Pm-3m–Fm-3m, Pm-3m–Im-3m, Im-3m–Pm-3n. “By chance” is what the share would be if every "
        "wrong answer were as likely, with the errors of every true class as they are.",
        "",
        "| groups | wrong answers | joined by one step [%] | by chance [%] "
        "| answer is a supergroup of the truth [%] | by chance [%] |",
        "|---|---|---|---|---|---|",
    ]
    for label in LABELS:
        if label in tables:
            a = tables[label]["allowed"]
            lines.append(
                f"| {label} | {a['confusions']} | {percent(a['joined'])} "
                f"| {percent(a['joined_by_chance'])} | {percent(a['supergroup'])} "
                f"| {percent(a['supergroup_by_chance'])} |"
            )
    lines += [
        "",
        "What the networks say of themselves (epoch of highest accuracy on the held-out fold is "
        "kept, as in the paper; the last epoch beside it shows what that choice is worth):",
        "",
        "| groups | held-out fold, kept epoch [%] | held-out fold, last epoch [%] "
        "| training patterns [%] |",
        "|---|---|---|---|",
    ]
    for label in LABELS:
        if label in tables:
            part = tables[label]
            numbers = " | ".join(
                percent(float(np.mean(part[name])))
                for name in ("validation_accuracy", "last_accuracy", "training_accuracy")
            )
            lines.append(f"| {label} | {numbers} |")
    return lines

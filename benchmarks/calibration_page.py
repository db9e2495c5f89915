"""Page and picture of ``benchmarks/calibration.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def picture(tables: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Reliability before and after, one panel for each label."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(tables), figsize=(5 * len(tables), 4.8), squeeze=False)
    for axis, table in zip(axes[0], tables, strict=True):
        axis.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="as certain as right")
        for name, colour, marker in (("before", "#D55E00", "s"), ("after", "#0072B2", "o")):
            rows = table[name]["reliability"]
            n = np.array([row["n"] for row in rows])
            x = [row["confidence"] for row in rows]
            y = [row["accuracy"] for row in rows]
            error = table[name]["calibration_error"]
            axis.plot(x, y, color=colour, linewidth=1)
            size = 12 + 200 * n / n.sum()
            said = f"{name} scaling: calibration error {error:.3f}"
            axis.scatter(x, y, s=size, color=colour, marker=marker, label=said)
        axis.set(
            title=f"{table['label']} groups, {table['n_phases']} phases held out",
            xlabel="probability of the answer",
            ylabel="share of right answers",
            xlim=(0, 1),
            ylim=(0, 1),
            aspect="equal",
        )
        axis.legend(loc="lower right", fontsize=8, frameon=False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def page(tables: Sequence[Mapping[str, Any]], unknown: Sequence[Mapping[str, Any]]) -> str:
    """The page in Markdown."""
    sources = " ".join(f"docs/validation/{source_name(t)}" for t in tables)
    lines = [
        "# How honest the probabilities are",
        "",
        "Made by `python benchmarks/calibration.py --predictions " + sources + "`. What the words",
        "mean is told in [the page on probabilities](../explanation/probabilities.md). The answers",
        "are those of networks of the learning study, every phase answered by the network of the",
        "fold that left it out; each fold is judged by a calibration fitted on the *other* folds.",
        "",
    ]
    lines += ["## Calibration error", ""]
    lines += [
        "| groups | folds | phases | patterns | accuracy | temperature | error before | after | "
        "log loss before | after |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for t in tables:
        low, high = min(t["temperatures"]), max(t["temperatures"])
        lines.append(
            f"| {t['label']} | {t['n_folds']} | {t['n_phases']} | {t['n_patterns']} | "
            f"{t['accuracy']:.1%} | {low:.2f} to {high:.2f} | "
            f"{t['before']['calibration_error']:.3f} | {t['after']['calibration_error']:.3f} | "
            f"{t['before']['log_loss']:.3f} | "
            f"{t['after']['log_loss']:.3f} |"
        )
    t = tables[0]
    lines += [
        "",
        f"({t['network']}, patterns of {t['size']} pixels; error with {t['before']['bins']} bins "
        "of equal width, patterns alike; log loss in nat, phases alike.)",
        "",
        "![Reliability](../images/reliability.png)",
        "",
        "## Coverage of the sets",
        "",
        "Phases count alike; ± is one standard error over phases.",
        "",
        "| groups | score | nominal | covered | off by | classes in a set | one class | empty | "
        "phases covered below half |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for t in tables:
        for row in t["by_level"]:
            lines.append(
                f"| {t['label']} | {row['score'].upper()} | {row['level']:.0%} | "
                f"{row['coverage']:.1%} ± {row['standard_error']:.1%} | "
                f"{row['coverage'] - row['level']:+.1%} | {row['size']:.2f} | "
                f"{row['single']:.0%} | {row['empty']:.1%} | {row['phases_below_half']:.0%} |"
            )
    lines += [
        "",
        "The same answers (LAC) with every phase judged by all others, as a final model is "
        f"calibrated; and in {t['n_splits']} random halves of the phases, one calibrating, the "
        "other judging: with phases as the unit, as here, with patterns taken as if they were "
        "independent, and the share of patterns answered wrongly at the threshold of the risk.",
        "",
        "| groups | nominal | one phase left out | off by | halves, by phases (± spread of one) | "
        "halves, by patterns | stated risk | answered and wrong |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for t in tables:
        for row in t["splits"]:
            lines.append(
                f"| {t['label']} | {row['level']:.0%} | {row['one_out']:.1%} ± "
                f"{row['one_out_error']:.1%} | {row['one_out'] - row['level']:+.1%} | "
                f"{row['by_phase']:.1%} ± {row['by_phase_sd']:.1%} | {row['by_pattern']:.1%} | "
                f"{1 - row['level']:.0%} | {row['risk']:.1%} |"
            )
    lines += ["", "By true group (90 %, LAC, folds): the promise is for all groups together.", ""]
    lines += ["| groups | group | phases | accuracy | covered |", "|---|---|---|---|---|"]
    for t in tables:
        for row in t["by_class"]:
            lines.append(
                f"| {t['label']} | {row['group']} | {row['phases']} | {row['accuracy']:.0%} | "
                f"{row['coverage']:.0%} |"
            )
    lines += ["", "## Answers withheld", ""]
    lines += [
        "With the set of the level *and* the threshold of the risk (folds, LAC): an answer is "
        "given if the set holds one group and its probability exceeds the threshold.",
        "",
        "| groups | level | stated risk | answered | answered and wrong | wrong if all were "
        "answered | known patterns called unknown |",
        "|---|---|---|---|---|---|---|",
    ]
    for t in tables:
        for row in t["by_level"]:
            if row["score"] == "lac":
                lines.append(
                    f"| {t['label']} | {row['level']:.0%} | {row['risk']:.0%} | "
                    f"{row['answered']:.0%} | {row['answered_and_wrong']:.1%} | {t['wrong']:.0%} | "
                    f"{row['called_strange']:.1%} |"
                )
    if unknown:
        lines += [
            "",
            "## Phases of a group that was left out",
            "",
            "A network that never saw one relabelled group (`benchmarks/unknown_phases.py`): area "
            "under the ROC curve of telling its patterns from those of known groups, all of phases "
            "never seen, and the share caught at the threshold that calls 5 % of known patterns "
            "unknown (energy). 0.5 is chance.",
            "",
            "| left out | its phases | known phases held out | accuracy on known | energy | "
            "largest output | largest probability | caught |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for group in dict.fromkeys(row["group"] for row in unknown):
            rows = {row["score"]: row for row in unknown if row["group"] == group}
            e = rows["energy"]
            lines.append(
                f"| {group} | {e['phases']} | {e['known_phases']} | {e['accuracy']:.0%} | "
                f"{e['auroc']:.2f} | {rows['max_logit']['auroc']:.2f} | "
                f"{rows['max_probability']['auroc']:.2f} | {e['caught']:.0%} |"
            )
    lines += ["", *verdict(tables, unknown), ""]
    return "\n".join(lines)


def source_name(table: Mapping[str, Any]) -> str:
    """Name of the file of a table's answers."""
    return str(table["file"])


def verdict(tables: Sequence[Mapping[str, Any]], unknown: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the numbers say, computed from them."""
    rows = [(t, r) for t in tables for r in t["by_level"] if r["score"] == "lac"]
    off = max(abs(r["coverage"] - r["level"]) for _, r in rows)
    left = [(t, r) for t in tables for r in t["splits"]]
    one = max(abs(r["one_out"] - r["level"]) for _, r in left)
    text = ["## What this says", ""]
    text.append(
        f"- The largest distance of LAC's coverage from its level is {one:.1%} with one phase left "
        f"out at a time and {off:.1%} over folds, of which each is calibrated by the phases of "
        f"the others only; K phases allow a surplus of 2/(K + 1), "
        f"{max(2 / (t['n_phases'] * (1 - 1 / t['n_folds']) + 1) for t in tables):.1%} for the "
        f"folds. The standard error of the measurement is up to "
        f"{max(r['one_out_error'] for _, r in left):.1%}."
    )
    for t in tables:
        text.append(
            f"- {t['label']} groups: calibration error {t['before']['calibration_error']:.3f} "
            f"before and {t['after']['calibration_error']:.3f} after temperature scaling by other "
            "phases."
        )
    strange = [r["called_strange"] for _, r in rows]
    text.append(
        f"- Of known patterns {min(strange):.1%} to {max(strange):.1%} are called unknown where 5 "
        "% was asked: energies of the folds' networks are not on one scale."
    )
    if unknown:
        best = [row["auroc"] for row in unknown if row["score"] == "energy"]
        text.append(
            f"- Energy tells a group that was left out with an area of {min(best):.2f} to "
            f"{max(best):.2f}: where 0.5 is chance; do not rely on it below 0.8."
        )
    return text

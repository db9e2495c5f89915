"""The study's pictures: light, and told apart by readers with any colour vision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ebsdsg_ml.figures import OKABE_ITO, SYMBOLS

from .comparison import METHODS
from .relabelling import CLASSES, LABELS
from .starts import STARTS


def confusion_picture(results: Mapping[str, Any], path: Path) -> None:
    """Confusion matrices with true and relabelled groups side by side."""
    from matplotlib import pyplot

    found = [label for label in LABELS if label in results["relabelling"]]
    figure, axes = pyplot.subplots(1, len(found), figsize=(4.6 * len(found), 4.2), squeeze=False)
    names = [f"{SYMBOLS[c]}\n{c}" for c in CLASSES]
    for axis, label in zip(axes[0], found, strict=True):
        part = results["relabelling"][label]
        matrix = np.array(part["confusion"], dtype=float)
        share = 100 * matrix / matrix.sum(axis=1, keepdims=True)
        axis.imshow(share, cmap="cividis", vmin=0, vmax=100)
        for i, j in np.ndindex(share.shape):
            colour = "black" if share[i, j] > 55 else "white"
            axis.text(j, i, f"{share[i, j]:.0f}", ha="center", va="center", color=colour)
        axis.set_xticks(range(len(names)), names, fontsize=8)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set_title(f"{label} groups: {100 * part['balanced']:.1f} %", fontsize=10)
        axis.set_xlabel("answer")
    axes[0, 0].set_ylabel("space group of the held-out phase")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def comparison_picture(results: Mapping[str, Any], path: Path) -> None:
    """Accuracy of every method at every severity: seeds as points, mean with its interval."""
    from matplotlib import pyplot

    found = {(r["start"], r["severity"], r["method"]): r for r in results["comparison"]}
    keys = [
        (start, name)
        for start in STARTS
        for name, method in METHODS.items()
        if start in method.starts
    ]
    severities = list(results["severities"])
    figure, axes = pyplot.subplots(
        1, len(severities), figsize=(3.6 * len(severities) + 2.2, 0.34 * len(keys) + 1.2),
        sharey=True,
    )  # fmt: skip
    for axis, severity in zip(axes, severities, strict=True):
        for place, (start, name) in enumerate(keys):
            row = found.get((start, severity, name))
            if row is None:
                continue
            colour = OKABE_ITO[0] if start == "imperfect" else OKABE_ITO[1]
            axis.errorbar(
                100 * row["interval"]["mean"],
                place,
                xerr=100 * (row["interval"]["half_width"] or 0),
                fmt="o" if start == "imperfect" else "s",
                color=colour,
                capsize=3,
            )
            values = 100 * np.array(row["values"])
            axis.plot(values, np.full(len(values), place + 0.3), ".", ms=3, color=colour)
        axis.axvline(20, color="grey", lw=0.8, ls=":")
        axis.set_title(severity, fontsize=10)
        axis.set_xlabel("mean accuracy per phase [%]\n(dotted: one class of five)", fontsize=8)
        axis.set_xlim(0, 100)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(keys)), [f"{start}: {name}" for start, name in keys], fontsize=8)
    axes[0].set_ylim(len(keys) - 0.4, -0.6)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def target_picture(patterns: Mapping[str, np.ndarray], names: Sequence[str], path: Path) -> None:
    """One pattern of some phases at every severity.

    Parameters
    ----------
    patterns : severity -> (n, size, size) uint8.
    names : of the n phases.
    """
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(patterns), len(names), figsize=(1.3 * len(names), 1.45 * len(patterns)), squeeze=False
    )
    for number, (severity, stack) in enumerate(patterns.items()):
        row = axes[number]
        for axis, pattern, name in zip(row, stack, names, strict=True):
            axis.imshow(pattern, cmap="gray")
            axis.set_xticks([])
            axis.set_yticks([])
            if number == 0:
                axis.set_title(name, fontsize=8)
        row[0].set_ylabel(severity, fontsize=9)
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def draw(results: Mapping[str, Any], output: Path) -> None:
    """Confusion matrices and comparison as PNG files beside the page."""
    import matplotlib

    matplotlib.use("Agg")
    confusion_picture(results, output / "learning_confusion.png")
    comparison_picture(results, output / "learning_adaptation.png")

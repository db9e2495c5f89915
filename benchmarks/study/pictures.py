"""The study's pictures: light, and told apart by readers with any colour vision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ebsdsg_ml.figures import OKABE_ITO, SYMBOLS

from .comparison import METHODS
from .relabelling import CLASSES, LABELS

COLOURS = dict(zip(METHODS, OKABE_ITO, strict=False))


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

    rows = results["comparison"]
    severities = [s for s in results["severities"] if any(r["severity"] == s for r in rows)]
    figure, axis = pyplot.subplots(figsize=(8.5, 4.2))
    width = 0.8 / len(METHODS)
    for number, name in enumerate(METHODS):
        for place, severity in enumerate(severities):
            row = next((r for r in rows if r["severity"] == severity and r["method"] == name), None)
            if row is None:
                continue
            x = place + (number - (len(METHODS) - 1) / 2) * width
            half = row["interval"]["half_width"] or 0
            axis.errorbar(
                x,
                100 * row["interval"]["mean"],
                100 * half,
                fmt="o",
                color=COLOURS[name],
                capsize=3,
                label=name if place == 0 else None,
            )
            values = 100 * np.array(row["values"])
            axis.plot(np.full(len(values), x + width / 4), values, ".", ms=3, color=COLOURS[name])
    axis.axhline(20, color="grey", lw=0.8, ls=":")
    axis.text(
        0.995,
        21,
        "one class of five",
        fontsize=7,
        color="grey",
        ha="right",
        transform=axis.get_yaxis_transform(),
    )
    axis.set_xticks(range(len(severities)), severities)
    axis.set_ylabel("mean accuracy per phase [%]")
    axis.set_ylim(0, 102)
    axis.grid(axis="y", alpha=0.3)
    axis.legend(fontsize=8, ncols=3, loc="upper right")
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

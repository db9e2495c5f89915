"""Data sets of simulated patterns: one recipe and its master patterns make one HDF5 file.

Every pattern is fixed by the recipe's seed, its phase and its number within the phase, so that
neither the order of the phases nor their company changes it.  The file holds the patterns, their
orientations, labels and folds, the table of phases and the recipe; it appears under its name only
when it is complete, has been read back, and its folds share no phase.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ebsdsg_ml import dataset_file
from ebsdsg_ml.dataset_file import CODE_VERSION, DatasetError, open_dataset
from ebsdsg_ml.pattern_source import (
    PatternSource,
    Project,
    file_sha256,
    pattern_orientations,
    recipe_detector,
    simulated_patterns,
)
from ebsdsg_ml.recipe import DatasetRecipe, patterns_per_phase
from ebsdsg_ml.splits import FoldMember, LeakReport, leak_report, phase_folds
from ebsdsg_sim.atomic_file import new_file

Progress = Callable[[int, int, str], None]
"""Called with the number of things done, their total, and what was done last."""


@dataclass(frozen=True)
class DatasetReport:
    """What was built.

    Parameters
    ----------
    path, sha256, bytes : the file.
    content_sha256 : digest of the content (patterns, orientations, labels, folds, phases, recipe),
        independent of how HDF5 packs it.
    n_patterns, n_phases : totals.
    counts : patterns by class.
    fold_counts : patterns by fold and class.
    phases : one row per phase: id, formula, class, fold, number of patterns, digest.
    left_out : phases not used, with the reason.
    leak_report : the proof of disjointness.
    seconds : wall time.
    """

    path: Path
    sha256: str
    bytes: int
    content_sha256: str
    n_patterns: int
    n_phases: int
    counts: dict[int, int]
    fold_counts: dict[int, dict[int, int]]
    phases: list[dict[str, Any]]
    left_out: dict[str, str]
    leak_report: LeakReport
    seconds: float = field(compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, for a document (integer keys become strings)."""
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "bytes": self.bytes,
            "content_sha256": self.content_sha256,
            "n_patterns": self.n_patterns,
            "n_phases": self.n_phases,
            "counts": {str(k): v for k, v in self.counts.items()},
            "fold_counts": {
                str(f): {str(k): v for k, v in c.items()} for f, c in self.fold_counts.items()
            },
            "phases": self.phases,
            "left_out": self.left_out,
            "leak_report": self.leak_report.to_dict(),
            "seconds": self.seconds,
        }


def select_phases(
    recipe: DatasetRecipe, sources: Sequence[PatternSource]
) -> tuple[dict[str, PatternSource], dict[str, int], dict[str, str]]:
    """Choose the phases that a recipe uses.

    Returns
    -------
    sources by phase id (sorted), class by phase id, and the reason for every phase left out.

    Raises
    ------
    DatasetError
        If a phase id occurs twice, an excluded phase is not there, or a class has no phase.
    """
    repeated = sorted(p for p, n in Counter(s.phase for s in sources).items() if n > 1)
    if repeated:
        raise DatasetError(f"phase(s) given more than once: {', '.join(repeated)}")
    absent = sorted(set(recipe.exclude) - {s.phase for s in sources})
    if absent:
        raise DatasetError(f"excluded phase(s) not among the sources: {', '.join(absent)}")
    chosen: dict[str, PatternSource] = {}
    left_out: dict[str, str] = {}
    for source in sorted(sources, key=lambda s: s.phase):
        label = source.labels.get(recipe.label)
        if source.phase in recipe.exclude:
            left_out[source.phase] = "excluded by the recipe"
        elif label is None:
            left_out[source.phase] = f"has no {recipe.label} label"
        elif label not in recipe.class_numbers:
            left_out[source.phase] = f"space group {label} is not among the classes"
        else:
            chosen[source.phase] = source
    labels = {p: int(s.labels[recipe.label] or 0) for p, s in chosen.items()}
    empty = sorted(set(recipe.class_numbers) - set(labels.values()))
    if empty:
        raise DatasetError(f"no phase for space group(s) {', '.join(map(str, empty))}")
    return chosen, labels, left_out


def build_dataset(
    recipe: DatasetRecipe,
    sources: Sequence[PatternSource],
    path: str | Path,
    *,
    project: Project | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> DatasetReport:
    """Make a data set and write it to one HDF5 file.

    Parameters
    ----------
    recipe : what to make.
    sources : the phases to make it from, in any order.
    path : file to write; replaced only by a complete, checked file.
    project : makes patterns from a source and orientations; None projects its master pattern.
    progress : told after every phase.
    device : torch device of the projection.

    Returns
    -------
    The report, for the data-set document.

    Raises
    ------
    LeakError
        If two folds share a phase or a master-pattern file; names the phases.
    SplitError, RecipeError
        If the phases do not allow the folds or the totals asked for.
    DatasetError
        If a source is unusable: missing, changed since its digest was taken, or its patterns have
        the wrong shape or type or are empty.
    """
    started = time.perf_counter()
    path = Path(path)
    chosen, labels, left_out = select_phases(recipe, sources)
    folds = phase_folds(labels, recipe.n_folds, recipe.seed)
    report = leak_report(
        FoldMember(p, folds[p], s.sha256, s.formula, s.prototype) for p, s in chosen.items()
    )
    report.raise_if_leaking()
    counts = patterns_per_phase(labels, recipe.patterns_per_class, recipe.seed)
    if project is None:
        _check_files(chosen)
        project = simulated_patterns(recipe, device=device)

    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as temporary:
        with h5py.File(temporary, "w") as file:
            dataset_file.create(file, recipe, chosen, labels, folds, counts)
            start = 0
            for done, (phase, source) in enumerate(chosen.items(), 1):
                n = counts[phase]
                quaternions = pattern_orientations(recipe.seed, phase, range(n))
                patterns = project(source, quaternions)
                _check_patterns(patterns, n, recipe.size, phase)
                file["patterns"][start : start + n] = patterns
                file["quaternions"][start : start + n] = quaternions
                start += n
                if progress is not None:
                    progress(done, len(chosen), phase)
            dataset_file.seal(file)
        with open_dataset(temporary, verify=True) as opened:
            content = opened.content_sha256
        digest, size = file_sha256(temporary), temporary.stat().st_size

    fold_counts: dict[int, Counter[int]] = {f: Counter() for f in range(recipe.n_folds)}
    for phase, n in counts.items():
        fold_counts[folds[phase]][labels[phase]] += n
    return DatasetReport(
        path=path,
        sha256=digest,
        bytes=size,
        content_sha256=content,
        n_patterns=sum(counts.values()),
        n_phases=len(chosen),
        counts={c: sum(counts[p] for p in counts if labels[p] == c) for c in recipe.class_numbers},
        fold_counts={f: dict(sorted(c.items())) for f, c in fold_counts.items()},
        phases=[
            {
                "phase": p,
                "formula": s.formula,
                "label": labels[p],
                "fold": folds[p],
                "n_patterns": counts[p],
                "sha256": s.sha256,
            }
            for p, s in chosen.items()
        ],
        left_out=left_out,
        leak_report=report,
        seconds=time.perf_counter() - started,
    )


def _check_files(chosen: Mapping[str, PatternSource]) -> None:
    for phase, source in chosen.items():
        if not Path(source.path).is_file():
            raise DatasetError(f"{phase}: master pattern {source.path} does not exist")
        found = file_sha256(source.path)
        if found != source.sha256:
            raise DatasetError(
                f"{phase}: master pattern {source.path} has sha256 {found[:12]}…, recorded is "
                f"{source.sha256[:12]}…; the file changed: simulate the phase again"
            )


def _check_patterns(patterns: np.ndarray, n: int, size: int, phase: str) -> None:
    if patterns.dtype != np.uint8 or patterns.shape != (n, size, size):
        raise DatasetError(
            f"{phase}: projection gave {patterns.dtype} {patterns.shape}, "
            f"expected uint8 {(n, size, size)}"
        )
    flat = patterns.reshape(n, -1)
    blank = np.flatnonzero(flat.max(axis=1) == flat.min(axis=1))
    if blank.size:
        raise DatasetError(f"{phase}: pattern {blank[0]} is blank; its master pattern is broken")


__all__ = [
    "CODE_VERSION",
    "DatasetError",
    "DatasetReport",
    "PatternSource",
    "Project",
    "build_dataset",
    "file_sha256",
    "open_dataset",
    "pattern_orientations",
    "recipe_detector",
    "select_phases",
    "simulated_patterns",
]

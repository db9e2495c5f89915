"""Data sets of simulated patterns: one recipe and its master patterns make one HDF5 file.

Every pattern is fixed by the recipe's seed, its phase and its number within the phase, so that
neither the order of the phases nor their company changes it.  The file appears under its name only
when it is complete, has been read back, and its folds share nothing that they may not share.  A
build that was killed is taken up again where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ebsdsg_ml import dataset_file
from ebsdsg_ml.dataset_file import CODE_VERSION, open_dataset
from ebsdsg_ml.dataset_plan import DatasetPlan, PlannedPhase, plan_dataset
from ebsdsg_ml.orientations import grid_orientations, pattern_orientations
from ebsdsg_ml.pattern_bank import write_maps
from ebsdsg_ml.pattern_source import DatasetError, PatternSource, file_sha256
from ebsdsg_ml.recipe import DatasetRecipe
from ebsdsg_ml.simulated_patterns import Make, Project, recipe_detector, simulated_patterns
from ebsdsg_sim.atomic_file import sync

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
    plan : phases, folds, counts and the proof of disjointness.
    resumed : phases that an earlier, killed build had finished.
    seconds : wall time.
    """

    path: Path
    sha256: str
    bytes: int
    content_sha256: str
    plan: DatasetPlan
    resumed: int = field(compare=False)
    seconds: float = field(compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, for a document (integer keys become strings)."""
        plan = self.plan
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "bytes": self.bytes,
            "content_sha256": self.content_sha256,
            "n_patterns": plan.n_patterns,
            "counts": {str(k): v for k, v in plan.counts().items()},
            "fold_counts": {
                str(f): {str(k): v for k, v in c.items()} for f, c in plan.fold_counts().items()
            },
            "phases": [
                {
                    "phase": p.source.phase,
                    "set": p.set,
                    "formula": p.source.formula,
                    "label": p.label,
                    "fold": p.fold,
                    "n_patterns": p.n_patterns,
                    "sha256": p.source.sha256,
                }
                for p in plan.phases
            ],
            "left_out": plan.left_out,
            "leak_report": plan.leaks.to_dict(),
            "seconds": self.seconds,
        }


def build_dataset(
    recipe: DatasetRecipe,
    sources: Sequence[PatternSource],
    path: str | Path,
    *,
    project: Project | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
    compression: str | None = "gzip",
) -> DatasetReport:
    """Make a data set and write it to one HDF5 file.

    Parameters
    ----------
    recipe : what to make.
    sources : the phases to make it from, in any order.
    path : file to write; replaced only by a complete, checked file.
    project : makes patterns from a source and orientations; None projects its master pattern and
        applies the recipe's imperfections.
    progress : told after every phase.
    device : torch device of the projection.
    compression : of stored patterns: ``"gzip"``, or None for a file that is memory-mapped when it
        is read; no part of the identity.

    Returns
    -------
    The report, for the data-set document.

    Raises
    ------
    LeakError
        If two folds share what the split promises to separate; names the phases.
    SplitError, RecipeError
        If the phases do not allow the folds or the totals asked for.
    DatasetError
        If a source is unusable: missing, changed since its digest was taken, or its patterns have
        the wrong shape or type or are empty; or if another process is building the same file.
    """
    started = time.perf_counter()
    path = Path(path)
    plan = plan_dataset(recipe, sources)
    if project is None:
        for phase in plan.phases:
            phase.source.check_file()
        make = simulated_patterns(recipe, device=device)
    else:
        given = project

        def make(phase: PlannedPhase, quaternions: np.ndarray) -> np.ndarray:
            return given(phase.source, quaternions)

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with _partial_file(partial, plan, compression) as file:
            resumed = _fill(file, plan, make, progress)
            dataset_file.seal(file)
        with open_dataset(partial, verify=True) as opened:
            content = opened.content_sha256
    except (DatasetError, ValueError):
        partial.unlink(missing_ok=True)  # bad input: nothing in it is worth keeping
        raise
    sync(partial)
    digest, size = file_sha256(partial), partial.stat().st_size
    partial.replace(path)
    return DatasetReport(
        path, digest, size, content, plan, resumed, seconds=time.perf_counter() - started
    )


class BeingBuilt(RuntimeError):
    """Another process is building the same data set."""


def _partial_file(path: Path, plan: DatasetPlan, compression: str | None) -> h5py.File:
    """The unfinished file: what a killed build left of the same plan, else a new one."""
    if path.exists():
        try:
            file = h5py.File(path, "r+")
        except BlockingIOError:
            raise BeingBuilt(f"{path} is being written by another process; wait for it") from None
        except OSError:  # killed at a moment at which HDF5 cannot be opened
            path.unlink()
        else:
            if dataset_file.is_of(file, plan, compression):
                return file
            file.close()
            path.unlink()
    file = h5py.File(path, "x")
    dataset_file.create(file, plan, compression=compression)
    file.flush()
    return file


def _fill(file: h5py.File, plan: DatasetPlan, make: Make, progress: Progress | None) -> int:
    """Write the phases that are not there yet; return how many were."""
    start = resumed = 0
    for row, phase in enumerate(plan.phases):
        stop = start + phase.n_patterns
        if dataset_file.is_whole(file, row):
            resumed += 1
        elif plan.recipe.generation == "fresh":
            write_maps(file, row, plan.recipe, phase)
            dataset_file.finish_phase(file, row)
        else:
            quaternions = _orientations(plan.recipe, phase)
            patterns = make(phase, quaternions)
            _check_patterns(patterns, phase.n_patterns, plan.recipe.size, phase.source.phase)
            file["patterns"][start:stop] = patterns
            file["quaternions"][start:stop] = quaternions
            dataset_file.finish_phase(file, row)
        start = stop
        if progress is not None:
            progress(row + 1, len(plan.phases), phase.source.phase)
    return resumed


def _orientations(recipe: DatasetRecipe, phase: PlannedPhase) -> np.ndarray:
    if recipe.orientations == "random":
        return pattern_orientations(recipe.seed, phase.stream, range(phase.n_patterns))
    group = phase.source.labels.get("true")
    if group is None:
        raise DatasetError(
            f"{phase.source.phase}: a grid of orientations needs its true space group"
        )
    return grid_orientations(recipe.seed, phase.stream, group, phase.n_patterns)


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
    "BeingBuilt",
    "DatasetError",
    "DatasetReport",
    "PatternSource",
    "Project",
    "build_dataset",
    "file_sha256",
    "open_dataset",
    "pattern_orientations",
    "recipe_detector",
    "simulated_patterns",
]

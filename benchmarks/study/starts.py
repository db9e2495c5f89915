"""The networks that the comparison starts from, and the patterns they go on learning from.

``clean`` is the paper's way: the network of a fold knows patterns as the simulation gives them.
``imperfect`` is the same network after more steps on patterns of the same phases from a detector
with imperfections, drawn from wide ranges: what somebody writes who does not know their detector.
Neither has seen the phases of its fold, so those serve as a development target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ebsdsg_ml.adaptation import AdaptationConfig, Labelled
from ebsdsg_ml.recipe import DatasetRecipe
from ebsdsg_ml.synthetic_target import Severity, TargetPool, target_pool

if TYPE_CHECKING:
    from ebsdsg_ml.pattern_model import PatternModel
    from ebsdsg_ml.pattern_source import PatternSource

    from .relabelling import Protocol

Start = Literal["clean", "imperfect"]
STARTS: tuple[Start, ...] = ("imperfect", "clean")

WIDE = Severity(
    pattern_centre=(0.0, 0.0, 0.0),
    tilt=0.0,
    electrons=(40, 2000),
    blur=(0.0, 0.012),
    jitter=0.02,
    vignetting=0.3,
    dark=0.2,
    stray=0.1,
    distortion=0.0,
    energy_shift=1.0,
)
"""Imperfections of the source: the true detector in the middle, wide ranges around it.  The mild
target lies within them, the middle one at their edge, the severe one outside."""

DEVELOPMENT = Severity(
    pattern_centre=(0.02, 0.025, -0.02),
    tilt=1.0,
    electrons=(80, 800),
    blur=(0.003, 0.01),
    jitter=0.005,
    vignetting=0.2,
    dark=0.1,
    stray=0.05,
    distortion=-0.01,
    energy_shift=0.8,
)
"""Another detector: where methods may be compared in order to choose one."""


@dataclass(frozen=True)
class Schooling:
    """How a clean network learns imperfections.

    Parameters
    ----------
    steps, learning_rates : of the parts, one after the other.
    batch_size : of all of them.
    """

    steps: tuple[int, ...] = (300, 100)
    learning_rates: tuple[float, ...] = (1e-3, 2e-4)
    batch_size: int = 64

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def imperfect_recipe(protocol: Protocol) -> DatasetRecipe:
    """Recipe of the source with imperfections; phases and folds are those of the clean one."""
    return replace(protocol.recipe("relabelled"), imperfections=WIDE.imperfections(protocol.size))


def other_folds(protocol: Protocol, fold: int) -> list[int]:
    """All folds but one."""
    return [other for other in range(protocol.n_folds) if other != fold]


def schooled(
    clean: PatternModel, source: Labelled, classes: Sequence[int], seed: int, how: Schooling
) -> PatternModel:
    """Let a clean network learn imperfections.

    Parameters
    ----------
    clean : network of a fold.
    source : imperfect patterns of the other folds.
    classes : space groups.
    seed : of the order.
    how : steps and rates.
    """
    from ebsdsg_ml.adaptation import adapt

    model = clean
    for part, (steps, rate) in enumerate(zip(how.steps, how.learning_rates, strict=True)):
        config = AdaptationConfig(
            method="source-only",
            model=clean.card.model,
            epochs=1,
            steps_per_epoch=steps,
            batch_size=how.batch_size,
            learning_rate=rate,
            precision="auto",
            threads=1,
            seed=1000 * (part + 1) + seed,
        )
        made = adapt(config, [source], source.patterns[:2], classes=classes, start=model)
        model = made.model
    return model


def stored_pool(
    path: Path,
    severity: Severity,
    sources: Sequence[PatternSource],
    *,
    size: int,
    recorded: int,
    kept: int,
    seed: int,
) -> TargetPool:
    """A target pool, kept in a file.

    Parameters
    ----------
    path : .npz file.
    severity, sources, size, recorded, kept, seed : as in
        :func:`ebsdsg_ml.synthetic_target.target_pool`.
    """
    if not path.exists():
        made = target_pool(severity, sources, size=size, recorded=recorded, kept=kept, seed=seed)
        partial = path.with_suffix(".tmp")
        with partial.open("wb") as file:
            np.savez(file, **made.__dict__)
        partial.replace(path)
    with np.load(path, allow_pickle=False) as stored:
        return TargetPool(stored["patterns"], stored["phases"], stored["quality"])


def severities_said() -> Mapping[str, Severity]:
    """What the source and the development target are, for the page."""
    return {"source": WIDE, "development": DEVELOPMENT}

"""One function for all methods of adaptation: what goes in, what is refused, what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ebsdsg_ml.adaptation.config import AdaptationConfig, AdaptationConfigError
from ebsdsg_ml.adaptation.domains import DomainError, Labelled, check_patterns
from ebsdsg_ml.adaptation.loop import AdaptationLoop, Watch
from ebsdsg_ml.pattern_model import PatternModel
from ebsdsg_ml.training_result import OnEpoch
from ebsdsg_ml.transforms import check_flips

if TYPE_CHECKING:
    from ebsdsg_ml.datasets import Progress


@dataclass(frozen=True)
class Adapted:
    """What an adaptation gave.

    Parameters
    ----------
    model : the adapted network, an ordinary model.
    history : one row per epoch: ``epoch``, ``step``, mean losses, ``seconds``, ``largest_share``
        (of the most frequent answer), the criteria of :mod:`ebsdsg_ml.selection`, and what `watch`
        told.
    epoch : whose weights the model has.
    criterion : by which it was chosen.
    prior : (classes,) estimated shares of the classes in the pool that the answers are corrected
        for, or None.
    """

    model: PatternModel
    history: list[dict[str, Any]]
    epoch: int
    criterion: str
    prior: list[float] | None


def adapt(
    config: AdaptationConfig,
    sources: Sequence[Labelled],
    target: np.ndarray,
    *,
    classes: Sequence[int],
    label: str = "relabelled",
    start: PatternModel | None = None,
    validation: Labelled | None = None,
    resume: Path | None = None,
    watch: Watch | None = None,
    report: OnEpoch | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
    card: Mapping[str, Any] | None = None,
) -> Adapted:
    """Adapt a network to unlabelled patterns.

    Parameters
    ----------
    config : settings.
    sources : labelled patterns; several are joined, such as low and high Debye-Waller factors.
    target : (n, size, size) uint8 patterns without labels.
    classes : space-group numbers in the order of the labels.
    label : kind of label, ``"true"`` or ``"relabelled"``.
    start : model to start from (its network is copied); its preprocessing then counts, too.
    validation : held-out labelled *source* patterns, for the criterion ``"source_validation"``.
    resume : file of the resume point; written while it runs, and gone on from if it is there.
    watch : told the model after every epoch; its numbers are recorded as ``watch_<name>``.
    report : told the row of every finished epoch, after a resume the earlier ones again.
    progress : told after every step: steps done, steps in all, what.
    device : torch device.
    card : further fields of the model's :class:`ebsdsg_ml.pattern_model.ModelCard`.

    Raises
    ------
    DomainError
        If source and target do not fit together.
    AdaptationConfigError
        If self-training has nothing to start from, or the criterion nothing to be computed from.
    TrainingError
        If a loss is no longer a finite number.
    TransformError, ModelError
        If flips are not sound for the classes, or the network cannot be built.
    """
    source = Labelled.joined(sources)
    _check(config, source, target, classes, start, validation)
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads or before)
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            loop = AdaptationLoop(
                config, source, target, classes, start, validation, device, label, card or {}
            )
            loop.go(resume, watch, report, progress)
            model, epoch, prior = loop.chosen()
            return Adapted(model, loop.history, epoch, config.criterion, prior)
    finally:
        torch.set_num_threads(before)


def _check(
    config: AdaptationConfig,
    source: Labelled,
    target: np.ndarray,
    classes: Sequence[int],
    start: PatternModel | None,
    validation: Labelled | None,
) -> None:
    check_patterns(target)
    if target.shape[1:] != source.patterns.shape[1:]:
        raise DomainError(
            f"target patterns are {target.shape[1:]}, source patterns {source.patterns.shape[1:]}"
        )
    if set(np.unique(source.labels)) != set(range(len(classes))):
        raise DomainError(f"source labels do not cover the {len(classes)} classes {classes}")
    if start is not None and tuple(start.classes) != tuple(classes):
        raise DomainError(f"the model to start from knows {start.classes}, not {tuple(classes)}")
    if config.flips:
        check_flips(tuple(classes))
    if config.method == "self-training" and start is None and not config.warmup_steps:
        raise AdaptationConfigError(
            "self-training needs answers to start from: give a model, or warmup_steps > 0"
        )
    if config.criterion == "source_validation" and validation is None:
        raise AdaptationConfigError(
            "criterion = 'source_validation' needs held-out source patterns: give validation"
        )

"""Experimental patterns whose phases are known, as the truth that answers are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ebsdsg_ml.experimental.pattern_set import PatternSet, patterns_sha256
from ebsdsg_ml.experimental.processing import PatternProcessing
from ebsdsg_ml.experimental.read import read_patterns
from ebsdsg_ml.experimental.scan import PatternFileError

if TYPE_CHECKING:
    from ebsdsg_ml.ensemble_model import AnyModel


def known_classes(held: PatternSet, classes: Sequence[int], kind: str) -> np.ndarray:
    """Classes of patterns of known phases.

    Parameters
    ----------
    held : the patterns.
    classes : space-group numbers that are told apart, ascending.
    kind : of these groups, ``"true"`` or ``"relabelled"``: NiAl is 221, and 229 after disordering.

    Returns
    -------
    (n,) class indices.

    Raises
    ------
    PatternFileError
        If a pattern has no group of this kind, or one that is not among the classes.
    """
    groups = held.groups(kind)
    if missing := int((groups == 0).sum()):
        option = "--group" if kind == "true" else "--group and --relabelled"
        raise PatternFileError(
            f"{missing} of {len(groups)} patterns have no {kind} space group: import each phase "
            f"with {option}"
        )
    if strange := sorted(set(groups.tolist()) - set(classes)):
        raise PatternFileError(
            f"the {kind} groups {strange} of the patterns are not among {tuple(classes)}"
        )
    return np.searchsorted(np.asarray(classes), groups)


@dataclass(frozen=True)
class KnownAnswers:
    """A model's answers for patterns of known phases.

    Parameters
    ----------
    logits : (n, classes) outputs of the model.
    truth : (n,) class indices.
    phase : (n,) index of the pattern's phase in `phases`.
    phases : names, each with its space group.
    """

    logits: np.ndarray
    truth: np.ndarray
    phase: np.ndarray
    phases: tuple[str, ...]


def known_answers(model: AnyModel, paths: Sequence[str | Path]) -> KnownAnswers:
    """Let a model answer for sets of patterns of known phases.

    A phase is a name with a group: patterns of one phase in two sets are of one phase.

    Parameters
    ----------
    model : the model.
    paths : sets of experimental patterns, processed as the model's file says.

    Raises
    ------
    PatternFileError
        If a set was processed otherwise, a pattern's phase has no name or no group that the model
        knows, or the model was adapted to the set.
    """
    card = model.card
    processing = PatternProcessing.of_model(card.processing, card.preprocessing.size)
    runs = [card.training, *card.training.get("members", ())]
    targets = {run.get("target") for run in runs}
    logits, truth, names = [], [], []
    for path in paths:
        held = read_patterns(path, processing=processing)
        if patterns_sha256(held.patterns) in targets:
            raise PatternFileError(
                f"{path} holds the patterns that the model was adapted to: what it says of them "
                "tells nothing of other phases"
            )
        try:
            truth.append(known_classes(held, card.classes, card.label))
        except PatternFileError as error:
            raise PatternFileError(f"{path}: {error}") from None
        phases = held.phase_names()
        if unnamed := phases.count(""):
            raise PatternFileError(
                f"{path}: {unnamed} patterns are of a phase without a name: import them with "
                "--phase"
            )
        names += [f"{n} {g}" for n, g in zip(phases, held.groups(card.label), strict=True)]
        logits.append(model.logits(held.patterns).double().numpy())
    found, phase = np.unique(names, return_inverse=True)
    return KnownAnswers(
        np.concatenate(logits), np.concatenate(truth), phase, tuple(map(str, found))
    )

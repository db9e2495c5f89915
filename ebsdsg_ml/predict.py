"""From files with patterns to groups, with what the model does not know.

Patterns are made what the training patterns are by the processing that the model's file holds.
Background, normalisation and crop then follow from its preprocessing.  A file that cannot be used
costs its own answers only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ebsdsg_ml.confusable import confusable_groups
from ebsdsg_ml.ensemble_model import AnyModel
from ebsdsg_ml.experimental.open_scan import pattern_files
from ebsdsg_ml.experimental.processing import PatternProcessing
from ebsdsg_ml.experimental.read import read_patterns
from ebsdsg_ml.experimental.scan import PatternFileError
from ebsdsg_ml.grains import Grains, PredictionError
from ebsdsg_ml.pooling import pooled
from ebsdsg_ml.quality import QualityDefinition
from ebsdsg_ml.unknown import unknown_score

Verdict = Literal["answer", "abstain", "unknown"]
Progress = Callable[[int, int, str], None]
"""Called with files done, files in all, and the name of the next."""


@dataclass(frozen=True)
class Prediction:
    """Answer for one pattern, or for all patterns of one grain.

    Parameters
    ----------
    path : file of the pattern, or of the grain's first.
    name : file name, and number where the file has several patterns; or name of the grain.
    patterns : how many are behind the answer.
    probabilities : by space-group number, in the model's order; they sum to one.
    in_set : groups in the conformal set, most probable first; None if the model is not calibrated.
    verdict : ``"answer"``; ``"abstain"``, the set does not hold exactly one group, or its
        probability is not above the threshold of the stated risk; ``"unknown"``, the pattern looks
        like none of the model's groups.
    unknown_score : the larger, the stranger.
    image_quality : Krieger Lassen's, as the model's file defines it; mean over a grain.
    confusable : groups of the model one step away from the answer in the subgroup graph.
    pattern : (size, size) uint8, as the model saw it; the best of a grain.
    """

    path: Path
    name: str
    patterns: int
    probabilities: dict[int, float]
    in_set: tuple[int, ...] | None
    verdict: Verdict
    unknown_score: float
    image_quality: float
    confusable: tuple[int, ...]
    pattern: np.ndarray

    @property
    def space_group(self) -> int:
        """Most probable space group, whatever the verdict."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def probability(self) -> float:
        """Its probability."""
        return self.probabilities[self.space_group]

    def to_dict(self) -> dict[str, Any]:
        """One row of a table, plain JSON types; sets and groups as text, ``"225 229"``."""
        return {
            "path": str(self.path),
            "name": self.name,
            "patterns": self.patterns,
            "space_group": self.space_group,
            "probability": self.probability,
            "verdict": self.verdict,
            "set": None if self.in_set is None else " ".join(map(str, self.in_set)),
            "confusable": " ".join(map(str, self.confusable)),
            "image_quality": self.image_quality,
            "unknown_score": self.unknown_score,
            **{f"p_{group}": p for group, p in self.probabilities.items()},
        }

    def _repr_html_(self) -> str:
        from ebsdsg_ml.cards import answer_card

        return answer_card(self)


@dataclass(frozen=True)
class Predictions:
    """Answers for files, and what is wrong with those that got none.

    Parameters
    ----------
    answers : in the order of the files.
    errors : one clear message per file that could not be used.
    """

    answers: list[Prediction]
    errors: list[str]

    def _repr_html_(self) -> str:
        from ebsdsg_ml.cards import answers_card

        return answers_card(self)


def predict(
    model: AnyModel,
    paths: Iterable[str | Path],
    *,
    grain: str | Path | None = None,
    dependence: float = 1.0,
    group: str | None = None,
    correct: bool = False,
    progress: Progress | None = None,
) -> Predictions:
    """Answers for all patterns of files and folders.

    Parameters
    ----------
    model : a trained model or an ensemble.
    paths : files (images or vendors' files) and folders.
    grain : which patterns show one grain and get one answer: ``"all"``, ``"file"`` (those of each
        file), or a CSV table with columns ``file`` (its name, with folders where two files share
        one), ``grain`` and, for files of several patterns, ``number``.  File and number of a
        pattern of an imported set are those of the original file.  None answers for each pattern.
    dependence : of the patterns of a grain, see :func:`ebsdsg_ml.pooling.pooled`.
    group : scan within an HDF5 file.
    correct : remove the recorded and the patterns' own background whatever the model's file says,
        for raw patterns and a model of simulated ones that have none.
    progress : told before every file.

    Raises
    ------
    PredictionError
        If the table of grains is unusable, or lacks a pattern; or the model is broken.
    """
    import torch

    files, errors = _files(paths)
    grains = None if grain is None else Grains(grain)
    card = model.card
    processing = PatternProcessing.of_model(card.processing, card.preprocessing.size)
    if correct:
        usual = PatternProcessing(processing.size)
        processing = replace(processing, static=usual.static, dynamic=usual.dynamic)
    definition = QualityDefinition(
        processing.size, card.quality.get("mask") if card.quality else None
    )
    found: list[tuple[Path, str, np.ndarray, np.ndarray, float]] = []
    by_grain: dict[str, list[int]] = {}
    for done, path in enumerate(files):
        if progress is not None:
            progress(done, len(files), path.name)
        try:
            held = read_patterns(
                path,
                processing=processing,
                group=group,
                quality_mask=definition.mask,
            )
        except (PatternFileError, OSError) as error:
            message = str(error)
            errors.append(message if path.name in message else f"{path}: {message}")
            continue
        logits = model.logits(held.patterns).double().numpy()
        if not np.isfinite(logits).all():
            raise PredictionError(
                f"the model is broken: it gives no finite numbers for {path.name}; train it or "
                "export it again"
            )
        quality = held.quality
        if (
            held.quality_definition != definition.to_dict()
        ):  # a set may have been measured otherwise
            quality = definition.measure(torch.from_numpy(held.patterns)).numpy()
        for i, name in enumerate(held.names()):
            key = str(len(found))  # without grains two files of one name in two folders stay apart
            if grains is not None:
                source = held.sources[held.source[i]]
                key, name = grains.of(source["path"], source["sha256"], int(held.number[i]))
            by_grain.setdefault(key, []).append(len(found))
            found.append((path, name, logits[i], held.patterns[i], float(quality[i])))
    answers = []
    for rows in by_grain.values():
        path, name = found[rows[0]][:2]
        best = max(rows, key=lambda i: found[i][4])
        answers.append(
            _answer(
                model,
                np.stack([found[i][2] for i in rows]),
                dependence,
                path=path,
                name=name,
                image_quality=float(np.mean([found[i][4] for i in rows])),
                pattern=found[best][3],
            )
        )
    return Predictions(answers, errors)


def pool(
    model: AnyModel, answers: Sequence[Prediction], *, name: str, dependence: float = 1.0
) -> Prediction:
    """One answer for patterns of one grain that have been answered one by one.

    Parameters
    ----------
    model : that gave the answers.
    answers : of its patterns.
    name : of the grain.
    dependence : of the patterns, see :func:`ebsdsg_ml.pooling.pooled`.

    Raises
    ------
    PredictionError
        If there is no answer.
    """
    if not answers:
        raise PredictionError("there is no answer to pool")
    best = max(answers, key=lambda answer: answer.image_quality)
    rows = [[answer.probabilities[group] for group in model.classes] for answer in answers]
    return _judged(
        model,
        # a probability below the smallest number is none of the answer's business
        np.log(np.maximum(rows, np.finfo(float).tiny)),
        float(np.mean([answer.unknown_score for answer in answers])),
        dependence,
        path=answers[0].path,
        name=name,
        image_quality=float(np.mean([answer.image_quality for answer in answers])),
        pattern=best.pattern,
    )


def _answer(model: AnyModel, logits: np.ndarray, dependence: float, **known: Any) -> Prediction:
    """The answer for one pattern or the patterns of one grain."""
    calibration = model.card.calibration
    scaled = logits / (1.0 if calibration is None else calibration.temperature)
    score = "energy" if calibration is None else calibration.unknown_score
    strangeness = float(unknown_score(logits, score).mean())
    return _judged(model, scaled - _log_sum(scaled), strangeness, dependence, **known)


def _judged(
    model: AnyModel,
    log_probabilities: np.ndarray,
    strangeness: float,
    dependence: float,
    **known: Any,
) -> Prediction:
    """Pooled probabilities with set and verdict."""
    calibration = model.card.calibration
    probabilities = pooled(log_probabilities, dependence)
    verdict: Verdict = "answer"
    in_set: tuple[int, ...] | None = None
    if calibration is not None and calibration.coverage is not None:
        inside = calibration.sets(probabilities[None])[0]
        order = np.argsort(-probabilities)
        in_set = tuple(model.classes[i] for i in order if inside[i])
        if calibration.abstains(probabilities[None])[0]:
            verdict = "abstain"
    limit = None if calibration is None else calibration.unknown_threshold
    if limit is not None and strangeness > limit:
        verdict = "unknown"
    answer = model.classes[int(probabilities.argmax())]
    return Prediction(
        patterns=len(log_probabilities),
        probabilities=dict(zip(model.classes, map(float, probabilities), strict=True)),
        in_set=in_set,
        verdict=verdict,
        unknown_score=strangeness,
        confusable=confusable_groups(answer, model.classes),
        **known,
    )


def _log_sum(values: np.ndarray) -> np.ndarray:
    largest = values.max(axis=1, keepdims=True)
    return largest + np.log(np.exp(values - largest).sum(axis=1, keepdims=True))


def _files(paths: Iterable[str | Path]) -> tuple[list[Path], list[str]]:
    """Files of all paths, and an error for each path that has none."""
    files: dict[Path, None] = {}
    errors = []
    for path in paths:
        try:
            files |= dict.fromkeys(pattern_files([path]))
        except PatternFileError as error:
            errors.append(str(error))
    return list(files), errors

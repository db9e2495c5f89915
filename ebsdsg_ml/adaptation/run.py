"""One adaptation in a folder of its own: data-set files and settings in, a model file out.

As with a training, the folder can be gone on from after a kill, and one whose run is finished gives
its result back and computes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ebsdsg_ml.adaptation.config import AdaptationConfig
from ebsdsg_ml.adaptation.domains import DomainError, Labelled, check_patterns
from ebsdsg_ml.dataset_file import DatasetError, open_dataset
from ebsdsg_ml.experimental.pattern_set import is_pattern_set
from ebsdsg_ml.experimental.processing import PatternProcessing
from ebsdsg_ml.experimental.read import read_patterns
from ebsdsg_ml.experimental.scan import PatternFileError
from ebsdsg_ml.splits import TEST
from ebsdsg_ml.training_result import OnEpoch, TrainingError, write_history
from ebsdsg_sim.atomic_file import write_atomically

if TYPE_CHECKING:
    from ebsdsg_ml.datasets import Progress
    from ebsdsg_ml.pattern_model import PatternModel

RESUME, RESULT, MODEL = "resume.pt", "result.json", "model.pt"


@dataclass(frozen=True)
class TargetPatterns:
    """Patterns to adapt to.

    Parameters
    ----------
    patterns : (n, size, size) uint8.
    labels : (n,) class indices where the truth is known (only ever recorded), or None.
    sha256 : digest of the patterns.
    """

    patterns: np.ndarray
    labels: np.ndarray | None
    sha256: str


def read_target(path: str | Path, classes: Sequence[int], size: int) -> TargetPatterns:
    """Patterns to adapt to, from whatever holds them.

    Parameters
    ----------
    path : data-set file, of which the test set is taken if it has one; ``.npy`` file of
        (n, size, size) uint8; a set of experimental patterns, as it was processed when imported; or
        a folder of vendors' files or images, cropped and resampled to what training patterns are.
    classes : space-group numbers; a data set of the same classes has known labels.
    size : pixels per side of the source patterns.

    Raises
    ------
    DomainError
        If there is nothing to read, or the patterns are of another size.
    """
    path = Path(path)
    labels: np.ndarray | None = None
    if path.is_dir() or is_pattern_set(path):
        plain = PatternProcessing(size, static=None, dynamic=None)
        try:
            held = read_patterns(path, processing=plain if path.is_dir() else None)
        except PatternFileError as error:
            raise DomainError(f"target: {error}") from error
        patterns = held.patterns
        if set(held.label.tolist()) <= set(classes):
            labels = np.searchsorted(np.array(classes), held.label)
    elif path.suffix == ".npy":
        if not path.is_file():
            raise DomainError(f"target {path} does not exist")
        patterns = np.load(path, allow_pickle=False)
    else:
        try:
            with open_dataset(path) as opened:
                same = opened.recipe.class_numbers == tuple(classes)
                folds = TEST if opened.recipe.test else None
            found = Labelled.read(path, folds)
        except DatasetError as error:
            raise DomainError(
                f"target: {error}; give a data set, imported patterns, a .npy file or a folder"
            ) from error
        patterns, labels = found.patterns, found.labels if same else None
    check_patterns(patterns)
    if patterns.shape[1] != size:
        raise DomainError(
            f"{path}: patterns of {patterns.shape[1]} pixels, the source's have {size}"
        )
    return TargetPatterns(patterns, labels, hashlib.sha256(patterns.tobytes()).hexdigest())


@dataclass(frozen=True)
class AdaptationResult:
    """What an adaptation gave.

    Parameters
    ----------
    model_path, model_sha256, weights_sha256 : the model file and the weights in it.
    history : one row per epoch; see :class:`ebsdsg_ml.adaptation.fit.Adapted`.
    best_epoch, criterion : whose weights the model has, and what chose it.
    prior : estimated shares of the classes in the target, or None.
    classes : space-group numbers.
    config : the settings.
    weights_origin : what the weights started from.
    precision, device, threads : what was computed with.
    sources_sha256, target_sha256 : digests of the patterns.
    n_source, n_target : their numbers.
    target_accuracy : of the chosen epoch where the truth is known; nothing was chosen by it.
    """

    model_path: Path
    model_sha256: str
    weights_sha256: str
    history: list[dict[str, Any]]
    best_epoch: int
    criterion: str
    prior: list[float] | None
    classes: tuple[int, ...]
    config: AdaptationConfig
    weights_origin: str
    precision: str
    device: str
    threads: int
    sources_sha256: tuple[str, ...]
    target_sha256: str
    n_source: int
    n_target: int
    target_accuracy: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            **asdict(self),
            "model_path": self.model_path.name,
            "classes": list(self.classes),
            "sources_sha256": list(self.sources_sha256),
            "config": self.config.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], directory: Path) -> AdaptationResult:
        """Inverse of :meth:`to_dict`, for the folder that the result was found in."""
        plain = dict(values)
        plain["model_path"] = directory / plain["model_path"]
        plain["classes"] = tuple(plain["classes"])
        plain["sources_sha256"] = tuple(plain["sources_sha256"])
        plain["config"] = AdaptationConfig.from_dict(plain["config"])
        return cls(**plain)


def run_adaptation(
    config: AdaptationConfig,
    sources: Sequence[str | Path],
    target: str | Path,
    directory: str | Path,
    *,
    start: str | Path | None = None,
    validation_fold: int | None = None,
    on_epoch: OnEpoch | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> AdaptationResult:
    """Adapt to the patterns of a file, go on with what was cut off, or return a finished run.

    Parameters
    ----------
    config : settings.
    sources : data-set files of the same classes; joined.
    target : see :func:`read_target`.
    directory : folder of the run; made if it is not there.
    start : model file to start from.
    validation_fold : fold of every source that is held out for ``"source_validation"``.
    on_epoch, progress : as in :func:`ebsdsg_ml.training.train`.
    device : ``"cpu"``, ``"cuda"`` or ``"auto"``.

    Raises
    ------
    DomainError, DatasetError
        If sources or target are unusable or do not fit together.
    TrainingError
        If the folder holds another run, or a loss is no longer a finite number.
    """
    directory = Path(directory)
    recipes, digests = [], []
    for path in sources:
        with open_dataset(path) as opened:
            recipes.append(opened.recipe)
            digests.append(opened.content_sha256)
    if not recipes:
        raise DomainError("an adaptation needs at least one source")
    first = recipes[0]
    kind = (first.label, first.class_numbers, first.size)
    for recipe, path in zip(recipes, sources, strict=True):
        if (recipe.label, recipe.class_numbers, recipe.size) != kind:
            raise DomainError(f"{path} differs from {sources[0]} in labels, classes or size")
    pool = read_target(target, first.class_numbers, first.size)
    identity = {
        "config": config.to_dict(),
        "sources": digests,
        "target": pool.sha256,
        "validation_fold": validation_fold,
    }
    _same_run(directory, identity)
    if (directory / RESULT).exists():
        values = json.loads((directory / RESULT).read_text())
        result = AdaptationResult.from_dict(values, directory)
        for row in result.history:
            if on_epoch is not None:
                on_epoch(row)
        return result
    return _adapt(
        config, sources, kind, pool, directory, identity, start, on_epoch, progress, device
    )


def _adapt(
    config: AdaptationConfig,
    sources: Sequence[str | Path],
    kind: tuple[str, tuple[int, ...], int],
    pool: TargetPatterns,
    directory: Path,
    identity: Mapping[str, Any],
    start: str | Path | None,
    on_epoch: OnEpoch | None,
    progress: Progress | None,
    device: str,
) -> AdaptationResult:
    import torch

    from ebsdsg_ml.adaptation.fit import adapt
    from ebsdsg_ml.pattern_model import PatternModel
    from ebsdsg_ml.pattern_source import file_sha256

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    fold = identity["validation_fold"]
    parts, held_out = [], []
    for path in sources:
        with open_dataset(path) as opened:
            folds = [f for f in range(opened.recipe.n_folds) if f != fold]
        parts.append(Labelled.read(path, folds, training=True))
        if fold is not None:
            held_out.append(Labelled.read(path, fold))

    def watch(model: PatternModel) -> dict[str, float]:
        assert pool.labels is not None
        answers = model.logits(pool.patterns).argmax(dim=1).numpy()
        return {"accuracy": float((answers == pool.labels).mean())}

    rows: list[dict[str, Any]] = []

    def report(row: dict[str, Any]) -> None:
        row["files"] = {"checkpoint": RESUME}
        rows.append(row)
        write_history(directory, rows)
        if on_epoch is not None:
            on_epoch(row)

    adapted = adapt(
        config,
        parts,
        pool.patterns,
        classes=kind[1],
        label=kind[0],
        start=None if start is None else PatternModel.load(start),
        validation=Labelled.joined(held_out) if held_out else None,
        resume=directory / RESUME,
        watch=None if pool.labels is None else watch,
        report=report,
        progress=progress,
        device=device,
        card={"dataset_sha256": identity["sources"][0], "training": dict(identity)},
    )
    model_path = adapted.model.save(directory / MODEL)
    chosen = adapted.history[adapted.epoch - 1]
    training = adapted.model.card.training
    result = AdaptationResult(
        model_path=model_path,
        model_sha256=file_sha256(model_path),
        weights_sha256=adapted.model.weights_sha256(),
        history=adapted.history,
        best_epoch=adapted.epoch,
        criterion=adapted.criterion,
        prior=adapted.prior,
        classes=kind[1],
        config=config,
        weights_origin=adapted.model.card.weights_origin,
        precision=training["precision"],
        device=device,
        threads=config.threads or torch.get_num_threads(),
        sources_sha256=tuple(identity["sources"]),
        target_sha256=pool.sha256,
        n_source=training["n_source"],
        n_target=training["n_target"],
        target_accuracy=chosen.get("watch_accuracy"),
    )
    content = json.dumps(result.to_dict(), indent=1, sort_keys=True).encode()
    write_atomically(directory / RESULT, content)
    (directory / RESUME).unlink(missing_ok=True)
    return result


def _same_run(directory: Path, identity: Mapping[str, Any]) -> None:
    """Make sure that the folder's run is the one asked for; say so in a folder that is new."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "run.json"
    if not path.exists():
        write_atomically(path, json.dumps(identity, indent=1, sort_keys=True).encode())
        return
    found = json.loads(path.read_text())
    found["config"] = AdaptationConfig.from_dict(found["config"]).to_dict()
    other = sorted(key for key, value in identity.items() if found.get(key) != value)
    if other:
        raise TrainingError(
            f"{directory} holds another run (different: {', '.join(other)}); use another folder"
        )

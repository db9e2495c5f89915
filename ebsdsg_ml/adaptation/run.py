"""One adaptation in a folder of its own: data-set files and settings in, a model file out.

As with a training, the folder can be gone on from after a kill, and one whose run is finished gives
its result back and computes nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_ml.adaptation.config import AdaptationConfig
from ebsdsg_ml.adaptation.domains import DomainError, Labelled
from ebsdsg_ml.adaptation.result import ORIGIN, AdaptationResult
from ebsdsg_ml.adaptation.target import TargetPatterns, read_target
from ebsdsg_ml.answer_grid import SHOWN, AnswerGrid, Shown, picture_of
from ebsdsg_ml.dataset_file import open_dataset
from ebsdsg_ml.experimental.processing import PatternProcessing
from ebsdsg_ml.recipe import DatasetRecipe
from ebsdsg_ml.simulated_patterns import detector_entries
from ebsdsg_ml.training_result import OnEpoch, TrainingError, write_history
from ebsdsg_sim.atomic_file import write_atomically

if TYPE_CHECKING:
    from ebsdsg_ml.datasets import Progress
    from ebsdsg_ml.pattern_model import PatternModel

log = logging.getLogger(__name__)

RESUME, RESULT, MODEL = "resume.pt", "result.json", "model.pt"


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
    start : model file to start from.  The run is that of its weights, not of the file: a
        calibration changes nothing.
    validation_fold : fold of every source that is held out for ``"source_validation"``; the model
        to start from must not have seen its phases either.
    on_epoch, progress : as in :func:`ebsdsg_ml.training.train`.
    device : ``"cpu"``, ``"cuda"`` or ``"auto"``.

    Raises
    ------
    DomainError, DatasetError
        If sources or target are unusable or do not fit together.
    ModelFileError
        If the model to start from is missing or damaged.
    TrainingError
        If the folder holds another run, or a loss is no longer a finite number.
    DeviceError
        If torch cannot compute on the device.

    Notes
    -----
    Folders of earlier versions do not say what their run started from.  A finished one is known by
    its result; an unfinished one is taken for what is asked for.
    """
    from ebsdsg_ml.pattern_model import PatternModel

    directory = Path(directory)
    recipes: list[DatasetRecipe] = []
    digests: list[str] = []
    trained: set[str] = set()
    held_out: set[str] = set()
    for path in sources:
        with open_dataset(path) as opened:
            recipes.append(opened.recipe)
            digests.append(opened.content_sha256)
            for row in opened.phases:
                if row["fold"] in range(opened.recipe.n_folds):
                    (held_out if row["fold"] == validation_fold else trained).add(row["id"])
    if not recipes:
        raise DomainError("an adaptation needs at least one source")
    first = recipes[0]
    kind = (first.label, first.class_numbers, first.size)
    for recipe, path in zip(recipes, sources, strict=True):
        if (recipe.label, recipe.class_numbers, recipe.size) != kind:
            raise DomainError(f"{path} differs from {sources[0]} in labels, classes or size")
    pool = read_target(target, first.class_numbers, first.label, PatternProcessing.like(first))
    begin = None if start is None else PatternModel.load(start)
    identity = {
        "config": config.to_dict(),
        "sources": digests,
        "target": pool.sha256,
        "start": None if begin is None else begin.weights_sha256(),
        "validation_fold": validation_fold,
    }
    if (directory / RESULT).exists():
        _same_run(directory, identity)
        values = json.loads((directory / RESULT).read_text())
        result = AdaptationResult.from_dict(values, directory)
        for row in result.history:
            if on_epoch is not None:
                on_epoch(row)
        return result
    phases = _phases(trained, held_out, begin)
    _same_run(directory, identity)
    for remark in pool.remarks:
        log.warning("adaptation in %s: %s", directory, remark)
    card = {
        "dataset_sha256": digests[0],
        "detector": detector_entries(first),
        "processing": pool.processing.to_dict(),
        "quality": pool.quality,
        "training": {**identity, **phases},
    }
    return _adapt(config, sources, first, pool, directory, card, begin, on_epoch, progress, device)


def _phases(trained: set[str], held_out: set[str], begin: PatternModel | None) -> dict[str, Any]:
    """Entry of the card: the phases whose labels the model saw, if they are known.

    Raises
    ------
    DomainError
        If a held-out phase is not held out of every source and of the model to start from.
    """
    if both := sorted(held_out.intersection(trained)):
        raise DomainError(
            f"{len(both)} phases of the held-out fold of one source are trained on in another "
            f"({_some(both)}): give sources of the same folds, or leave validation_fold out"
        )
    seen = set() if begin is None else begin.card.training.get("phases")
    if seen is None:
        if held_out:
            raise DomainError(
                "the model to start from does not say which phases it was trained on, so none can "
                "be held out of them: leave validation_fold out"
            )
        return {}
    if both := sorted(held_out.intersection(seen)):
        raise DomainError(
            f"the model to start from was trained on {len(both)} phases of the held-out fold "
            f"({_some(both)}), so its accuracy there would be that of known phases: start from the "
            "model trained without this fold, or leave validation_fold out and take a criterion "
            "without labels"
        )
    return {"phases": sorted(trained.union(seen))}


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if names[3:] else "")


def _adapt(
    config: AdaptationConfig,
    sources: Sequence[str | Path],
    recipe: DatasetRecipe,
    pool: TargetPatterns,
    directory: Path,
    card: Mapping[str, Any],
    begin: PatternModel | None,
    on_epoch: OnEpoch | None,
    progress: Progress | None,
    device: str,
) -> AdaptationResult:
    import torch

    from ebsdsg_ml.adaptation.fit import adapt
    from ebsdsg_ml.pattern_source import file_sha256
    from ebsdsg_sim.device import usable_device

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    usable_device(device)
    identity, classes = card["training"], recipe.class_numbers
    fold = identity["validation_fold"]
    parts, held_out = [], []
    for path in sources:
        with open_dataset(path) as opened:
            folds = [f for f in range(opened.recipe.n_folds) if f != fold]
        parts.append(Labelled.read(path, folds, training=True))
        if fold is not None:
            held_out.append(Labelled.read(path, fold))

    held = Labelled.joined(held_out) if held_out else None
    grid = _grid(directory, held or Labelled.joined(parts), pool, classes)

    def watch(model: PatternModel) -> dict[str, float]:
        grid.draw(
            lambda patterns: model.logits(patterns).argmax(dim=1).tolist(),
            model.card.training["epoch"],
        )
        if pool.labels is None:
            return {}
        answers = model.logits(pool.patterns).argmax(dim=1).numpy()
        return {"accuracy": float((answers == pool.labels).mean())}

    rows: list[dict[str, Any]] = []

    def report(row: dict[str, Any]) -> None:
        row["files"] = {"checkpoint": RESUME, "images": picture_of(row["epoch"])}
        rows.append(row)
        write_history(directory, rows)
        if on_epoch is not None:
            on_epoch(row)

    adapted = adapt(
        config,
        parts,
        pool.patterns,
        classes=classes,
        label=recipe.label,
        start=begin,
        validation=held,
        resume=directory / RESUME,
        watch=watch,
        report=report,
        progress=progress,
        device=device,
        card=card,
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
        classes=classes,
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
        remarks=pool.remarks,
    )
    content = json.dumps(result.to_dict(), indent=1, sort_keys=True).encode()
    write_atomically(directory / RESULT, content)
    (directory / RESUME).unlink(missing_ok=True)
    return result


def _grid(
    directory: Path, source: Labelled, pool: TargetPatterns, classes: Sequence[int]
) -> AnswerGrid:
    """Picture of as many source patterns (held-out ones, if there are any) as target patterns."""
    parts = [
        Shown.spread(source.patterns, source.labels, SHOWN // 2, "source"),
        Shown.spread(pool.patterns, pool.labels, SHOWN // 2, "target"),
    ]
    return AnswerGrid(directory, parts, classes)


def _same_run(directory: Path, identity: Mapping[str, Any]) -> None:
    """Make sure that the folder's run is the one asked for; say so in a folder that is new."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "run.json"
    if not path.exists():
        write_atomically(path, json.dumps(identity, indent=1, sort_keys=True).encode())
        return
    found = json.loads(path.read_text())
    found["config"] = AdaptationConfig.from_dict(found["config"]).to_dict()
    if "start" not in found:
        found["start"] = identity["start"]
        if (directory / RESULT).exists():
            origin = json.loads((directory / RESULT).read_text())["weights_origin"]
            named = origin.startswith(ORIGIN)
            found["start"] = origin.removeprefix(ORIGIN) if named else None
    other = sorted(key for key, value in identity.items() if found.get(key) != value)
    if other:
        raise TrainingError(
            f"{directory} holds another run (different: {', '.join(other)}); use another folder"
        )


__all__ = ["AdaptationResult", "TargetPatterns", "read_target", "run_adaptation"]

"""One training run: a data set and settings in, a model file and its history out.

A run lives in a folder of its own.  It can be killed at any time and started again: it goes on from
its last resume point to the very weights (on a CPU) that it would have reached undisturbed.  A
folder whose run is finished gives its result back and computes nothing.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_ml.dataset_file import CODE_VERSION, open_dataset
from ebsdsg_ml.datasets import Progress
from ebsdsg_ml.pattern_dataset import PatternDataset, open_patterns
from ebsdsg_ml.pattern_source import file_sha256
from ebsdsg_ml.protocol import TrainingConfig, TrainingConfigError
from ebsdsg_ml.training_result import OnEpoch, TrainingError, TrainingResult, finished_result
from ebsdsg_sim.atomic_file import write_atomically

if TYPE_CHECKING:
    from ebsdsg_ml.pattern_model import ModelCard

PRECISION = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}


def resolve_precision(name: str, device: str) -> str:
    """Settle ``"auto"``: bfloat16 where the processor computes with it natively, else float32.

    Parameters
    ----------
    name : precision of the settings.
    device : ``"cpu"`` or ``"cuda"``.
    """
    if name != "auto":
        return name
    import torch

    if device == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    read: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    capabilities = read()
    native = any(capabilities.get(k) for k in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))
    return "bfloat16" if native else "float32"


def train(
    config: TrainingConfig,
    dataset_path: str | Path,
    directory: str | Path,
    *,
    validation_fold: int | None,
    on_epoch: OnEpoch | None = None,
    progress: Progress | None = None,
    device: str = "auto",
) -> TrainingResult:
    """Train a classifier, or go on with a run that was cut off, or return a finished one.

    Parameters
    ----------
    config : settings.
    dataset_path : data set.
    directory : folder of the run; made if it is not there.
    validation_fold : fold to leave out and choose the epoch by; None trains on all folds and takes
        the last epoch (the paper's final model).
    on_epoch : told every finished epoch.  After a resume it is told the earlier epochs again, so
        that no gap remains if the process died between computing and recording; rows are the same
        for the same ``epoch``.
    progress : told after every step: steps done, steps in all, what.
    device : ``"cpu"``, ``"cuda"``, one GPU as in ``"cuda:1"``, or ``"auto"``.

    Returns
    -------
    The result; the model is at ``.model_path``.

    Raises
    ------
    TrainingError
        If the folder holds another run, or the loss is no longer a finite number.
    TrainingConfigError, DatasetError, ModelError, TransformError
        If settings, data set, weights file or flips do not fit.
    DeviceError
        If torch cannot compute on the device.
    """
    directory = Path(directory)
    with open_dataset(dataset_path) as opened:
        dataset_sha256, recipe = opened.content_sha256, opened.recipe
    if validation_fold is not None and not 0 <= validation_fold < recipe.n_folds:
        raise TrainingConfigError(
            f"validation_fold = {validation_fold}: the data set has folds 0 to {recipe.n_folds - 1}"
        )
    identity = {
        "config": config.to_dict(),
        "dataset_sha256": dataset_sha256,
        "validation_fold": validation_fold,
    }
    directory.mkdir(parents=True, exist_ok=True)
    finished = finished_result(directory)
    if finished is not None:
        _same_run(directory, identity)
        for row in finished.history:
            if on_epoch is not None:
                on_epoch(row)
        return finished

    import torch

    from ebsdsg_ml.held_out import calibrated_on
    from ebsdsg_ml.ranks import all_ranks
    from ebsdsg_ml.training_loop import run_training
    from ebsdsg_sim.device import usable_device

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    kind = usable_device(device).type
    run_file = directory / "run.json"
    if run_file.exists():
        precision = _same_run(directory, identity)["precision"]
    else:
        precision = resolve_precision(config.precision, kind)
        _write_json(run_file, {**identity, "precision": precision, "code_version": CODE_VERSION})
    training, validation = patterns_of(dataset_path, validation_fold)
    with quiet(), _threads(config.threads) as threads:
        task = {
            **identity,
            "dataset": str(Path(dataset_path).absolute()),
            "directory": str(directory.absolute()),
            "precision": PRECISION[precision],
            "device": device,
            "threads": threads,
        }
        with all_ranks(config.devices, device, task) as rank:
            outcome = run_training(
                config,
                training,
                validation,
                directory,
                precision=PRECISION[precision],
                device=device,
                on_epoch=on_epoch,
                progress=progress,
                rank=rank,
            )
    assert outcome is not None, "this is rank 0"
    best = outcome.history[outcome.best_epoch - 1]
    card = _card(config, training, outcome.origin, validation_fold, best, precision)
    model = outcome.model(card)
    if validation is not None:
        model = calibrated_on(model, validation)
    model_path = model.save(directory / "model.pt")
    calibration = model.card.calibration
    result = TrainingResult(
        directory=directory,
        model_path=model_path,
        model_sha256=file_sha256(model_path),
        weights_sha256=outcome.weights_sha256,
        history=outcome.history,
        best_epoch=outcome.best_epoch,
        validation_accuracy=best["validation_accuracy"],
        confusion=outcome.confusion,
        classes=training.classes,
        validation_fold=validation_fold,
        dataset_sha256=dataset_sha256,
        config=config,
        precision=precision,
        device=device,
        threads=threads,
        weights_origin=outcome.origin,
        n_training=len(training),
        n_validation=0 if validation is None else len(validation),
        seconds=sum(row["seconds"] for row in outcome.history),
        calibration=None if calibration is None else calibration.to_dict(),
    )
    _write_json(directory / "result.json", result.to_dict())
    outcome.discard_checkpoints()
    return result


def patterns_of(
    dataset_path: str | Path, validation_fold: int | None
) -> tuple[PatternDataset, PatternDataset | None]:
    """Patterns to train on, and the held-out ones.

    Parameters
    ----------
    dataset_path : data set.
    validation_fold : fold that is held out, or None.
    """
    with open_dataset(dataset_path) as opened:
        folds = [f for f in range(opened.recipe.n_folds) if f != validation_fold]
    training = open_patterns(dataset_path, folds, training=True)
    if validation_fold is None:
        return training, None
    return training, open_patterns(dataset_path, validation_fold)


def _card(
    config: TrainingConfig,
    training: PatternDataset,
    origin: str,
    validation_fold: int | None,
    best: Mapping[str, Any],
    precision: str,
) -> ModelCard:
    from ebsdsg_ml.experimental.processing import PatternProcessing
    from ebsdsg_ml.pattern_model import ModelCard
    from ebsdsg_ml.quality import QualityDefinition
    from ebsdsg_ml.simulated_patterns import detector_entries
    from ebsdsg_ml.training_loop import preprocessing_of

    recipe = training.recipe
    return ModelCard(
        model=config.model,
        classes=training.classes,
        label=recipe.label,
        preprocessing=preprocessing_of(config, recipe.size),
        weights_origin=origin,
        detector=detector_entries(recipe),
        dataset_sha256=training.content_sha256,
        processing=PatternProcessing.like(recipe).to_dict(),
        quality=QualityDefinition(recipe.size).to_dict(),
        training={
            "config": config.to_dict(),
            "validation_fold": validation_fold,
            "best_epoch": best["epoch"],
            "validation_accuracy": best["validation_accuracy"],
            "precision": precision,
            "n_training": len(training),
            "phases": sorted(r["id"] for r in training.phases if r["fold"] in training.folds),
        },
    )


def _same_run(directory: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the folder's run is, and make sure that it is the one asked for."""
    path = directory / "run.json"
    try:
        found = json.loads(path.read_text())
        config = TrainingConfig.from_dict(found["config"]).to_dict()
    except (OSError, KeyError, ValueError) as error:
        raise TrainingError(f"{path} does not say what run the folder holds: {error}") from error
    other = [key for key in ("dataset_sha256", "validation_fold") if found[key] != identity[key]]
    other += [key for key, value in identity["config"].items() if config[key] != value]
    if other:
        raise TrainingError(
            f"{directory} holds another run (different: {', '.join(other)}); use another folder"
        )
    return found


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(values, indent=1, sort_keys=True).encode())


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's banners and advice; errors still speak."""
    loggers = [logging.getLogger(n) for n in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        warnings.filterwarnings("ignore", message=r".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=r".*deterministic implementation.*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _threads(wanted: int | None) -> Iterator[int]:
    """Set torch's CPU threads for the time of a run; yields the number in force."""
    import torch

    before = torch.get_num_threads()
    if wanted is not None:
        torch.set_num_threads(wanted)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


__all__ = [
    "OnEpoch",
    "TrainingConfig",
    "TrainingError",
    "TrainingResult",
    "finished_result",
    "quiet",
    "resolve_precision",
    "train",
]

"""Lightning's part of a training run: trainer, resume points, best weights.

A resume point is a Lightning checkpoint (weights, optimiser, schedule, loop counters) with the
history so far; order and augmentation need no state of their own, they follow from the step.  It is
written under a temporary name and renamed, so that a kill never leaves half of one.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from ebsdsg_ml.answer_grid import AnswerGrid
from ebsdsg_ml.classifier import PatternClassifier, collate
from ebsdsg_ml.datasets import Progress
from ebsdsg_ml.models import build_model
from ebsdsg_ml.pattern_dataset import PatternDataset
from ebsdsg_ml.pattern_model import ModelCard, PatternModel, state_sha256
from ebsdsg_ml.protocol import TrainingConfig
from ebsdsg_ml.sampler import EpochSampler
from ebsdsg_ml.training_result import OnEpoch, TrainingError, write_history
from ebsdsg_ml.transforms import Preprocessing, check_flips, crop_size
from ebsdsg_sim.atomic_file import new_file, write_atomically


def preprocessing_of(config: TrainingConfig, size: int) -> Preprocessing:
    """Preprocessing that settings ask for, for patterns of `size` pixels per side."""
    crop = crop_size(size) if config.crop is None else config.crop
    return Preprocessing(size, crop, config.background, config.normalisation)


@dataclass
class Outcome:
    """A run that has made all its steps.

    Parameters
    ----------
    directory : folder of the run.
    module : the classifier, holding the best weights.
    origin : where the weights started from.
    best_epoch, confusion : of the weights.
    """

    directory: Path
    module: PatternClassifier
    origin: str
    best_epoch: int
    confusion: list[list[int]] | None

    @property
    def history(self) -> list[dict[str, Any]]:
        """One row per epoch."""
        return self.module.history

    @property
    def weights_sha256(self) -> str:
        """Digest of the weights."""
        return state_sha256(self.module.network.state_dict())

    def model(self, card: ModelCard) -> PatternModel:
        """The trained network with what is known of it."""
        return PatternModel(self.module.network.cpu(), card)

    def discard_checkpoints(self) -> None:
        """Remove what only a resume needs."""
        for name in (ResumePoint.FILE, BestWeights.FILE):
            (self.directory / name).unlink(missing_ok=True)


class ResumePoint(pl.Callback):
    """Writes resume points, at the end of every epoch and every so many steps.

    Parameters
    ----------
    directory : folder of the run.
    every : steps between points inside an epoch; 0 for none.
    """

    FILE = "resume.ckpt"

    def __init__(self, directory: Path, every: int) -> None:
        self.path = directory / self.FILE
        self.every = every

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, *_: object
    ) -> None:
        """Write a point inside an epoch, if it is time; the epoch's last step waits for its end."""
        step = trainer.global_step
        inside = step % module.steps_per_epoch != 0  # type: ignore[operator]
        if self.every and inside and step % self.every == 0:
            self.write(trainer)

    def history(self) -> list[dict[str, Any]]:
        """Epochs finished at the point; none if there is no point."""
        if not self.path.exists():
            return []
        return list(torch.load(self.path, map_location="cpu", weights_only=True)["history"])

    def weights(self) -> dict[str, torch.Tensor]:
        """State of the classifier at the point."""
        return torch.load(self.path, map_location="cpu", weights_only=True)["state_dict"]

    def write(self, trainer: pl.Trainer) -> None:
        """Write a point now."""
        with new_file(self.path) as temporary:
            trainer.save_checkpoint(temporary)


class BestWeights:
    """The weights of the best epoch so far, kept in a file beside the resume point.

    Parameters
    ----------
    directory : folder of the run.
    """

    FILE = "best.pt"

    def __init__(self, directory: Path) -> None:
        self.path = directory / self.FILE

    def consider(self, module: PatternClassifier) -> None:
        """Keep the present weights if the last epoch is the best; ties go to the earlier one."""
        row = module.history[-1]
        score = row["validation_accuracy"]
        earlier = [r["validation_accuracy"] for r in module.history[:-1]]
        if score is not None and all(score > other for other in earlier):
            buffer = io.BytesIO()
            torch.save(
                {
                    "epoch": row["epoch"],
                    "confusion": module.confusion.clone(),
                    "weights": {k: t.cpu() for k, t in module.network.state_dict().items()},
                },
                buffer,
            )
            write_atomically(self.path, buffer.getbuffer())

    def restore(self, module: PatternClassifier) -> tuple[int, list[list[int]] | None]:
        """Put the best weights into the module; return their epoch and confusion matrix."""
        if module.history[-1]["validation_accuracy"] is None:
            return len(module.history), None
        best = torch.load(self.path, map_location=module.device, weights_only=True)
        module.network.load_state_dict(best["weights"])
        return int(best["epoch"]), best["confusion"].tolist()


class EpochEnd(pl.Callback):
    """Closes an epoch: picture, row of the history, best weights, resume point, report.

    Parameters
    ----------
    best, resume : what keeps the weights.
    grid : draws the picture.
    on_epoch, progress : told of epochs and steps.
    total : steps of the whole run.
    """

    def __init__(
        self,
        best: BestWeights,
        resume: ResumePoint,
        grid: AnswerGrid,
        on_epoch: OnEpoch | None,
        progress: Progress | None,
        total: int,
    ) -> None:
        self.best, self.resume, self.grid, self.total = best, resume, grid, total
        self.on_epoch, self.progress = on_epoch, progress
        self.started = time.perf_counter()

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Report the epochs of a resumed run again."""
        assert isinstance(module, PatternClassifier)
        for row in module.history:
            if self.on_epoch is not None:
                self.on_epoch(row)
        self.started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, *_: object
    ) -> None:
        """Report the step; refuse to go on without a finite loss."""
        loss = float(outputs["loss"])
        if loss != loss or loss in (float("inf"), float("-inf")):
            raise TrainingError(
                f"the loss is {loss} at step {trainer.global_step}: lower the learning rate"
            )
        if self.progress is not None:
            epoch = (trainer.global_step - 1) // module.steps_per_epoch + 1  # type: ignore[operator]
            self.progress(trainer.global_step, self.total, f"epoch {epoch}, loss {loss:.3f}")

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Close the epoch."""
        assert isinstance(module, PatternClassifier)
        now = time.perf_counter()
        row = module.close_epoch(now - self.started)
        self.started = now
        images = self.grid.draw(module, row["epoch"])
        row["files"] = {"checkpoint": ResumePoint.FILE, "images": images}
        write_history(self.grid.directory, module.history)
        self.best.consider(module)
        self.resume.write(trainer)
        trainer.should_stop = module.config.is_over(module.history)
        if self.on_epoch is not None:
            self.on_epoch(row)


def run_training(
    config: TrainingConfig,
    training: PatternDataset,
    validation: PatternDataset | None,
    directory: Path,
    *,
    precision: str,
    device: str,
    on_epoch: OnEpoch | None,
    progress: Progress | None,
) -> Outcome:
    """Make all steps of a run that are still to be made.

    Parameters
    ----------
    config, training, validation, directory : settings, patterns, folder of the run.
    precision : Lightning's name of the precision.
    device : ``"cpu"`` or ``"cuda"``.
    on_epoch, progress : told of epochs and steps.

    Returns
    -------
    The outcome, with the best weights in place.
    """
    if config.flips:
        check_flips(training.classes)
    preprocessing = preprocessing_of(config, training.recipe.size)
    n_classes = len(training.classes)
    network, origin = build_model(config.model, n_classes, weights=config.weights, seed=config.seed)
    if config.channels_last:
        network = network.to(memory_format=torch.channels_last)
    batches = EpochSampler(training, config.batch_size, config.seed, lambda: trainer.global_step)
    module = PatternClassifier(network, config, preprocessing, n_classes, len(batches))
    best, resume = BestWeights(directory), ResumePoint(directory, config.checkpoint_steps)
    grid = AnswerGrid(directory, training if validation is None else validation)
    end = EpochEnd(best, resume, grid, on_epoch, progress, config.epochs * len(batches))
    deterministic = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        trainer = pl.Trainer(
            accelerator=device,
            devices=1,
            precision=precision,  # type: ignore[arg-type]
            max_epochs=config.epochs,
            callbacks=[resume, end],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            # some backward passes have no deterministic form on a GPU
            deterministic=True if device == "cpu" else "warn",
            default_root_dir=directory,
        )
        loader: DataLoader[Any] = DataLoader(
            training,  # type: ignore[arg-type]
            batch_sampler=batches,  # type: ignore[arg-type]
            collate_fn=collate,
            num_workers=config.workers,
        )
        check: DataLoader[Any] | None = None
        if validation is not None:
            check = DataLoader(
                validation,  # type: ignore[arg-type]
                batch_size=128,
                collate_fn=collate,
                num_workers=config.workers,
            )
        module.history = resume.history()
        try:
            if not config.is_over(module.history):
                trainer.fit(
                    module,
                    train_dataloaders=loader,
                    val_dataloaders=check,
                    ckpt_path=resume.path if resume.path.exists() else None,
                    weights_only=True,
                )
            else:  # killed between its last epoch and its result
                module.load_state_dict(resume.weights())
                end.on_train_start(trainer, module)
        finally:
            torch.use_deterministic_algorithms(deterministic)
    if not config.is_over(module.history):
        raise TrainingError(
            f"the run in {directory} stopped after {len(module.history)} of {config.epochs} "
            "epochs (SIGTERM or interrupt); start it again to go on"
        )
    best_epoch, confusion = best.restore(module)
    return Outcome(directory, module, origin, best_epoch, confusion)

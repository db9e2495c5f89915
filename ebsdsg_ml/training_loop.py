"""Lightning's part of a training run: the trainer, and what happens at the end of every epoch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader

from ebsdsg_ml.answer_grid import AnswerGrid
from ebsdsg_ml.classifier import PatternClassifier, collate
from ebsdsg_ml.datasets import Progress
from ebsdsg_ml.model_file import state_sha256
from ebsdsg_ml.models import build_model
from ebsdsg_ml.pattern_dataset import PatternDataset
from ebsdsg_ml.pattern_model import ModelCard, PatternModel
from ebsdsg_ml.protocol import TrainingConfig, TrainingConfigError
from ebsdsg_ml.ranks import ALONE, Rank
from ebsdsg_ml.resume_point import BestWeights, ResumePoint
from ebsdsg_ml.sampler import EpochSampler
from ebsdsg_ml.training_result import OnEpoch, TrainingError, write_history
from ebsdsg_ml.transforms import Preprocessing, check_flips, crop_size

ANSWERED = 128
"""Held-out patterns that a device answers at the same time."""


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


class EpochEnd(pl.Callback):
    """Closes an epoch: picture, row of the history, best weights, resume point, report.

    Only rank 0 writes and reports.

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
        self.started = time.perf_counter()
        if not trainer.is_global_zero:
            return
        for row in module.history:
            if self.on_epoch is not None:
                self.on_epoch(row)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, *_: object
    ) -> None:
        """Report the step; refuse to go on without a finite loss."""
        loss = float(outputs["mean"])
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
        if trainer.is_global_zero:
            images = self.grid.draw(module.answers, row["epoch"])
            row["files"] = {"checkpoint": ResumePoint.FILE, "images": images}
            write_history(self.grid.directory, module.history)
            self.best.consider(module)
        self.resume.write(trainer)
        trainer.should_stop = module.config.is_over(module.history)
        if trainer.is_global_zero and self.on_epoch is not None:
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
    rank: Rank = ALONE,
) -> Outcome | None:
    """Make all steps of a run that are still to be made.

    Parameters
    ----------
    config, training, validation, directory : settings, patterns, folder of the run.
    precision : Lightning's name of the precision.
    device : ``"cpu"``, ``"cuda"``, or one GPU as in ``"cuda:1"``.
    on_epoch, progress : told of epochs and steps.
    rank : which of the processes that make the steps together this is.

    Returns
    -------
    The outcome, with the best weights in place; None if this is not rank 0.

    Raises
    ------
    TrainingConfigError
        If the batches are too small to be shared out over the devices.
    """
    if config.flips:
        check_flips(training.classes)
    preprocessing = preprocessing_of(config, training.recipe.size)
    n_classes = len(training.classes)
    network, origin = build_model(config.model, n_classes, weights=config.weights, seed=config.seed)
    if config.channels_last:
        network = network.to(memory_format=torch.channels_last)
    batches = EpochSampler(
        training, config.batch_size, config.seed, lambda: trainer.global_step, share=rank.share
    )
    smallest = len(training) // len(batches)
    if rank.of > 1 and smallest < 2 * rank.of:
        raise TrainingConfigError(
            f"devices = {rank.of}: batches of {smallest} patterns leave a device fewer than two"
        )
    module = PatternClassifier(network, config, preprocessing, n_classes, len(batches), rank)
    best, resume = BestWeights(directory), ResumePoint(directory, config.checkpoint_steps)
    grid = AnswerGrid.of_dataset(directory, training if validation is None else validation)
    end = EpochEnd(best, resume, grid, on_epoch, progress, config.epochs * len(batches))
    deterministic = torch.are_deterministic_algorithms_enabled()
    kind, _, number = device.partition(":")
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        trainer = pl.Trainer(
            accelerator=kind,
            devices=[int(number)] if number else rank.of,
            strategy=rank.strategy(),
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
            deterministic=True if kind == "cpu" else "warn",
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
                batch_sampler=held_out_batches(len(validation), rank),  # type: ignore[arg-type]
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
    if rank.number:
        return None
    best_epoch, confusion = best.restore(module)
    return Outcome(directory, module, origin, best_epoch, confusion)


def held_out_batches(n: int, rank: Rank) -> list[list[int]]:
    """A rank's share of all held-out patterns, in as many batches as every other rank has.

    Parameters
    ----------
    n : number of held-out patterns.
    rank : whose share.

    Raises
    ------
    TrainingConfigError
        If there are fewer patterns than ranks.
    """
    if n < rank.of:
        raise TrainingConfigError(f"devices = {rank.of}: there are {n} held-out patterns")
    together = np.array_split(np.arange(n), -(-n // (ANSWERED * rank.of)))
    return [rank.share(batch).tolist() for batch in together]

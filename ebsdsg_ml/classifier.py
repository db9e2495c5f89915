"""The classifier as a Lightning module.

All chance in a step (which patterns, which crops and flips, dropout) follows from the seed and the
step's number.  A run that was cut off and resumed at any step therefore goes on exactly as the
uninterrupted one would have.
"""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ebsdsg_ml.protocol import TrainingConfig
from ebsdsg_ml.ranks import ALONE, Rank
from ebsdsg_ml.sampler import step_seed
from ebsdsg_ml.transforms import Preprocessing

RANK_PURPOSE = 16
"""Distance between the purposes of :func:`ebsdsg_ml.sampler.step_seed` of one rank and the next."""

Batch = tuple[Tensor, Tensor, Tensor]
"""Patterns (n, H, W) uint8, class indices (n,), rows of the data set (n,)."""


def collate(items: list[tuple[Tensor, int, int]]) -> Batch:
    """Join the items of a :class:`ebsdsg_ml.pattern_dataset.PatternDataset` to a batch."""
    patterns, labels, rows = zip(*items, strict=True)
    return torch.stack(patterns), torch.tensor(labels), torch.tensor(rows)


class PatternClassifier(pl.LightningModule):
    """Cross-entropy training of a network on patterns.

    Parameters
    ----------
    network : takes (n, 1, crop, crop), gives (n, classes) logits.
    config : settings.
    preprocessing : how patterns become inputs.
    n_classes : number of classes.
    steps_per_epoch : batches of one epoch.
    rank : which of the processes that make the steps together this is.

    Attributes
    ----------
    history : one row per finished epoch.
    confusion : (classes, classes) counts of the last validation.
    """

    def __init__(
        self,
        network: nn.Module,
        config: TrainingConfig,
        preprocessing: Preprocessing,
        n_classes: int,
        steps_per_epoch: int,
        rank: Rank = ALONE,
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.preprocessing = preprocessing
        self.n_classes = n_classes
        self.steps_per_epoch = steps_per_epoch
        self.rank = rank
        self.history: list[dict[str, Any]] = []
        self.confusion = torch.zeros(n_classes, n_classes, dtype=torch.int64)
        # sums over the present epoch: loss, right answers, patterns; then the same in validation
        self.sums = torch.zeros(3, dtype=torch.float64)
        self.validation_sums = torch.zeros(3, dtype=torch.float64)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, classes) of prepared patterns (n, 1, crop, crop)."""
        if self.config.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return self.network(inputs)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Fix all chance of the step (dropout included) by the step's number."""
        torch.manual_seed(self._step_seed(purpose=2))

    def _step_seed(self, purpose: int) -> int:
        """Seed of the present step, another one on every rank."""
        step = self.global_step
        return step_seed(self.config.seed, step, purpose + RANK_PURPOSE * self.rank.number)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Loss of one batch of randomly cropped and flipped patterns.

        Returns
        -------
        ``loss`` to descend, and ``mean``, the loss of the whole batch on all ranks.
        """
        patterns, labels, _ = batch
        generator = torch.Generator().manual_seed(self._step_seed(purpose=0))
        inputs = self.preprocessing.for_training(patterns, generator, flips=self.config.flips)
        logits = self(inputs).float()
        loss = cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)
        with torch.no_grad():
            sums = self.rank.total(_sums(loss, logits, labels), self.device)
            self.sums += sums
        # gradients are averaged over the ranks; weighted so, that is the mean over the patterns
        share = len(labels) * self.rank.of / float(sums[2])
        return {"loss": loss if share == 1 else loss * share, "mean": sums[0] / sums[2]}

    def on_validation_epoch_start(self) -> None:
        """Begin counting anew."""
        self.confusion.zero_()
        self.validation_sums.zero_()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count the answers for one batch, cropped at the centre."""
        patterns, labels, _ = batch
        logits = self(self.preprocessing.for_evaluation(patterns)).float()
        self.validation_sums += _sums(cross_entropy(logits, labels), logits, labels)
        cells = (labels * self.n_classes + logits.argmax(dim=1)).cpu()
        counts = torch.bincount(cells, minlength=self.n_classes**2)
        self.confusion += counts.reshape(self.n_classes, self.n_classes)

    def on_validation_epoch_end(self) -> None:
        """Add up what the ranks counted."""
        self.validation_sums = self.rank.total(self.validation_sums, self.device)
        self.confusion = self.rank.total(self.confusion, self.device)

    @torch.no_grad()
    def answers(self, patterns: np.ndarray) -> list[int]:
        """Most probable class of some patterns; averages and random state stay as they are.

        Parameters
        ----------
        patterns : (n, H, W) uint8.
        """
        training = self.training
        self.eval()
        inputs = self.preprocessing.for_evaluation(torch.from_numpy(patterns))
        answers = self(inputs.to(self.device)).argmax(dim=1).tolist()
        self.train(training)
        return answers

    def close_epoch(self, seconds: float) -> dict[str, Any]:
        """Append the row of the epoch that ended and return it.

        Parameters
        ----------
        seconds : wall time of the epoch (its last piece, if the run was resumed within it).
        """
        loss, right, n = self.sums.tolist()
        row: dict[str, Any] = {
            "epoch": len(self.history) + 1,
            "step": self.global_step,
            "learning_rate": self.config.learning_rate
            * self.config.learning_rate_factor(self.global_step - 1, self.steps_per_epoch),
            "train_loss": loss / n,
            "train_accuracy": right / n,
            "validation_loss": None,
            "validation_accuracy": None,
            "seconds": seconds,
        }
        loss, right, n = self.validation_sums.tolist()
        if n:
            row["validation_loss"] = loss / n
            row["validation_accuracy"] = right / n
        self.history.append(row)
        self.sums.zero_()
        return row

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Optimiser and schedule, the schedule counted in steps."""
        config = self.config
        optimizer: torch.optim.Optimizer
        if config.optimizer == "sgd":
            optimizer = torch.optim.SGD(
                self.network.parameters(),
                lr=config.learning_rate,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
            )
        else:
            optimizer = torch.optim.AdamW(
                self.network.parameters(),
                lr=config.learning_rate,
                weight_decay=config.weight_decay,
                fused=True,  # a quarter of the time on a CPU
            )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: config.learning_rate_factor(step, self.steps_per_epoch)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the history and the sums of the unfinished epoch."""
        checkpoint["history"] = self.history
        checkpoint["sums"] = self.sums.clone()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them up again."""
        self.history = list(checkpoint["history"])
        self.sums = checkpoint["sums"].clone()


def _sums(loss: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Sums over a batch: loss, right answers, patterns; (3,) float64 on the CPU."""
    right = (logits.argmax(dim=1) == labels).sum()
    n = len(labels)
    return torch.tensor([float(loss.detach()) * n, float(right), float(n)], dtype=torch.float64)

"""How a classifier is trained, said once.

The defaults are the paper's protocol for ResNet18: stochastic gradient descent, learning rate 0.001
times 0.9 every 7 epochs, momentum 0.9, 10 epochs, random crop and flips, best epoch by validation
accuracy.  It starts from ImageNet weights; from random weights on a small data set other settings
learn in fewer steps, and every one of them is an entry here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ebsdsg_ml.checked import check_choice, check_number, check_text, check_whole, from_mapping


class TrainingConfigError(ValueError):
    """A training setting is not usable; the message names it and what is allowed."""


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one training run.

    Parameters
    ----------
    model : classification model of torchvision or timm.
    weights : local file of ImageNet weights as torchvision distributes them, or None to start from
        random weights.  Never downloaded.
    epochs : passes over the training patterns.
    patience : epochs without a better validation accuracy after which the training stops early; 0
        never does, and without a held-out fold it has no effect.
    batch_size : patterns per step (*open* in the paper).  The patterns of an epoch are shared out
        evenly, so a batch may be a little smaller.
    optimizer : ``"sgd"`` (with `momentum`) or ``"adamw"``.
    learning_rate : at the start (``"step"``) or at its highest (``"onecycle"``).
    momentum : of stochastic gradient descent.
    weight_decay : of the optimiser.
    schedule : ``"step"`` multiplies the rate by `gamma` every `step_epochs` epochs; ``"onecycle"``
        raises it over the first 30 % of the steps and lowers it to nothing, both as a cosine
        (L. N. Smith, arXiv:1803.09820); ``"constant"`` leaves it.
    step_epochs, gamma : of the ``"step"`` schedule.
    crop : pixels per side after the crop; None takes the paper's share, 224 of 229.
    flips : mirror patterns up-down and left-right at random; sound only when every class has
        improper operations, which is checked.
    background : width of the blur subtracted from the patterns, as a fraction of their size;
        0 keeps the background (see :class:`ebsdsg_ml.transforms.Preprocessing`).
    normalisation : ``"pattern"`` or ``"imagenet"``.
    label_smoothing : of the cross entropy.
    precision : ``"float32"``; ``"bfloat16"`` computes convolutions in 16 bits (1.7 times faster on
        processors that have them, many times slower on others); ``"auto"`` takes bfloat16 where the
        processor has it, and the result says what was taken; ``"float16"`` is for GPUs.
    channels_last : memory layout; a little faster on CPUs, much on GPUs.
    threads : CPU threads of the computation; None leaves the process's setting.  The weights depend
        on it in the last bits.
    devices : GPUs, or processes on a CPU, of one machine that make every step together, each with
        its share of the batch; the mean of their gradients is that of the batch.  BatchNorm sees
        each share alone and keeps the first device's averages.
    workers : processes that read patterns (for each device); 0 reads in the training process.
    checkpoint_steps : steps between resume points inside an epoch; 0 makes one per epoch only.
    seed : of weights, order, crops and flips.

    Raises
    ------
    TrainingConfigError
        If a value is out of range.
    """

    model: str = "resnet18"
    weights: str | None = None
    epochs: int = 10
    patience: int = 0
    batch_size: int = 32
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: Literal["step", "onecycle", "constant"] = "step"
    step_epochs: int = 7
    gamma: float = 0.9
    crop: int | None = None
    flips: bool = True
    background: float = 0.125
    normalisation: Literal["pattern", "imagenet"] = "pattern"
    label_smoothing: float = 0.0
    precision: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    channels_last: bool = True
    threads: int | None = None
    devices: int = 1
    workers: int = 0
    checkpoint_steps: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        whole = {"epochs": 1, "batch_size": 2, "step_epochs": 1, "devices": 1, "workers": 0}
        for name, low in {**whole, "patience": 0, "checkpoint_steps": 0, "seed": 0}.items():
            check_whole(self, name, low, TrainingConfigError)
        for name in ("crop", "threads"):
            if getattr(self, name) is not None:
                check_whole(self, name, 1, TrainingConfigError)
        check_text(self, "model", TrainingConfigError)
        if self.weights is not None:
            check_text(self, "weights", TrainingConfigError)
        if self.batch_size < 2 * self.devices:
            raise TrainingConfigError(
                f"batch_size = {self.batch_size}: {self.devices} devices need two patterns each"
            )
        ranges: dict[str, tuple[float, float]] = {
            "learning_rate": (0.0, math.inf),
            "momentum": (0.0, 1.0),
            "weight_decay": (0.0, math.inf),
            "gamma": (0.0, 1.0),
            "background": (0.0, 1.0),
            "label_smoothing": (0.0, 1.0),
        }
        for name, (least, most) in ranges.items():
            check_number(self, name, least, most, TrainingConfigError)
        choices: dict[str, tuple[object, ...]] = {
            "optimizer": ("sgd", "adamw"),
            "schedule": ("step", "onecycle", "constant"),
            "normalisation": ("pattern", "imagenet"),
            "precision": ("float32", "bfloat16", "float16", "auto"),
            "flips": (True, False),
            "channels_last": (True, False),
        }
        for name, allowed in choices.items():
            check_choice(self, name, allowed, TrainingConfigError)

    def is_over(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a run with these epochs has made its last one.

        Parameters
        ----------
        history : rows of the finished epochs.
        """
        scores = [row["validation_accuracy"] for row in history]
        if len(scores) >= self.epochs:
            return True
        if not self.patience or not scores or None in scores:
            return False
        return len(scores) - 1 - scores.index(max(scores)) >= self.patience

    def learning_rate_factor(self, step: int, steps_per_epoch: int) -> float:
        """Learning rate of a step as a fraction of :attr:`learning_rate`.

        Parameters
        ----------
        step : number of the step from 0, over the whole run.
        steps_per_epoch : steps of one epoch.
        """
        if self.schedule == "constant":
            return 1.0
        if self.schedule == "step":
            return self.gamma ** (step // steps_per_epoch // self.step_epochs)
        total = self.epochs * steps_per_epoch
        rise = max(1, round(0.3 * total))
        if step < rise:  # from 1/25 to 1, Smith's ratio
            return 0.04 + 0.96 * (1 - math.cos(math.pi * step / rise)) / 2
        return (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total - rise)))) / 2

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """Build settings from a mapping (a YAML file's content, for example).

        Raises
        ------
        TrainingConfigError
            If a key is unknown or a value out of range.
        """
        return from_mapping(cls, values, "training", TrainingConfigError)

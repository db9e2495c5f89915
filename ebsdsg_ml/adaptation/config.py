"""How a network is adapted to unlabelled patterns, said once for all methods.

The defaults are the paper's MCD: ResNet50, Adam 2e-4, batches of 128, 20 epochs, four generator
steps, no class-balance term, and no choice of the epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ebsdsg_ml.checked import check_choice, check_number, check_text, check_whole, from_mapping

MethodName = Literal["source-only", "adabn", "mcd", "mcc", "self-training"]
METHOD_NAMES = ("source-only", "adabn", "mcd", "mcc", "self-training")

Criterion = Literal[
    "last",
    "source_validation",
    "entropy",
    "mutual_information",
    "bnm",
    "agreement",
    "neighbourhood_density",
]
CRITERION_NAMES = (
    "last",
    "source_validation",
    "entropy",
    "mutual_information",
    "bnm",
    "agreement",
    "neighbourhood_density",
)


class AdaptationConfigError(ValueError):
    """A setting of the adaptation is not usable; the message names it and what is allowed."""


@dataclass(frozen=True)
class AdaptationConfig:
    """Settings of one adaptation run.

    Parameters
    ----------
    method : ``"source-only"``, ``"adabn"``, ``"mcd"``, ``"mcc"`` or ``"self-training"``.
    model : torchvision or timm name of the network.
    weights : local file of ImageNet weights, or None for random ones; a model to start from is
        given to :func:`ebsdsg_ml.adaptation.adapt` and then counts instead.
    epochs : of `steps_per_epoch` steps each.
    steps_per_epoch : None takes one pass over all source patterns.
    batch_size : source patterns of a step, and as many target patterns beside them.
    optimizer : ``"adam"`` or ``"sgd"`` (with `momentum`).
    learning_rate, momentum, weight_decay : of the optimisers.
    batchnorm : what BatchNorm sees: ``"separate"`` passes source and target one after the other
        (as Dassl does), ``"joint"`` passes them in one batch (as MCD's original code does).
    statistics : of BatchNorm when it answers: ``"running"`` averages of the training, or
        ``"target"``: computed from the target patterns for the answers (always so with AdaBN).
    warmup_steps : steps on source alone before the target takes part (*not* in the paper: 0);
        fewer than the run has.
    generator_steps : n, the generator's steps on the discrepancy in each step of MCD.
    inference : of MCD: the ``"first"`` head, or ``"both"`` (mean of their logits).
    target_weight : of the target's loss against the source's, in MCC and self-training.
    confusion_temperature : T of MCC.
    keep_first, keep_last : share of each class's pseudo-labels used in the first and in the last
        epoch of self-training, the most confident ones; linear in between.
    balanced : draw pseudo-labels of all classes equally often (else as they occur).
    prior_correction : estimate how frequent the classes are in the target pool and correct the
        answers of self-training for it.
    criterion : which epoch's weights are kept; see :mod:`ebsdsg_ml.selection`.  None of them
        sees target labels.
    crop, flips, background, normalisation : as in :class:`ebsdsg_ml.protocol.TrainingConfig`.
    precision : ``"float32"``, ``"bfloat16"`` or ``"auto"``.
    channels_last, threads, seed : as in :class:`ebsdsg_ml.protocol.TrainingConfig`.
    checkpoint_steps : steps between resume points inside an epoch; 0 makes one per epoch only.

    Raises
    ------
    AdaptationConfigError
        If a value is out of range.
    """

    method: MethodName = "mcd"
    model: str = "resnet50"
    weights: str | None = None
    epochs: int = 20
    steps_per_epoch: int | None = None
    batch_size: int = 128
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 2e-4
    momentum: float = 0.9
    weight_decay: float = 0.0
    batchnorm: Literal["separate", "joint"] = "separate"
    statistics: Literal["running", "target"] = "running"
    warmup_steps: int = 0
    generator_steps: int = 4
    inference: Literal["first", "both"] = "first"
    target_weight: float = 1.0
    confusion_temperature: float = 2.5
    keep_first: float = 0.5
    keep_last: float = 0.9
    balanced: bool = True
    prior_correction: bool = True
    criterion: Criterion = "last"
    crop: int | None = None
    flips: bool = True
    background: float = 0.125
    normalisation: Literal["pattern", "imagenet"] = "pattern"
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    channels_last: bool = True
    threads: int | None = None
    checkpoint_steps: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"epochs": 1, "batch_size": 2, "generator_steps": 1, "warmup_steps": 0}
        for name, low in {**least, "checkpoint_steps": 0, "seed": 0}.items():
            check_whole(self, name, low, AdaptationConfigError)
        for name in ("steps_per_epoch", "crop", "threads"):
            if getattr(self, name) is not None:
                check_whole(self, name, 1, AdaptationConfigError)
        check_text(self, "model", AdaptationConfigError)
        if self.weights is not None:
            check_text(self, "weights", AdaptationConfigError)
        ranges: dict[str, tuple[float, float]] = {
            "learning_rate": (0.0, math.inf),
            "momentum": (0.0, 1.0),
            "weight_decay": (0.0, math.inf),
            "target_weight": (0.0, math.inf),
            "confusion_temperature": (1e-3, math.inf),
            "keep_first": (0.0, 1.0),
            "keep_last": (0.0, 1.0),
            "background": (0.0, 1.0),
        }
        for name, (low_value, high_value) in ranges.items():
            check_number(self, name, low_value, high_value, AdaptationConfigError)
        choices: dict[str, tuple[object, ...]] = {
            "method": METHOD_NAMES,
            "optimizer": ("adam", "sgd"),
            "batchnorm": ("separate", "joint"),
            "statistics": ("running", "target"),
            "inference": ("first", "both"),
            "balanced": (True, False),
            "prior_correction": (True, False),
            "criterion": CRITERION_NAMES,
            "flips": (True, False),
            "normalisation": ("pattern", "imagenet"),
            "precision": ("float32", "bfloat16", "auto"),
            "channels_last": (True, False),
        }
        for name, allowed in choices.items():
            check_choice(self, name, allowed, AdaptationConfigError)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AdaptationConfig:
        """Build settings from a mapping (a YAML file's content, for example).

        Raises
        ------
        AdaptationConfigError
            If a key is unknown or a value out of range.
        """
        return from_mapping(cls, values, "adaptation", AdaptationConfigError)

"""The loop that all methods of adaptation share.

All chance in a step (rows, crops, flips, dropout) follows from the seed and the step's number, as
in the training: a run that was cut off goes on exactly as the uninterrupted one would have.
"""

from __future__ import annotations

import copy
import io
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ebsdsg_ml import selection
from ebsdsg_ml.adaptation.adabn import AdaBN
from ebsdsg_ml.adaptation.answers import Answers
from ebsdsg_ml.adaptation.config import AdaptationConfig, AdaptationConfigError
from ebsdsg_ml.adaptation.domains import Labelled, Pool, rows_of_step
from ebsdsg_ml.adaptation.mcc import MCC
from ebsdsg_ml.adaptation.mcd import MCD
from ebsdsg_ml.adaptation.method import Adaptation
from ebsdsg_ml.adaptation.network import joined
from ebsdsg_ml.adaptation.result import ORIGIN
from ebsdsg_ml.adaptation.self_training import SelfTraining
from ebsdsg_ml.adaptation.source_only import SourceOnly
from ebsdsg_ml.classifier import step_seed
from ebsdsg_ml.models import build_model
from ebsdsg_ml.pattern_model import ModelCard, PatternModel
from ebsdsg_ml.training_result import OnEpoch, TrainingError
from ebsdsg_ml.transforms import Preprocessing, crop_size
from ebsdsg_sim.atomic_file import write_atomically
from ebsdsg_sim.device import usable_device

if TYPE_CHECKING:
    from ebsdsg_ml.datasets import Progress

Watch = Callable[[PatternModel], Mapping[str, float]]
"""Looks at the model after every epoch; what it returns is recorded and never chosen by."""


def make_method(network: nn.Module, config: AdaptationConfig, prior: np.ndarray) -> Adaptation:
    """The method that the settings name.

    Parameters
    ----------
    network : takes inputs, gives logits; used, not copied.
    config : settings.
    prior : (classes,) shares of the classes in the source.
    """
    if config.method == "self-training":
        return SelfTraining(network, config, prior)
    methods: dict[str, Callable[[nn.Module, AdaptationConfig], Adaptation]] = {
        "source-only": SourceOnly,
        "adabn": AdaBN,
        "mcd": MCD,
        "mcc": MCC,
    }
    return methods[config.method](network, config)


class AdaptationLoop:
    """One adaptation while it is being made.

    Parameters
    ----------
    config, source, target, classes, start, validation, device, label, card : as in
        :func:`ebsdsg_ml.adaptation.fit.adapt`, checked.

    Attributes
    ----------
    history : one row per finished epoch.
    """

    def __init__(
        self,
        config: AdaptationConfig,
        source: Labelled,
        target: np.ndarray,
        classes: Sequence[int],
        start: PatternModel | None,
        validation: Labelled | None,
        device: str,
        label: str,
        card: Mapping[str, Any],
    ) -> None:
        from ebsdsg_ml.training import resolve_precision

        self.config, self.classes = config, tuple(int(c) for c in classes)
        self.label, self.card = label, dict(card)
        self.device = usable_device(device)
        self.precision = resolve_precision(config.precision, self.device.type)
        size = target.shape[1]
        if start is None:
            network, self.origin = build_model(
                config.model, len(classes), weights=config.weights, seed=config.seed
            )
            crop = crop_size(size) if config.crop is None else config.crop
            self.preprocessing = Preprocessing(size, crop, config.background, config.normalisation)
            self.model_name = config.model
        else:
            network, self.preprocessing = copy.deepcopy(start.network), start.card.preprocessing
            self.origin = f"{ORIGIN}{start.weights_sha256()}"
            self.model_name = start.card.model
        if config.channels_last:
            network = network.to(memory_format=torch.channels_last)
        counts = np.bincount(source.labels, minlength=len(classes))
        prior = counts / counts.sum()
        self.method = make_method(network.to(self.device), config, prior)
        self.labels = torch.from_numpy(source.labels.astype(np.int64)).to(self.device)
        self.source, self.target = self._pool(source.patterns), self._pool(target)
        held_out = None
        if validation is not None:
            held_out = self._pool(validation.patterns), validation.labels
        self.answers = Answers(
            self.method,
            self.target,
            held_out,
            prior,
            config.statistics == "target",
            self._autocast,
        )
        n_steps = -(-len(source) // config.batch_size)
        self.steps_per_epoch = config.steps_per_epoch or n_steps
        self.total = config.epochs * self.steps_per_epoch
        # the two others never see the target in a step
        if config.warmup_steps >= self.total and config.method not in ("source-only", "adabn"):
            raise AdaptationConfigError(
                f"warmup_steps = {config.warmup_steps}: the run has {self.total} steps, so "
                f"{config.method} would never see the target; give fewer, or more epochs"
            )
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.sums: dict[str, float] = {}
        self.best: dict[str, Any] = {}

    def _pool(self, patterns: np.ndarray) -> Pool:
        return Pool(patterns, self.preprocessing, self.device, self.config.channels_last)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "float32":
            return nullcontext()
        # no cache: within one step of MCD the weights change between passes
        return torch.autocast(self.device.type, dtype=torch.bfloat16, cache_enabled=False)

    def go(
        self,
        resume: Path | None,
        watch: Watch | None,
        report: OnEpoch | None,
        progress: Progress | None,
    ) -> None:
        """Make all steps that are still to be made; see :func:`ebsdsg_ml.adaptation.fit.adapt`."""
        config, total = self.config, self.total
        if resume is not None and resume.exists():
            self._load(resume)
        for row in self.history:
            if report is not None:
                report(row)
        started = time.perf_counter()
        while self.step < total:
            epoch, inside = divmod(self.step, self.steps_per_epoch)
            warm = self.step < config.warmup_steps
            if not warm and (inside == 0 or self.step == config.warmup_steps):
                self.method.begin_epoch(epoch, self.answers.probabilities)
            losses = self._one_step(warm)
            self.step += 1
            if progress is not None:
                said = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
                progress(self.step, total, f"epoch {epoch + 1}, {said}")
            if self.step % self.steps_per_epoch == 0:
                row = self._close_epoch(watch, time.perf_counter() - started)
                started = time.perf_counter()
                if resume is not None:
                    self._save(resume)
                if report is not None:
                    report(row)
            elif (
                resume is not None
                and config.checkpoint_steps
                and self.step % config.checkpoint_steps == 0
            ):
                self._save(resume)

    def _one_step(self, warm: bool) -> dict[str, float]:
        config, step = self.config, self.step
        torch.manual_seed(step_seed(config.seed, step, purpose=2))
        generator = torch.Generator().manual_seed(step_seed(config.seed, step))
        rows = rows_of_step(len(self.source), config.batch_size, step, config.seed, purpose=3)
        source = self.source.training(rows, generator, config.flips)
        labels = self.labels[torch.from_numpy(rows).to(self.device)]
        self.method.networks.train()
        if warm:
            with self._autocast():
                losses = self.method.source_step(source, labels)
        else:
            rows, pseudo = self.method.target_rows(step, len(self.target))
            target = self.target.training(rows, generator, config.flips)
            own = None if pseudo is None else torch.from_numpy(pseudo).to(self.device)
            with self._autocast():
                losses = self.method.step(source, labels, target, own)
        values = {name: float(loss) for name, loss in losses.items()}
        for name, value in values.items():
            if not np.isfinite(value):
                raise TrainingError(
                    f"the loss {name!r} is {value} at step {step + 1}: lower the learning rate"
                )
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.sums[f"n {name}"] = self.sums.get(f"n {name}", 0.0) + 1
        return values

    def _close_epoch(self, watch: Watch | None, seconds: float) -> dict[str, Any]:
        """Row of the epoch that ended; its weights are kept if the criterion prefers them."""
        started = time.perf_counter()
        seen = self.answers.at_the_end_of_an_epoch()
        prior = None if seen.prior is None else seen.prior.tolist()
        row: dict[str, Any] = {"epoch": len(self.history) + 1, "step": self.step}
        row |= {
            f"loss_{name}": total / self.sums[f"n {name}"]
            for name, total in self.sums.items()
            if not name.startswith("n ")
        }
        row |= seen.measures
        if watch is not None:
            told = watch(self._model(seen.network, row["epoch"], prior))
            row |= {f"watch_{name}": float(value) for name, value in told.items()}
        row["seconds"] = seconds + time.perf_counter() - started
        self.history.append(row)
        if selection.choose(self.history, self.config.criterion) == len(self.history) - 1:
            self.best = {"epoch": row["epoch"], "network": seen.network, "prior": prior}
        self.sums = {}
        return row

    def chosen(self) -> tuple[PatternModel, int, list[float] | None]:
        """Model of the chosen epoch, the epoch, and the shares that it is corrected for."""
        epoch, prior = self.best["epoch"], self.best["prior"]
        network = self.best["network"].to(memory_format=torch.contiguous_format)
        return self._model(network, epoch, prior), epoch, prior

    def _model(self, network: nn.Module, epoch: int, prior: list[float] | None) -> PatternModel:
        training = {
            "adaptation": self.config.to_dict(),
            "epoch": epoch,
            "precision": self.precision,
            "n_source": len(self.source),
            "n_target": len(self.target),
            "target_prior": prior,
        }
        card = ModelCard(
            model=self.model_name,
            classes=self.classes,
            label=self.label,
            preprocessing=self.preprocessing,
            weights_origin=self.origin,
            **{**self.card, "training": training | self.card.get("training", {})},
        )
        return PatternModel(network, card)

    # -- resume points -----------------------------------------------------------------------

    def _save(self, path: Path) -> None:
        best = dict(self.best)
        if best:
            best["network"] = best["network"].state_dict()
        buffer = io.BytesIO()
        torch.save(
            {
                "step": self.step,
                "history": self.history,
                "sums": self.sums,
                "precision": self.precision,
                "best": best,
                "method": self.method.state(),
            },
            buffer,
        )
        write_atomically(path, buffer.getbuffer())

    def _load(self, path: Path) -> None:
        point = torch.load(path, map_location=self.device, weights_only=True)
        self.step, self.history, self.sums = point["step"], point["history"], point["sums"]
        self.precision = point["precision"]
        self.method.load_state(point["method"])
        self.best = dict(point["best"])
        if self.best:
            head = self.method.answering_heads()[0]
            network = joined(self.method.networks["generator"], head, self.method.path)
            network.load_state_dict(self.best["network"])
            self.best["network"] = network.eval()

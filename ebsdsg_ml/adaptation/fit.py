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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ebsdsg_ml import selection
from ebsdsg_ml.adaptation.adabn import AdaBN
from ebsdsg_ml.adaptation.config import AdaptationConfig, AdaptationConfigError
from ebsdsg_ml.adaptation.domains import DomainError, Labelled, Pool, check_patterns, rows_of_step
from ebsdsg_ml.adaptation.mcc import MCC
from ebsdsg_ml.adaptation.mcd import MCD
from ebsdsg_ml.adaptation.method import Adaptation, at_least_single
from ebsdsg_ml.adaptation.network import adapt_batchnorm, joined
from ebsdsg_ml.adaptation.self_training import SelfTraining
from ebsdsg_ml.adaptation.source_only import SourceOnly
from ebsdsg_ml.classifier import step_seed
from ebsdsg_ml.models import build_model
from ebsdsg_ml.pattern_model import ModelCard, PatternModel, write_atomically
from ebsdsg_ml.training_result import OnEpoch, TrainingError
from ebsdsg_ml.transforms import Preprocessing, check_flips, crop_size

if TYPE_CHECKING:
    from ebsdsg_ml.datasets import Progress

Watch = Callable[[PatternModel], Mapping[str, float]]
"""Looks at the model after every epoch; what it returns is recorded and never chosen by."""

ANSWERS_AT_ONCE = 256


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


@dataclass(frozen=True)
class Adapted:
    """What an adaptation gave.

    Parameters
    ----------
    model : the adapted network, an ordinary model.
    history : one row per epoch: ``epoch``, ``step``, mean losses, ``seconds``, ``largest_share``
        (of the most frequent answer), the criteria of :mod:`ebsdsg_ml.selection`, and what `watch`
        told.
    epoch : whose weights the model has.
    criterion : by which it was chosen.
    prior : (classes,) estimated shares of the classes in the pool that the answers are corrected
        for, or None.
    """

    model: PatternModel
    history: list[dict[str, Any]]
    epoch: int
    criterion: str
    prior: list[float] | None


def adapt(
    config: AdaptationConfig,
    sources: Sequence[Labelled],
    target: np.ndarray,
    *,
    classes: Sequence[int],
    label: str = "relabelled",
    start: PatternModel | None = None,
    validation: Labelled | None = None,
    resume: Path | None = None,
    watch: Watch | None = None,
    report: OnEpoch | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
    card: Mapping[str, Any] | None = None,
) -> Adapted:
    """Adapt a network to unlabelled patterns.

    Parameters
    ----------
    config : settings.
    sources : labelled patterns; several are joined, such as low and high Debye-Waller factors.
    target : (n, size, size) uint8 patterns without labels.
    classes : space-group numbers in the order of the labels.
    label : kind of label, ``"true"`` or ``"relabelled"``.
    start : model to start from (its network is copied); its preprocessing then counts, too.
    validation : held-out labelled *source* patterns, for the criterion ``"source_validation"``.
    resume : file of the resume point; written while it runs, and gone on from if it is there.
    watch : told the model after every epoch; its numbers are recorded as ``watch_<name>``.
    report : told the row of every finished epoch, after a resume the earlier ones again.
    progress : told after every step: steps done, steps in all, what.
    device : torch device.
    card : further fields of the model's :class:`ebsdsg_ml.pattern_model.ModelCard`.

    Raises
    ------
    DomainError
        If source and target do not fit together.
    AdaptationConfigError
        If self-training has nothing to start from, or the criterion nothing to be computed from.
    TrainingError
        If a loss is no longer a finite number.
    TransformError, ModelError
        If flips are not sound for the classes, or the network cannot be built.
    """
    source = Labelled.joined(sources)
    _check(config, source, target, classes, start, validation)
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads or before)
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            run = _Run(config, source, target, classes, start, validation, device)
            run.label, run.card, run.watch = label, dict(card or {}), watch
            run.go(resume, report, progress)
            return run.outcome()
    finally:
        torch.set_num_threads(before)


def _check(
    config: AdaptationConfig,
    source: Labelled,
    target: np.ndarray,
    classes: Sequence[int],
    start: PatternModel | None,
    validation: Labelled | None,
) -> None:
    check_patterns(target)
    if target.shape[1:] != source.patterns.shape[1:]:
        raise DomainError(
            f"target patterns are {target.shape[1:]}, source patterns {source.patterns.shape[1:]}"
        )
    if set(np.unique(source.labels)) != set(range(len(classes))):
        raise DomainError(f"source labels do not cover the {len(classes)} classes {classes}")
    if start is not None and tuple(start.classes) != tuple(classes):
        raise DomainError(f"the model to start from knows {start.classes}, not {tuple(classes)}")
    if config.flips:
        check_flips(tuple(classes))
    if config.method == "self-training" and start is None and not config.warmup_steps:
        raise AdaptationConfigError(
            "self-training needs answers to start from: give a model, or warmup_steps > 0"
        )
    if config.criterion == "source_validation" and validation is None:
        raise AdaptationConfigError(
            "criterion = 'source_validation' needs held-out source patterns: give validation"
        )


class _Run:
    """One adaptation while it is being made."""

    label: str
    card: dict[str, Any]
    watch: Watch | None

    def __init__(
        self,
        config: AdaptationConfig,
        source: Labelled,
        target: np.ndarray,
        classes: Sequence[int],
        start: PatternModel | None,
        validation: Labelled | None,
        device: str,
    ) -> None:
        from ebsdsg_ml.training import resolve_precision

        self.config, self.classes = config, tuple(int(c) for c in classes)
        self.device = torch.device(device)
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
            self.origin = f"model sha256 {start.weights_sha256()}"
            self.model_name = start.card.model
        if config.channels_last:
            network = network.to(memory_format=torch.channels_last)
        counts = np.bincount(source.labels, minlength=len(classes))
        self.source_prior = counts / counts.sum()
        self.method = make_method(network.to(self.device), config, self.source_prior)
        self.labels = torch.from_numpy(source.labels.astype(np.int64)).to(self.device)
        self.source = self._pool(source.patterns)
        self.target = self._pool(target)
        self.validation = None if validation is None else self._pool(validation.patterns)
        self.validation_labels = None if validation is None else validation.labels
        n_steps = -(-len(source) // config.batch_size)
        self.steps_per_epoch = config.steps_per_epoch or n_steps
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

    # -- steps -------------------------------------------------------------------------------

    def go(self, resume: Path | None, report: OnEpoch | None, progress: Progress | None) -> None:
        """Make all steps that are still to be made."""
        config, total = self.config, self.config.epochs * self.steps_per_epoch
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
                self.method.begin_epoch(epoch, lambda: softmax(self.answers()[0][0]))
            losses = self._one_step(warm)
            self.step += 1
            if progress is not None:
                said = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
                progress(self.step, total, f"epoch {epoch + 1}, {said}")
            if self.step % self.steps_per_epoch == 0:
                row = self._close_epoch(time.perf_counter() - started)
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

    # -- answers -----------------------------------------------------------------------------

    @torch.inference_mode()
    def _logits(self, generator: nn.Module, pool: Pool, mirrored: bool = False) -> list[Tensor]:
        """Logits (n, classes) of every answering head."""
        heads = self.method.answering_heads()
        parts: list[list[Tensor]] = [[] for _ in heads]
        generator.eval()
        for inputs in pool.evaluation(ANSWERS_AT_ONCE, mirrored=mirrored):
            with self._autocast():
                features = generator(inputs)
                for part, head in zip(parts, heads, strict=True):
                    part.append(at_least_single(head(features)).cpu())
        return [torch.cat(part) for part in parts]

    def answers(self) -> tuple[list[Tensor], nn.Module]:
        """Logits of the target pool for every head, and the generator that gave them."""
        generator = self.method.networks["generator"]
        if self.config.statistics == "target" or isinstance(self.method, AdaBN):
            generator = copy.deepcopy(generator)
            with self._autocast():
                adapt_batchnorm(generator, self.target.evaluation(ANSWERS_AT_ONCE))
        return self._logits(generator, self.target), generator

    def _close_epoch(self, seconds: float) -> dict[str, Any]:
        """Row of the epoch that ended; its weights are kept if the criterion prefers them."""
        started = time.perf_counter()
        logits, generator = self.answers()
        prior = self.method.prior_of_answers(softmax(logits[0]))
        shift = torch.zeros(len(self.classes))
        if prior is not None:
            shift = torch.from_numpy(np.log(prior / self.source_prior)).float()
        probabilities = softmax(logits[0] + shift)
        if len(logits) > 1:
            opinions = softmax(logits[1]), softmax(logits[2])
        else:
            mirrored = self._logits(generator, self.target, mirrored=True)[0]
            opinions = probabilities, softmax(mirrored + shift)
        frequent = np.bincount(probabilities.argmax(axis=1), minlength=len(self.classes))
        row: dict[str, Any] = {"epoch": len(self.history) + 1, "step": self.step}
        row |= {
            f"loss_{name}": total / self.sums[f"n {name}"]
            for name, total in self.sums.items()
            if not name.startswith("n ")
        }
        row["largest_share"] = float(frequent.max() / frequent.sum())
        row |= selection.unsupervised_criteria(probabilities, opinions)
        row["source_validation"] = None
        if self.validation is not None:
            # the network as it was trained: the target's averages and shares are not the source's
            found = self._logits(self.method.networks["generator"], self.validation)[0]
            row["source_validation"] = float(
                (found.argmax(dim=1).numpy() == self.validation_labels).mean()
            )
        network = joined(generator, self.method.answering_heads()[0], self.method.path)
        with torch.no_grad():
            network.get_submodule(self.method.path).bias.add_(shift.to(self.device))  # type: ignore[operator,union-attr]
        if self.watch is not None:
            told = self.watch(self._model(network.eval(), row, prior))
            row |= {f"watch_{name}": float(value) for name, value in told.items()}
        row["seconds"] = seconds + time.perf_counter() - started
        self.history.append(row)
        if selection.choose(self.history, self.config.criterion) == len(self.history) - 1:
            self.best = {
                "epoch": row["epoch"],
                "network": network,
                "prior": None if prior is None else prior.tolist(),
            }
        self.sums = {}
        return row

    def _model(
        self, network: nn.Module, row: Mapping[str, Any], prior: np.ndarray | None
    ) -> PatternModel:
        training = {
            "adaptation": self.config.to_dict(),
            "epoch": row["epoch"],
            "precision": self.precision,
            "n_source": len(self.source),
            "n_target": len(self.target),
            "target_prior": None if prior is None else [float(p) for p in prior],
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

    def outcome(self) -> Adapted:
        """The chosen epoch's model."""
        epoch, prior = self.best["epoch"], self.best["prior"]
        network = self.best["network"].to(memory_format=torch.contiguous_format)
        row = self.history[epoch - 1]
        model = self._model(network, row, None if prior is None else np.array(prior))
        return Adapted(model, self.history, epoch, self.config.criterion, prior)

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


def softmax(logits: Tensor) -> np.ndarray:
    """Probabilities (n, classes) in double precision."""
    return logits.double().softmax(dim=1).numpy()
